/**
 * A disk with not one byte free: what runs goes on, images can be listed and removed, and
 * whatever would need space says so and leaves nothing.
 */

import { statfsSync } from "node:fs";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, count, mustRun, type Output, run, test } from "../harness.ts";
import { images } from "../images_fixture.ts";

/** Takes every byte that is left, in ever smaller pieces. */
async function fill(disk: string): Promise<void> {
  for (const size of [1 << 20, 1 << 16, 4096, 1]) {
    const piece = new Uint8Array(size);
    using file = await Deno.open(`${disk}/filler-${size}`, { append: true, create: true });
    try {
      while (true) {
        await file.write(piece);
        await file.syncData(); // ext4 promises space that it finds out later it has not.
      }
    } catch (error) {
      if ((error as { code?: string }).code !== "ENOSPC") throw error;
    }
  }
  assertEquals(statfsSync(disk).bavail, 0);
}

/** What is kept below `root`, but for the database's own files. */
async function kept(root: string): Promise<string> {
  const found = await mustRun(["find", `${root}/images`, "-printf", "%P %s %T@\\n"]);
  const own = /^(?:|images\.db\S*|locks|use|tmp|reserve) |^locks\//;
  return found.split("\n").filter((line) => !own.test(line)).sort().join("\n");
}

/** An ACI of 12 MiB that do not compress. */
async function noisyAci(dir: string): Promise<string> {
  const manifest = { acKind: "ImageManifest", acVersion: "0.8.11", name: "example.com/noisy" };
  await Deno.mkdir(`${dir}/noisy/rootfs`, { recursive: true });
  await Deno.writeTextFile(`${dir}/noisy/manifest`, JSON.stringify(manifest));
  const script = 'cd "$0" && head -c 12582912 /dev/urandom >rootfs/noise && tar -cf "$1" *';
  await mustRun(["sh", "-euc", script, `${dir}/noisy`, `${dir}/noisy.aci`]);
  return `${dir}/noisy.aci`;
}

const mounts = {
  "a tmpfs": () => ["-t", "tmpfs", "-o", "size=48M", "none"],
  "ext4": async (dir: string) => {
    await mustRun(["truncate", "--size", "64M", `${dir}/disk.img`]);
    await mustRun(["mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", `${dir}/disk.img`]);
    return ["-o", "loop", `${dir}/disk.img`];
  },
};

