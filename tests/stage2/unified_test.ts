/**
 * The stage2 server where cgroups are of version 2 alone, and where overlay takes no layer by
 * descriptor: in user-mode Linux, since most machines that this is built on still mount version 1,
 * and have a kernel that is newer than most.
 *
 * @module
 */

import { assertEquals } from "../assert.ts";
import { root, test } from "../harness.ts";
import { boot, makeDisk } from "../rigs/uml.ts";

test("stage2 server: cgroups of version 2 limit, count, freeze and kill containers with ids of their own", async ({ dir }) => {
  const program = `${root}/tests/stage2/unified.ts`;
  const { status, stdout } = await boot({
    dir,
    disk: await makeDisk(`${dir}/disk`, 64),
    script: `
      cd ${root} && export DENO_DIR=${root}/.toolchain/deno-dir NO_COLOR=1
      mkdir /run/served && mount /dev/ubda /run/served
      ${Deno.execPath()} run --allow-all --cached-only --no-check ${program} /run/served &&
        [ -z "$(find /sys/fs/cgroup -mindepth 1 -type d)" ]`,
  });
  const named = (await Deno.readTextFile(program)).matchAll(/^ {2}async "(.*)"/gm);
  assertEquals(stdout.match(/^ok .*/gm), [...named].map(([, name]) => `ok ${name}`), stdout);
  assertEquals(status, 0, stdout);
});
