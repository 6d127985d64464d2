import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { copyBlob, inParallel } from "./blob.ts";
import { digestOf } from "./digest.ts";
import { mediaTypes } from "./documents.ts";
import { Hosts } from "./hosts.ts";
import { parsePlatform } from "./platform.ts";
import { parseReference, type RegistryReference } from "./reference.ts";
import { RegistryClient } from "./registry.ts";
import {
  clientOf,
  drip,
  encode,
  failure,
  impatient,
  layer,
  MemorySink,
  part,
  platform,
  pull,
  RawServer,
  TestRegistry,
} from "./testing.ts";

Deno.test("an image comes as it was put there", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  const put = registry.addImage("app:1", layer);
  const { image, sink } = await pull(client, registry.reference());
  assertEquals(image.digest, put.digest);
  assertEquals(image.manifest.bytes, encode(put.document));
  assertEquals(digestOf(image.config), put.config.digest);
  assertEquals(Uint8Array.from(sink.bytes), layer);
  assert(registry.authorizations.every((header) => header === "none"));
});

Deno.test("an index yields the manifest for the platform, and says so if there is none", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  const entry = (arch: string) => ({
    ...registry.addImage(`app:${arch}`, encode(arch), arch),
    platform: { os: "linux", architecture: arch },
  });
  const manifests = [entry("arm64"), entry("amd64")].map((
    { digest, size, mediaType, platform },
  ) => ({
    digest,
    size,
    mediaType,
    platform,
  }));
  const index = registry.addManifest("app:1", {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests,
  });
  const { image, sink } = await pull(client, registry.reference());
  assertEquals([image.digest, image.manifest.digest], [index.digest, manifests[1].digest]);
  assertEquals(Uint8Array.from(sink.bytes), encode("amd64"));

  // A digest beside the tag may be of the index or of what is in it.
  const pinned = await client.resolve(registry.reference(`app:1@${manifests[0].digest}`), {
    platform,
  });
  assertEquals(pinned.manifest.digest, manifests[0].digest);
  const whole = await client.resolve(registry.reference(`app:1@${index.digest}`), { platform });
  assertEquals(whole.manifest.digest, manifests[1].digest);

  const error = await rejection(
    client.resolve(registry.reference(), { platform: parsePlatform("linux/s390x") }),
  );
  assertMatch(error.message, /Cannot find linux\/s390x .* it has linux\/arm64, linux\/amd64$/);
});

Deno.test("an image for another platform is refused also without an index", async () => {
  await using registry = new TestRegistry();
  registry.addImage("app:1", layer, "arm64");
  assertMatch(await failure(registry), /missing: .*it is for linux\/arm64/);
});

Deno.test("a tag and a digest that disagree are refused", async () => {
  await using registry = new TestRegistry();
  registry.addImage("app:1", layer);
  const other = registry.addImage("app:2", encode("other"));
  assertMatch(
    await failure(registry, `app:1@${other.digest}`),
    /tag "1" is sha256:.*; Drop the tag to get the digest/,
  );
});

Deno.test("what is not there is missing, and the server's words cannot colour the terminal", async () => {
  await using registry = new TestRegistry();
  const message = await failure(registry);
  assertMatch(
    message,
    /^missing: Cannot fetch manifest "1" .* answered 404 \(MANIFEST_UNKNOWN: not/,
  );
  assert(!message.includes("\x1b"));
});

Deno.test("several layers come at once, up to the limit, and one failure ends all", async () => {
  let running = 0;
  let most = 0;
  const results = await inParallel([5, 1, 4, 2, 3], 2, async (item) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, item));
    running--;
    return item * 2;
  });
  assertEquals([results, most], [[10, 2, 8, 4, 6], 2]);

  const error = await rejection(
    inParallel(
      [1, 2, 3],
      3,
      (item, signal) =>
        item === 2
          ? Promise.reject(new Error("two"))
          : new Promise((_, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason))
          ),
    ),
  );
  assertEquals(error.message, "two");
});

// Registries that stumble. The pull goes on.

Deno.test("a pull waits as long as a 429 asks, and goes on", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  registry.addImage("app:1", layer);
  let refused = 0;
  registry.intercept = () =>
    refused++ === 0
      ? new Response(null, { status: 429, headers: { "retry-after": "1" } })
      : undefined;
  const start = performance.now();
  await pull(client, registry.reference());
  assert(performance.now() - start >= 990);
});

Deno.test("a layer that breaks off goes on where it broke", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  const { layer: { digest } } = registry.addImage("app:1", layer);
  let broken = 0;
  registry.intercept = (request, path) => {
    if (!path.endsWith(digest) || ++broken > 2) return undefined;
    const start = Number(/=([0-9]+)-/.exec(request.headers.get("range") ?? "=0-")?.[1]);
    return breaking(layer.slice(start, start + 10_000), start);
  };
  const { sink } = await pull(client, registry.reference());
  assertEquals(Uint8Array.from(sink.bytes), layer);
  assertEquals(registry.log.slice(-3), [
    `GET /v2/app/blobs/${digest}`,
    `GET /v2/app/blobs/${digest} bytes=10000-`,
    `GET /v2/app/blobs/${digest} bytes=20000-`,
  ]);
});

