/**
 * The leak check itself: each kind of leftover is made, named, and taken away again.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "./assert.ts";
import { mustRun, test } from "./harness.ts";
import { leftovers, removeCgroups, snapshot } from "./leaks.ts";

/** How to leave something behind, how to take it back, and how the check names it. */
const leaks: Record<string, { make: string; undo: string; named: RegExp }> = {
  "a mount": {
    make: "mount -t tmpfs leak $DIR",
    undo: "umount $DIR",
    named: /^left over: mount of tmpfs leak\/ on \/tmp\/kurma-test-/,
  },
  "a mount over another": {
    make: "mount -t tmpfs one $DIR && mount -t tmpfs two $DIR",
    undo: "umount $DIR $DIR",
    named: /^left over: mount of tmpfs one/,
  },
  "a process": {
    make: "sleep 1000 >/dev/null 2>&1 & echo $! >$DIR.pid",
    undo: "kill $(cat $DIR.pid); rm $DIR.pid",
    named: /^left over: process \d+ \(\w\) \/.*sleep 1000/,
  },
  "a cgroup": {
    make: "mkdir $(findmnt -rno TARGET -t cgroup,cgroup2 | tail -n 1)/leak",
    undo: "rmdir $(findmnt -rno TARGET -t cgroup,cgroup2 | tail -n 1)/leak",
    named: /^left over: cgroup \/sys\/fs\/cgroup.*\/leak$/,
  },
  "a network link": {
    make: "ip link add leak0 type veth peer name leak1",
    undo: "ip link del leak0",
    named: /^left over: network link leak[01]$/,
  },
  "a named network namespace": {
    make: "ip netns add leak",
    undo: "ip netns del leak; umount /run/netns; rmdir /run/netns",
    named: /^left over: mount of nsfs nsfsnet:\[\d+\] on \/run\/netns\/leak$/,
  },
  "a loop device": {
    make: "truncate -s 1M $DIR/kurma.img && losetup -f $DIR/kurma.img",
    undo: "losetup -d $(losetup -nO NAME -j $DIR/kurma.img); rm $DIR/kurma.img",
    named: /^left over: loop device loop\d+ of .*kurma\.img/,
  },
  "a packet filter table": {
    make: "nft add table inet leak",
    undo: "nft delete table inet leak",
    named: /^left over: nft rule table inet leak/,
  },
  "a temporary file": {
    make: "touch $DIR.leak",
    undo: "rm $DIR.leak",
    named: /^left over: file \/tmp\/kurma-test-.*\.leak$/,
  },
  "a state folder": {
    make: "mkdir -p /run/kurma/leak",
    undo: "rm -r /run/kurma",
    named: /^left over: file \/run\/kurma$/,
  },
};

for (const [name, { make, undo, named }] of Object.entries(leaks)) {
  test(`the leak check names ${name} that stayed`, async ({ dir }) => {
    const shell = (script: string) => mustRun(["sh", "-c", script], { env: { DIR: dir } });
    const before = await snapshot();
    await shell(make);
    const found = await leftovers(before, 0);
    await shell(undo);
    assert(found.some((line) => named.test(line)), `${named} is not in ${JSON.stringify(found)}`);
    assertEquals(await leftovers(before), []);
  });
}

test("the leak check names a mount that was taken away", async ({ dir }) => {
  await mustRun(["mount", "-t", "tmpfs", "ours", dir]);
  const before = await snapshot();
  await mustRun(["umount", dir]);
  const [line] = await leftovers(before, 0);
  assertMatch(line, /^gone: mount of tmpfs ours\/ on/);
});

test("the cgroups of a test that failed are removed, and no others", async () => {
  const root = await mustRun(["findmnt", "-rno", "TARGET", "-t", "cgroup,cgroup2"]);
  const folders = root.trim().split("\n").map((path) => `${path}/earlier`);
  for (const folder of folders) await Deno.mkdir(folder);
  try {
    const before = await snapshot();
    for (const folder of folders) await Deno.mkdir(`${folder}/late/nested`, { recursive: true });
    await removeCgroups(before);
    assertEquals(await leftovers(before, 0), []);
  } finally {
    for (const folder of folders) await Deno.remove(folder);
  }
});
