/** `kurma image verify`: what rots is found, whatever it is, and made as it was. */

import type { Damage } from "../../stage1/images/mod.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { mustRun, type Scratch, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { withRegistry } from "./registry.ts";

interface Place extends Scratch {
  /** What the image is called; a registry has it while the test runs. */
  name: string;
  /** The unpacked files of its lower layer. */
  rootfs: string;
  blob(digest: string): string;
  record: { id: string; layers: string[]; blobs: { digest: string }[]; [key: string]: unknown };
  /** Runs `image verify` and reads what it says, and its status. */
  verify(...flags: string[]): Promise<{ status: number; damages: Damage[] }>;
}

/** A test with an image that was pulled from a registry, or imported from a file. */
function verifyTest(
  name: string,
  how: "pulled" | "imported",
  body: (place: Place) => Promise<void>,
): void {
  test(name, async (scratch) => {
    const { dir } = scratch;
    const { oci } = await images();
    await Deno.mkdir(`${dir}/config`);
    const own = ["--root", `${dir}/state`, "--config", `${dir}/config`];
    const kurma: Scratch["kurma"] = (args, options) => scratch.kurma([...own, ...args], options);
    const start: Scratch["start"] = (args, options) => scratch.start([...own, ...args], options);
    await withRegistry(dir, { port: 5000 }, async () => {
      const host = "localhost:5000";
      const image = `${host}/busybox:latest`;
      const hosts = `hosts:\n  ${host}: { plainHttp: true }\n`;
      await Deno.writeTextFile(`${dir}/config/hosts.yaml`, hosts);
      await mustRun([
        "skopeo",
        "copy",
        "-q",
        "--dest-tls-verify=false",
        `oci:${oci}`,
        `docker://${image}`,
      ]);
      const brought = how === "pulled"
        ? await kurma(["image", "pull", image])
        : await kurma(["image", "import", oci, "--name", image]);
      assertEquals(brought.status, 0, brought.stderr);
      const record = JSON.parse((await kurma(["image", "show", image])).stdout);
      await body({
        ...scratch,
        kurma,
        start,
        name: image,
        record,
        rootfs: `${dir}/state/images/layers/${record.layers[0].replace(":", "-")}/rootfs`,
        blob: (digest) => `${dir}/state/images/blobs/${digest.replace(":", "/")}`,
        async verify(...flags) {
          const { status, stdout } = await kurma(["image", "verify", "-o", "json", ...flags]);
          return { status, damages: JSON.parse(stdout) };
        },
      });
    });
  });
}

/** Changes one byte in the middle of a file, and nothing else about it. */
async function flip(path: string): Promise<void> {
  const { mtime, atime, size } = await Deno.stat(path);
  using file = await Deno.open(path, { read: true, write: true });
  await file.seek(size >> 1, Deno.SeekMode.Start);
  const byte = new Uint8Array(1);
  await file.read(byte);
  await file.seek(size >> 1, Deno.SeekMode.Start);
  await file.write(Uint8Array.of(byte[0] ^ 1));
  await Deno.utime(path, atime!, mtime!);
}

/** What is done to the lower layer, and what verify says of it: path and problem. */
const rot: Record<string, [how: (rootfs: string) => Promise<unknown>, said: [string, string][]]> = {
  "a flipped byte": [(at) => flip(`${at}/bin/busybox`), [["bin/busybox", "has other content"]]],
  "a file cut short": [
    (at) => Deno.truncate(`${at}/etc/marker`, 3),
    [["etc/marker", "has other content"]],
  ],
  "a file that is gone": [(at) => Deno.remove(`${at}/etc/passwd`), [["etc/passwd", "is missing"]]],
  "a folder that is gone": [
    (at) => Deno.remove(`${at}/home`, { recursive: true }),
    [["home", "is missing"]],
  ],
  "a file that was added": [
    (at) => Deno.writeTextFile(`${at}/etc/added`, ""),
    [["etc/added", "is not from the layer"]],
  ],
  "another mode": [(at) => Deno.chmod(`${at}/etc/group`, 0o666), [
    ["etc/group", "has mode 0666, not 0644"],
  ]],
  "another owner": [(at) => Deno.chown(`${at}/home/app`, 0, 0), [
    ["home/app", "belongs to 0:0, not 1000:1000"],
  ]],
  "another link": [
    (at) => Deno.remove(`${at}/bin/ls`).then(() => Deno.symlink("/bin/sh", `${at}/bin/ls`)),
    [["bin/ls", "is a link to something else"]],
  ],
  "a file in place of a folder": [
    (at) => Deno.remove(`${at}/dev`).then(() => Deno.writeTextFile(`${at}/dev`, "")),
    [["dev", "is another kind of file"]],
  ],
  "an attribute": [
    (at) => mustRun(["setfattr", "-n", "user.note", "-v", "x", `${at}/etc/marker`]),
    [["etc/marker", 'has an attribute "user.note" of its own']],
  ],
  "another time": [(at) => Deno.utime(`${at}/etc/marker`, 1, 1), [[
    "etc/marker",
    "has another time",
  ]]],
};

verifyTest(
  "verify finds what rotted in unpacked files, and makes it as it was",
  "imported",
  async (place) => {
    const { verify, rootfs, kurma, name, record } = place;
    let found = 0;
    for (const [what, [how, said]] of Object.entries(rot)) {
      await how(rootfs);
      const checked = await verify("--check-only");
      assertEquals(checked.status, 4, what);
      assertEquals(checked.damages.map(({ path, problem }) => [path, problem]), said, what);
      const repaired = await verify();
      assertEquals(repaired.status, 0, what);
      assert(
        repaired.damages.every(({ digest, repaired }) => digest === record.layers[0] && repaired),
      );
      assertEquals(await verify(), { status: 0, damages: [] }, what);
      found += said.length;
    }
    console.log(`${found} kinds of rot found and repaired`);
    assertEquals(
      (await kurma(["run", name, "/bin/cat", "/etc/marker"])).stdout,
      "from-the-image\n",
    );
  },
);