for (const [name, options] of Object.entries(mounts)) {
  test(`on ${name} without a free byte images are listed and removed`, async ({ dir }) => {
    const { oci, guest, aci } = await images();
    const disk = `${dir}/disk`;
    await Deno.mkdir(disk);
    await mustRun(["mount", ...await options(dir), disk]);
    try {
      const root = `${disk}/state`;
      const image = (...args: string[]): Promise<Output> =>
        run([binary, "--root", root, "image", ...args], { limitMs: 60_000 });
      const must = async (...args: string[]) => {
        const { status, stdout, stderr } = await image(...args);
        assertEquals([status, stderr.includes("kurma:")], [0, false], stderr);
        return stdout;
      };
      const names = async () =>
        JSON.parse(await must("list", "-o", "json")).flatMap((one: { names: string[] }) =>
          one.names
        ).map((name: string) => name.replace(/^docker\.io\/library\//, "")).sort();

      await must("import", oci, "--name", "busy:1");
      let ticks = 0;
      const container = new Deno.Command(binary, {
        args: [
          ...["--root", root, "run", "busy:1"],
          ...["/bin/sh", "-c", "while read line; do echo $line; done"],
        ],
        stdin: "piped",
        stdout: "piped",
        stderr: "inherit",
      }).spawn();
      const writer = container.stdin.getWriter();
      const reader = container.stdout.getReader();
      const tick = async () => {
        await writer.write(new TextEncoder().encode("tick\n"));
        const { value } = await reader.read();
        assertEquals(new TextDecoder().decode(value), "tick\n");
        ticks++;
      };
      await tick();

      const cycles = count(2, 100);
      let refused = 0;
      for (let cycle = 0; cycle < cycles; cycle++) {
        await must("import", guest, "--name", "guest:1");
        await fill(disk);
        assertEquals(await names(), ["busy:1", "guest:1"]);
        await must("show", "guest:1");
        await must("tag", "guest:1", "guest:2");
        const before = await kept(root);
        for (const args of [["import", aci], ["verify"]]) {
          const { status, stderr } = await image(...args);
          assertMatch(stderr, /^kurma: Cannot .*: ENOSPC\b.*Free some space.*$/m);
          assert(status !== 0);
          refused++;
        }
        assertEquals(await kept(root), before);
        await tick();
        const inUse = await image("rm", "busy:1");
        assertMatch(inUse.stderr, /a container uses it/);
        await must("rm", "guest:1");
        await must("rm", "guest:2");
        assertEquals(await names(), ["busy:1"]);
        await fill(disk);
        await must("prune");
        assertEquals(await names(), ["busy:1"]);
        await tick();
        await mustRun(["sh", "-c", `rm ${disk}/filler-*`]);
      }
      await writer.close();
      await reader.cancel();
      assertEquals((await container.status).code, 0);
      await must("verify");
      await must("import", aci);
      console.log(
        `${name}: ${cycles} times full, ${refused} refused, ${ticks} answers from inside`,
      );
    } finally {
      await mustRun(["umount", disk]);
    }
  });

  test(`a pull that fills ${name} leaves only what can be resumed`, async ({ dir }) => {
    const aci = await noisyAci(dir);
    const disk = `${dir}/disk`;
    await Deno.mkdir(disk);
    await mustRun(["mount", ...await options(dir), disk]);
    try {
      const config = `${dir}/config`;
      await Deno.mkdir(config);
      await Deno.writeTextFile(
        `${config}/hosts.yaml`,
        "hosts:\n  127.0.0.1:5002: { plainHttp: true }\n",
      );
      const root = `${disk}/state`;
      const image = (...args: string[]): Promise<Output> =>
        run([binary, "--root", root, "--config", config, "image", ...args], { limitMs: 60_000 });
      const bytes = await Deno.readFile(aci);
      const digest = `sha256:${(await mustRun(["sha256sum", aci])).slice(0, 64)}`;
      let sent = 0;
      await using _server = Deno.serve(
        { hostname: "127.0.0.1", port: 5002, onListen: () => {} },
        (request) => {
          const from = Number(/^bytes=(\d+)-/.exec(request.headers.get("range") ?? "")?.[1] ?? 0);
          const rest = bytes.subarray(from);
          sent += rest.length;
          return new Response(rest, {
            status: from > 0 ? 206 : 200,
            headers: {
              "content-length": String(rest.length),
              ...(from > 0
                ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }
                : {}),
            },
          });
        },
      );
      assertEquals((await image("list")).status, 0);
      await fill(disk);
      const filler = `${disk}/filler-${1 << 20}`;
      await Deno.truncate(filler, (await Deno.stat(filler)).size - (bytes.length >> 1));

      const url = `http://127.0.0.1:5002/busybox.aci@${digest}`;
      const failed = await image("pull", url);
      assertMatch(failed.stderr, /^kurma: Cannot .*: ENOSPC\b.*Free some space.*$/m);
      const left = [...Deno.readDirSync(`${root}/images/tmp`)].map(({ name }) => name);
      assert(left.every((name) => name.endsWith(".part")), left.join(" "));
      assertEquals(JSON.parse((await image("list", "-o", "json")).stdout), []);

      await mustRun(["sh", "-c", `rm ${disk}/filler-*`]);
      assertEquals((await image("pull", url)).status, 0);
      assertEquals((await image("verify")).status, 0);
      console.log(`${name}: ${sent} bytes sent for an image of ${bytes.length}`);
      assert(sent < 2 * bytes.length);
    } finally {
      await mustRun(["umount", disk]);
    }
  });
}
