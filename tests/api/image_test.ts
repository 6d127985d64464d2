/**
 * The service Images and the command line's own client, over the socket.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { ApiClient } from "../../stage1/api/client.ts";
import { kurmaError } from "../../stage1/api/client_streams.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { exists, until } from "../stage2/served.ts";
import { curl, Served } from "./served.ts";

/** The messages of an Import of a file, in pieces of `size` bytes. */
async function* upload(path: string, name: string, size = 60_000) {
  yield { message: { case: "start" as const, value: { name } } };
  const bytes = await Deno.readFile(path);
  for (let at = 0; at < bytes.length; at += size) {
    yield { message: { case: "chunk" as const, value: bytes.subarray(at, at + size) } };
  }
}

test("an image is sent, listed, read back and removed", async ({ dir }) => {
  const { aci } = await images();
  await using daemon = await Served.start(dir);
  const client = new ApiClient(daemon.socket);
  using streams = await client.streams();
  const steps = new Set<string>();
  let id = "";
  for await (const { message } of streams.images.import(upload(aci, "team/app:1"))) {
    steps.add(message.case!);
    if (message.case === "image") id = message.value.id;
  }
  assertEquals([...steps], ["progress", "image"]);
  const { images: listed } = await client.call("Images", "List", {});
  assertEquals(listed?.map((image) => [image.id, image.names]), [[id, ["docker.io/team/app:1"]]]);
  const { image, config } = await client.call("Images", "Get", { image: "team/app:1" });
  assertEquals([image?.id, image?.format], [id, "aci"]);
  assert("command" in JSON.parse(config!));
  const pieces: Uint8Array[] = [];
  for await (const { chunk } of streams.images.export({ image: id })) pieces.push(chunk);
  const original = await Deno.readFile(aci);
  assertEquals(await new Blob(pieces as BlobPart[]).bytes(), original);
  assertEquals(
    (await client.call("Images", "Tag", { image: id, name: "b" })).name,
    "docker.io/library/b:latest",
  );
  for await (const { message } of streams.images.verify({ checkOnly: true })) {
    assert(message.case !== "damage");
  }
  assertEquals((await client.call("Images", "Remove", { image: id })).ids, [id]);
  assertEquals(await client.call("Images", "List", {}), {});
});

test("an import that is cut off, or is none, leaves nothing", async ({ dir }) => {
  const { aci } = await images();
  await using daemon = await Served.start(dir);
  const client = new ApiClient(daemon.socket);
  using streams = await client.streams();
  const abort = new AbortController();
  const folder = `${dir}/state/images/tmp`;
  const begun = async () => await exists(folder) ? [...Deno.readDirSync(folder)] : [];
  async function* half() {
    let count = 0;
    for await (const message of upload(aci, "half", 1000)) {
      yield message;
      if (++count < 5) continue;
      await until("the import to begin", async () => (await begun()).length > 0 || undefined);
      abort.abort();
      await new Promise(() => {}); // As a pipe from which nothing comes.
    }
  }
  const drain = async (answers: AsyncIterable<unknown>) => {
    for await (const _ of answers);
  };
  const cut = await rejection(drain(streams.images.import(half(), { signal: abort.signal })));
  assertMatch(cut.message, /canceled|aborted/);
  await daemon.says(/"method":"kurma.v1.Images\/Import".*"outcome":"canceled"/);
  await Deno.writeTextFile(`${dir}/text`, "no image\n".repeat(100));
  const refused = kurmaError(
    await rejection(drain(streams.images.import(upload(`${dir}/text`, "x")))),
  );
  assert(refused instanceof KurmaError);
  assertEquals(refused.code, "invalid");
  assertMatch(refused.message, /^Cannot use the image that was sent: it is no tar archive$/);
  assertMatch(refused.fix ?? "", /An image is/);
  assertEquals(await client.call("Images", "List", {}), {});
  assertEquals(await begun(), []);
  const path = await curl(daemon.socket, "/kurma.v1.Images/Tag", { image: "none", name: "x" });
  assertMatch(path.body, /"not_found"/);
});

test("a pull of a path of the host is refused", async ({ dir }) => {
  await using daemon = await Served.start(dir);
  using streams = await new ApiClient(daemon.socket).streams();
  for (const reference of ["/etc/passwd", "./x", "file:///etc/passwd", "-", ""]) {
    const error = await rejection(async () => {
      for await (const _ of streams.images.pull({ reference }));
    });
    assertMatch(String(kurmaError(error)), /Cannot pull ".*": it is no name of an image/);
  }
});

test("the client says why kurmad cannot be asked", async ({ dir }) => {
  const nobody = new ApiClient(`${dir}/none.sock`);
  const missing = await rejection(nobody.call("System", "Ping", {}));
  assert(missing instanceof KurmaError);
  assertEquals([missing.code, missing.fix], [
    "unavailable",
    "Start it as root, with kurma daemon or systemctl start kurmad, or name its socket with -H",
  ]);
  await using daemon = await Served.start(dir);
  const client = new ApiClient(daemon.socket);
  const error = await rejection(client.call("Containers", "Get", { container: "x" }));
  assert(error instanceof KurmaError);
  const causes = [error.cause, (error.cause as Error).cause].map((cause) =>
    (cause as Error).message
  );
  assertEquals([error.code, error.message, error.fix, causes], [
    "missing",
    'Cannot find container "x"',
    "`kurma list` shows them",
    ["outer", "inner"],
  ]);
  const late = await rejection(
    client.call("Containers", "Wait", { container: "x" }, { timeoutMs: 200 }),
  );
  assertMatch(late.message, /timed out/);
  const cancelled = await rejection(
    client.call("Containers", "Wait", { container: "x" }, { signal: AbortSignal.timeout(200) }),
  );
  assertEquals(cancelled.name, "TimeoutError");
});