verifyTest(
  "verify fetches from its registry what rotted, and is clean then",
  "pulled",
  async (place) => {
    const { verify, blob, rootfs, kurma, name, record } = place;
    const shown = record as unknown as {
      configBlob: { digest: string };
      manifestBlob: { digest: string };
    };
    const [first, second] = record.blobs.map(({ digest }) => digest);
    await flip(blob(first));
    await Deno.remove(blob(second));
    await flip(blob(shown.configBlob.digest));
    await flip(blob(shown.manifestBlob.digest));
    await flip(`${rootfs}/bin/busybox`);
    await Deno.remove(`${rootfs}/etc/marker`);
    const { status, damages } = await verify();
    const bad = [first, second, shown.configBlob.digest, shown.manifestBlob.digest];
    assertEquals(damages.slice(0, 4).map(({ digest }) => digest), bad);
    assertEquals(damages.slice(4).map(({ path }) => path), ["bin/busybox", "etc/marker"]);
    assert(damages.slice(0, 4).every(({ repaired }) => repaired === `fetched again from ${name}`));
    assertEquals(status, 0);
    assertEquals(await kurma(["image", "verify"]), { status: 0, stdout: "", stderr: "" });
    assertEquals(
      (await kurma(["run", name, "/bin/cat", "/etc/marker"])).stdout,
      "from-the-image\n",
    );
  },
);

verifyTest(
  "what has no source is said with what to do, and doing it helps",
  "imported",
  async (place) => {
    const { verify, blob, rootfs, kurma, record, dir } = place;
    const { oci, docker } = await images();
    await flip(blob(record.blobs[0].digest));
    await flip(`${rootfs}/etc/marker`);
    const { status, stdout } = await kurma(["image", "verify"]);
    assertEquals(status, 4);
    assertMatch(
      stdout,
      /^sha256:\S+ sha256:\S+ Cannot use .*: Import it again from its file .*\n$/,
    );
    assertEquals((await kurma(["image", "import", oci])).status, 0);
    const { damages } = await verify();
    assertEquals(damages.map(({ path, repaired }) => [path, repaired !== undefined]), [
      ["etc/marker", true],
    ]);
    assertEquals(await verify(), { status: 0, damages: [] });

    // Also where an archive does not say its layers' digests.
    const own = ["--root", `${dir}/other`, "image"];
    const show = async () => JSON.parse((await kurma([...own, "show", "busybox:1"])).stdout);
    await kurma([...own, "import", docker, "--name", "busybox:1"]);
    const { blobs: [lower] } = await show();
    await Deno.remove(`${dir}/other/images/blobs/${lower.digest.replace(":", "/")}`);
    assertEquals((await kurma([...own, "verify"])).status, 4);
    await kurma([...own, "import", docker, "--name", "busybox:1"]);
    assertEquals((await show()).blobs[0], lower);
    assertEquals((await kurma([...own, "verify"])).status, 0);
  },
);

verifyTest("a layer that a container uses is not replaced under it", "imported", async (place) => {
  const { verify, rootfs, start, name } = place;
  const container = start(["run", name, "/bin/sh", "-c", "echo up; exec sleep 60"]);
  await container.says(/up/);
  await flip(`${rootfs}/etc/marker`);
  const { status, damages } = await verify();
  assertEquals([status, damages[0].fix], [4, "Stop the containers that use it, then verify again"]);
  container.signal("SIGKILL");
  await container.output;
  assertEquals((await verify()).status, 0);
  assertEquals(await verify(), { status: 0, damages: [] });
});

test("verify downloads again what rotted and came from a web server", async ({ dir, kurma }) => {
  const { aci } = await images();
  const bytes = await Deno.readFile(aci);
  await Deno.mkdir(`${dir}/config`);
  const hosts = "hosts:\n  127.0.0.1:5002: { plainHttp: true }\n";
  await Deno.writeTextFile(`${dir}/config/hosts.yaml`, hosts);
  const env = { KURMA_CONFIG: `${dir}/config`, KURMA_ROOT: `${dir}/state` };
  let served = bytes;
  await using _server = Deno.serve(
    { hostname: "127.0.0.1", port: 5002, onListen: () => {} },
    ({ url }) =>
      url.endsWith("/app.aci") ? new Response(served) : new Response(null, { status: 404 }),
  );
  const id = (await kurma(["image", "pull", "http://127.0.0.1:5002/app.aci"], { env })).stdout
    .trim();
  const { blobs: [{ digest }] } = JSON.parse((await kurma(["image", "show", id], { env })).stdout);
  const blob = `${dir}/state/images/blobs/${digest.replace(":", "/")}`;
  await flip(blob);
  served = bytes.slice(0, -1); // Another file by now.
  const refused = await kurma(["image", "verify"], { env });
  assertEquals(refused.status, 4);
  assertMatch(refused.stdout, /: It cannot be fetched again now: .*\. Pull it again: /);
  served = bytes;
  const repaired = await kurma(["image", "verify"], { env });
  assertEquals(repaired.status, 0, repaired.stdout);
  assertMatch(repaired.stdout, /: fetched again from http:\/\/127.0.0.1:5002\/app.aci\n$/);
  await mustRun(["cmp", aci, blob]);
  assertEquals(await kurma(["image", "verify"], { env }), { status: 0, stdout: "", stderr: "" });
});
