/** The real image itself: other people's tools find each variant in order. */

import { assert, assertEquals } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { realImage } from "./real_image.ts";

test("the real image holds 200 MB or more, whichever way its layers are made", async () => {
  const variants = Object.entries(await realImage());
  const names = variants.map(([name, { layers }]) => `${name} ${layers.length}`);
  assertEquals(names, ["gzip 1", "zstd 1", "gzipEight 8", "zstdEight 8"]);
  for (const [name, { image, layers }] of variants) {
    const { Layers } = JSON.parse(await mustRun(["skopeo", "inspect", `oci:${image}`]));
    assertEquals(
      Layers.map((digest: string) => digest.slice(7)),
      layers.map((path) => path.slice(-64)),
    );
    const unpack = name.startsWith("gzip") ? "gzip -dc" : "zstd -qdc";
    const bytes = await mustRun(["sh", "-c", `${unpack} ${layers.join(" ")} | wc -c`]);
    assert(Number(bytes) >= 200_000_000, `${name} has ${bytes} bytes`);
  }
});

test("the real image comes in, whichever way its layers are made, and runs", async ({ dir, kurma }) => {
  const store = ["--root", `${dir}/state`];
  for (const [name, { image, layers }] of Object.entries(await realImage())) {
    const started = performance.now();
    const imported = await kurma([...store, "image", "import", image, "--name", "real"]);
    assertEquals(imported.status, 0, imported.stderr);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(`${name}: ${layers.length} layers imported in ${seconds} s`);
    const ran = await kurma([...store, "run", "real", "python3", "-c", "print(6 * 7)"]);
    assertEquals([ran.status, ran.stdout], [0, "42\n"], ran.stderr);
    // Thousands of files: a disk that is told of each one's end (mount -o discard) takes its time.
    const removed = ["image", "rm", imported.stdout.trim()];
    assertEquals((await kurma([...store, ...removed], { limitMs: 180_000 })).status, 0);
  }
});
