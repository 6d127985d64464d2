/**
 * The fixtures themselves: other people's tools find their own images in order, so
 * that an image Kurma refuses is Kurma's fault.
 *
 * @module
 */

import { assert, assertEquals } from "./assert.ts";
import { mustRun, test } from "./harness.ts";
import { images } from "./images_fixture.ts";

test("actool, skopeo and umoci accept the images that tests run", async ({ dir }) => {
  const { aci, oci, ociTar, docker } = await images();
  await mustRun(["actool", "validate", aci]);
  const archive = JSON.parse(await mustRun(["skopeo", "inspect", `docker-archive:${docker}`]));
  assertEquals(archive.Env, ["FROM_IMAGE=yes"]);
  const layout = JSON.parse(await mustRun(["skopeo", "inspect", `oci-archive:${ociTar}`]));
  assertEquals(layout.Layers.length, 2);

  await mustRun(["umoci", "unpack", "--image", oci, `${dir}/bundle`]);
  const inside = await mustRun(["ls", `${dir}/bundle/rootfs/etc`]);
  assert(inside.includes("marker") && !inside.includes("removed"), inside);
});
