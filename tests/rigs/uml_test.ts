/**
 * The user-mode-linux rig: it boots, runs Kurma under cgroup v2 alone, and its power can be cut.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, test } from "../harness.ts";
import { boot, Machine, makeDisk } from "./uml.ts";

test("user-mode-linux gives cgroup v2 with its controllers, and the script's status", async ({ dir }) => {
  const { status, stdout } = await boot({
    dir,
    script: "cat /sys/fs/cgroup/cgroup.controllers; uname -r; exit 3",
  });
  assertEquals(status, 3);
  assertMatch(stdout, /^cpu io memory pids\n6\.1\./);
});

test("kurma run hello runs under cgroup v2", async ({ dir }) => {
  const { status, stdout } = await boot({ dir, script: `${binary} run hello` });
  assertEquals(status, 0, stdout);
  assertMatch(stdout, /inside a container/);
  assertMatch(stdout, /pid +\d+ \(parent 1\)/);
});

test("a power cut keeps what was fsynced and loses what was not", async ({ dir }) => {
  const disk = await makeDisk(`${dir}/disk`, 64);
  const machine = new Machine({
    dir,
    disk,
    script: `
      mount /dev/ubda /mnt
      printf kept >/mnt/fsynced && sync -d /mnt/fsynced && sync /mnt
      printf lost >/mnt/cached
      echo written
      sleep 60`,
  });
  await machine.says(/^written/m);
  await machine.cutPower();

  const { status, stdout } = await boot({
    dir,
    disk,
    script: "mount /dev/ubda /mnt; cat /mnt/fsynced /mnt/cached",
  });
  assert(stdout.startsWith("kept"), stdout);
  assert(!stdout.includes("lost"), stdout);
  assertEquals(status, 1);
});
