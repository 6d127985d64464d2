/**
 * The one file: what it needs, what it weighs, and that it works alone.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "./assert.ts";
import { binary, mustRun, run, test } from "./harness.ts";

test("dist/kurma is one file under 105 MB", async () => {
  const { isFile, size } = await Deno.lstat(binary);
  assert(isFile);
  assert(size < 105_000_000, `${size} bytes`);
});

test("dist/kurma needs the C library's own libraries and no other", async () => {
  const needed = (await mustRun(["ldd", binary])).match(/\S+\.so\.\d+/g)?.map((path) =>
    path.slice(path.lastIndexOf("/") + 1)
  );
  // libgcc_s is the compiler's runtime that every glibc system carries for thread cancellation.
  assertEquals(
    [...new Set(needed)].sort(),
    [
      ...["ld-linux-x86-64.so.2", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6"],
      ...["libpthread.so.0", "librt.so.1", "linux-vdso.so.1"],
    ],
  );
});

test("alone in an empty folder it runs hello, and writes to no temporary folder", async ({ dir }) => {
  const home = `${dir}/home`;
  await Deno.mkdir(home);
  await Deno.copyFile(binary, `${home}/kurma`);
  // The first run unpacks the image; the watch sees that one too.
  using watcher = Deno.watchFs(["/tmp", "/dev/shm"], { recursive: false });
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { kind, paths } of watcher) {
      if (kind !== "access") seen.push(...paths.map((path) => `${kind} ${path}`));
    }
  })();
  for (let round = 0; round < 2; round++) {
    const env = { HOME: home, TMPDIR: "/tmp", PATH: "/nowhere" };
    const { status, stdout, stderr } = await run([`${home}/kurma`, "run", "hello"], {
      cwd: home,
      env,
    });
    assertEquals([status, stderr], [0, ""]);
    assertMatch(stdout, /inside a container/);
    assertMatch(stdout, /pid +\d+ \(parent 1\)/);
    assertMatch(stdout, /namespaces +mnt:\[\d+\]/);
    assertMatch(stdout, /hostname/);
    assertMatch(stdout, /\/proc +proc/);
  }
  // A file made now is seen, so the watch was one, and all before it has been told.
  await Deno.writeTextFile("/tmp/kurma-test-last", "");
  await Deno.remove("/tmp/kurma-test-last");
  while (!seen.some((event) => event.endsWith("/kurma-test-last"))) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  watcher.close();
  await watching;
  assertEquals(seen.filter((event) => !event.endsWith("/kurma-test-last")), []);
  assertEquals([...Deno.readDirSync(home)].map(({ name }) => name), ["kurma"]);
});
