/**
 * How much a volume may take.
 *
 * @module
 */

import { assert, assertEquals, rejection } from "../assert.ts";
import { mustRun, root, test } from "../harness.ts";
import { boot } from "../rigs/uml.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";

const mebibyte = 1024 * 1024;

/** The refusal of a file system that holds to no quotas of projects; which errno says why. */
const refused = /has no project quotas in force \(E[A-Z]+\)$/;

const create = (kurmad: Kurmad, volume: string, bytes: number, labels = {}) =>
  kurmad.api.call("Volumes", "Create", { name: volume, quotaBytes: String(bytes), labels });

kurmadTest(
  "a quota that the file system does not hold to is refused, and leaves nothing",
  async (kurmad) => {
    const error = await rejection(create(kurmad, "data", 8 * mebibyte));
    assert(refused.test(error.message), error.message);
    assert(error.message.startsWith('Cannot limit volume "data"'), error.message);
    assertEquals((await kurmad.api.call("Volumes", "List", {})).volumes ?? [], []);
    const folder = `${kurmad.dir}/state/volumes`;
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), [".trash"]);
    await create(kurmad, "data", 0);
    const update = kurmad.api.call("Volumes", "Update", { volume: "data", quotaBytes: "9000000" });
    assertEquals(
      (await rejection(update)).message,
      'Cannot limit volume "data": it was made without a quota',
    );
    // Lifting what is not there is no change.
    await kurmad.api.call("Volumes", "Update", { volume: "data", quotaBytes: "0" });
    await kurmad.api.call("Volumes", "Remove", { volume: "data" });
  },
);

test("a quota is held to where the kernel and the file system have them", async ({ dir }) => {
  const disk = `${dir}/disk`;
  await mustRun(["truncate", "--size=64M", disk]);
  await mustRun(["mkfs.ext4", "-q", "-F", "-O", "quota,project", disk]);
  const program = `${root}/tests/kurmad/quota_inside.ts`;
  const { status, stdout } = await boot({
    dir,
    disk,
    script: `
      cd ${root} && export DENO_DIR=${root}/.toolchain/deno-dir NO_COLOR=1
      modprobe -d /run/rig quota_v2
      mkdir /run/volumes && mount -o prjquota /dev/ubda /run/volumes
      ${Deno.execPath()} run --allow-all --cached-only --no-check ${program} /run/volumes`,
  });
  const named = (await Deno.readTextFile(program)).matchAll(/^console\.log\("(ok .*)"\)/gm);
  assertEquals(stdout.match(/^ok .*/gm), [...named].map(([, name]) => name), stdout);
  assertEquals(status, 0, stdout);
});
