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