/** Sends `bytes` of the layer from `start` on, then breaks the connection. */
function breaking(bytes: Uint8Array, start: number): Response {
  let sent = false;
  const body = new ReadableStream({
    async pull(controller) {
      if (!sent) controller.enqueue(bytes);
      // The bytes travel before the error does.
      else {await new Promise((resolve) => setTimeout(resolve, 50)).then(() =>
          controller.error("cut")
        );}
      sent = true;
    },
  });
  const headers = { "content-range": `bytes ${start}-${layer.length - 1}/${layer.length}` };
  return start === 0 ? new Response(body) : new Response(body, { status: 206, headers });
}

Deno.test("a layer goes on from what an earlier pull left", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  const { layer: { digest } } = registry.addImage("app:1", layer);
  const { sink } = await pull(
    client,
    registry.reference(),
    new MemorySink(layer.subarray(0, 40_000)),
  );
  assertEquals(Uint8Array.from(sink.bytes), layer);
  assertEquals(registry.log.at(-1), `GET /v2/app/blobs/${digest} bytes=40000-`);
});

Deno.test("a layer that is whole already is not asked for", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  registry.addImage("app:1", layer);
  await pull(client, registry.reference(), new MemorySink(layer));
  assertEquals(registry.log.length, 2); // Manifest and config.
});

for (
  const [name, held] of [
    ["of something else", new Uint8Array(40_000)],
    ["longer than the layer", new Uint8Array(60_000)],
  ] as const
) {
  Deno.test(`what an earlier pull left is dropped if it is ${name}`, async () => {
    await using registry = new TestRegistry();
    using client = clientOf(registry);
    registry.addImage("app:1", layer);
    const { sink } = await pull(client, registry.reference(), new MemorySink(held));
    assertEquals(Uint8Array.from(sink.bytes), layer);
    assertEquals(sink.cleared, 1);
  });
}

Deno.test("a server that ignores the range is read from its start", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  const { layer: { digest } } = registry.addImage("app:1", layer);
  registry.intercept = (_, path) => path.endsWith(digest) ? part(layer, null) : undefined;
  const { sink } = await pull(
    client,
    registry.reference(),
    new MemorySink(layer.subarray(0, 33_333)),
  );
  assertEquals(Uint8Array.from(sink.bytes), layer);
  assertEquals(sink.cleared, 0);
});

for (
  const range of ["bytes 0-49999/50000", "bytes 40000-49999/50001", "bytes 40000-50000/*", "x"]
) {
  Deno.test(`a part that is another than asked for is refused: ${range}`, async () => {
    await using registry = new TestRegistry();
    using client = clientOf(registry);
    const { layer: { digest } } = registry.addImage("app:1", layer);
    registry.intercept = (_, path) =>
      path.endsWith(digest)
        ? new Response(layer.subarray(40_000), { status: 206, headers: { "content-range": range } })
        : undefined;
    const sink = new MemorySink(layer.subarray(0, 40_000));
    const error = await rejection(pull(client, registry.reference(), sink));
    assertMatch(error.message, /the server (sent range|says it has)/);
    assertEquals(sink.offset, 40_000);
  });
}

Deno.test("a connection that closes in the middle of a promised length is not the end", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using server = new RawServer(async (connection) => {
    await connection.write(
      new TextEncoder().encode("HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{}"),
    );
    resolve();
  });
  const plain = { mirrors: [], plainHttp: true, tokenHosts: [] };
  using client = new RegistryClient({
    hosts: new Hosts([[server.host, plain]]),
    timing: impatient,
  });
  const reference = parseReference(`docker://${server.host}/app`) as RegistryReference;
  const error = await rejection(client.resolve(reference));
  await promise;
  assertMatch(error.message, /broke off$/);
  assertEquals(server.connections, impatient.attempts);
});

Deno.test("a cancelled pull ends at once and says why", async () => {
  await using registry = new TestRegistry();
  using client = clientOf(registry);
  const { layer: descriptor } = registry.addImage("app:1", layer);
  registry.intercept = (_, path) => path.endsWith(descriptor.digest) ? drip(layer) : undefined;
  const image = await client.resolve(registry.reference(), { platform });
  const start = performance.now();
  const signal = AbortSignal.timeout(60);
  const error = await rejection(
    copyBlob(
      (options) => image.openBlob(descriptor, options),
      descriptor,
      new MemorySink(),
      signal,
    ),
  );
  assertEquals(error.name, "TimeoutError");
  assert(performance.now() - start < 5_000);
});

// Mirrors.

Deno.test("a mirror is asked first, below its prefix, and the registry where it fails", async () => {
  await using mirror = new TestRegistry();
  await using registry = new TestRegistry();
  const hosts = registry.hosts({ mirrors: [`${mirror.host}/hub`] }, mirror);
  using client = new RegistryClient({ hosts, timing: impatient });
  mirror.addImage("hub/app:1", layer);
  await pull(client, registry.reference());
  assertEquals(registry.log, []);
  assertEquals(mirror.log.length, 3);

  const { layer: { digest } } = registry.addImage("app:2", encode("only upstream"));
  await pull(client, registry.reference("app:2"));
  assertEquals(registry.log.length, 2); // The mirror has the same config.

  // A mirror whose copy is damaged costs time, not the pull.
  mirror.blobs.set(digest, new Uint8Array("only upstream".length + 2));
  const { sink } = await pull(client, registry.reference("app:2"));
  assertEquals([Uint8Array.from(sink.bytes), sink.cleared], [encode("only upstream"), 1]);
});
