/**
 * kurma-init as the first process of a machine: user-mode Linux with nothing mounted.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, mustRun, root, run, test } from "../harness.ts";
import { Machine, makeDisk } from "../rigs/uml.ts";

/** The static program, as `kurma install --init` writes it. */
async function installed(dir: string): Promise<string> {
  const path = `${dir}/kurma-init`;
  const { status, stderr } = await run([binary, "install", "--init", path]);
  assertEquals([status, stderr], [0, ""]);
  return path;
}

/** A shell script that stands in for kurmad; `$starts` counts from 1. */
async function daemon(dir: string, script: string): Promise<string> {
  const path = `${dir}/daemon`;
  await Deno.writeTextFile(
    path,
    `#!/bin/sh
mkdir -p /run/test
echo start >>/run/test/starts
starts=$(wc -l </run/test/starts)
${script}
`,
    { mode: 0o755 },
  );
  return path;
}

/** Fails unless the disk was unmounted in order. */
async function assertClean(disk: string): Promise<void> {
  const head = await mustRun(["dumpe2fs", "-h", disk]);
  assertMatch(head, /^Filesystem state: +clean$/m);
  assert(!head.includes("needs_recovery"), head);
  await mustRun(["e2fsck", "-n", "-f", disk]);
}

test("kurma-init mounts, names and starts all that a daemon needs", async ({ dir }) => {
  const program = await daemon(
    dir,
    `
echo "daemon $* of $PPID, stops $KURMAD_STOP_CONTAINERS"
echo "called $(cat /proc/sys/kernel/hostname)"
for path in /proc /sys /dev /dev/pts /dev/shm /dev/mqueue /run /sys/fs/cgroup; do
  findmnt --noheadings --output TARGET,FSTYPE --mountpoint $path | tail -1
done
ls -l /dev/fd | sed 's/.*-> /fd /'
ip -brief address show lo | sed 's/^/loopback /'
cat /sys/fs/cgroup/cgroup.controllers | sed 's/^/controllers /'
kill -TERM 1
sleep 60`,
  );
  const machine = new Machine({
    dir,
    init: [await installed(dir), program],
    kernel: ["kurma.hostname=box-1"],
  });
  const said = await machine.off();
  for (
    const line of [
      /^kurma-init: phase processes: done in \d+ ms$/m,
      /^daemon daemon of 1, stops true$/m,
      /^called box-1$/m,
      /^\/proc +proc$/m,
      /^\/sys +sysfs$/m,
      /^\/dev +devtmpfs$/m,
      /^\/dev\/pts +devpts$/m,
      /^\/dev\/shm +tmpfs$/m,
      /^\/dev\/mqueue +mqueue$/m,
      /^\/run +tmpfs$/m,
      /^\/sys\/fs\/cgroup +cgroup2$/m,
      /^fd \/proc\/self\/fd$/m,
      /^loopback lo +UNKNOWN +127\.0\.0\.1\/8/m,
      /^controllers .*memory/m,
      /^kurma-init: all processes have ended$/m,
      /^kurma-init: file systems are unmounted$/m,
    ]
  ) assertMatch(said, line);
});

test("a daemon that is killed is started again, and orphans are buried", async ({ dir }) => {
  const program = await daemon(
    dir,
    `
if [ $starts = 1 ]; then
  # An orphan that ends, and one that goes on as a container would.
  setsid sh -c 'setsid sleep 0.1 & setsid sleep 1000 & echo "kept $!"'
  sleep 1.5
  kill -KILL $$
fi
echo "start $starts"
echo "zombies $(grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l)"
echo "sleeping $(pgrep --exact --parent 1 sleep | wc -l)"
kill -TERM 1
sleep 60`,
  );
  const machine = new Machine({ dir, init: [await installed(dir), program] });
  const said = await machine.off();
  assertMatch(said, /^kurma-init: kurmad ended with status 137$/m);
  assertMatch(said, /^start 2\nzombies 0\nsleeping 1$/m);
  assertMatch(said, /^kurma-init: all processes have ended$/m);
});

test("power-off waits for the daemon, ends what ignores it and leaves a clean disk", async ({ dir }) => {
  const disk = await makeDisk(`${dir}/disk`, 16);
  const program = await daemon(
    dir,
    `
trap 'echo "asked to stop"; sleep 0.5; echo whole >/var/lib/kurma/last; exit 0' TERM
findmnt --noheadings --output SOURCE,FSTYPE --mountpoint /var/lib/kurma
setsid sh -c 'trap "" TERM; exec 3>/var/lib/kurma/held; echo stubborn; while :; do sleep 1; done' &
sleep 0.5
kill -TERM 1
while :; do sleep 0.1; done`,
  );
  const machine = new Machine({
    dir,
    disk,
    init: [await installed(dir), program],
    kernel: ["kurma.state=/dev/ubda"],
  });
  const said = await machine.off();
  assertMatch(said, /^\/dev\/ubda +ext4$/m);
  assertMatch(said, /asked to stop\nkurma-init: kurmad stopped with status 0\n/);
  assertMatch(said, /all processes have ended\nkurma-init: file systems are unmounted/);
  await assertClean(disk);
  assertEquals(await mustRun(["debugfs", "-R", "cat /last", disk]), "whole\n");
});

test("Ctrl-Alt-Del restarts the machine, with all of its disk", async ({ dir }) => {
  const disk = await makeDisk(`${dir}/disk`, 16);
  const program = await daemon(
    dir,
    `
boots=$(($(cat /var/lib/kurma/boots 2>/dev/null || echo 0) + 1))
echo $boots >/var/lib/kurma/boots
echo "boot $boots"
[ $boots = 1 ] && kill -INT 1 || kill -TERM 1
sleep 60`,
  );
  const machine = new Machine({
    dir,
    disk,
    init: [await installed(dir), program],
    kernel: ["kurma.state=/dev/ubda"],
  });
  const said = await machine.off();
  assertMatch(said, /^boot 1$/m);
  assertMatch(said, /^boot 2$/m);
  await assertClean(disk);
});

test("kurma-init boots to a kurmad that answers, whose containers outlive it", async ({ dir }) => {
  const disk = await makeDisk(`${dir}/disk`, 256);
  const visitor = `${dir}/visitor`;
  await Deno.writeTextFile(
    visitor,
    `
call() {
  curl --silent --fail --unix-socket /run/kurma/kurma.sock --header 'content-type: application/json' \\
    --data "$2" "http://kurma/kurma.v1.Containers/$1"
}
answers() { until call List '{}' >/dev/null 2>&1; do sleep 0.2; done; }
answers
echo "answered once"
call Create '{"name":"web","image":"hello","settings":{"command":["pause"]},"start":true}' >/dev/null
echo "created $?"
call List '{}' | grep -o 'CONTAINER_STATE_[A-Z]*' | sed 's/^/first /'
before=$(pgrep --full 'hello pause' | wc -l)
kill -KILL $(pgrep --full '[k]urma daemon' | head -1)
sleep 1
answers
echo "answered again, $before and $(pgrep --full 'hello pause' | wc -l) inside"
call List '{}' | grep -o 'CONTAINER_STATE_[A-Z]*' | sed 's/^/then /'
kill -TERM 1
`,
  );
  const program = await daemon(
    dir,
    `
mkdir -p /run/rig/lib
ln -sfn /usr/lib/uml/modules /run/rig/lib/modules
modprobe -a -d /run/rig overlay
[ $starts = 1 ] && setsid sh ${visitor} &
exec ${binary} "$@"`,
  );
  const machine = new Machine({
    dir,
    disk,
    init: [await installed(dir), program],
    kernel: ["kurma.state=/dev/ubda"],
  });
  const said = await machine.off();
  assertMatch(said, /^answered once$/m);
  assertMatch(said, /^created 0$/m);
  assertMatch(said, /^first CONTAINER_STATE_RUNNING$/m);
  assertMatch(said, /^kurma-init: kurmad ended with status 137$/m);
  assertMatch(said, /^answered again, 1 and 1 inside$/m);
  assertMatch(said, /^then CONTAINER_STATE_RUNNING$/m);
  assertMatch(said, /^kurma-init: kurmad stopped with status 0$/m);
  assertMatch(said, /^kurma-init: all processes have ended$/m);
  await assertClean(disk);
});

test("a machine whose disk is not there says so, and can be turned off", async ({ dir }) => {
  const machine = new Machine({
    dir,
    init: [await installed(dir), "/bin/true"],
    kernel: ["kurma.state=/dev/nowhere"],
  });
  await machine.says(/phase state: cannot mount: ENOENT\s/);
  await machine.says(/Ctrl-Alt-Del restarts the machine/);
  await machine.cutPower();
});

test("kurma-init boots nothing but a machine", async ({ dir }) => {
  const { status, stdout, stderr } = await run([binary, "init"]);
  assertEquals([status, stdout], [2, ""]);
  assertMatch(stderr, /^kurma: Cannot boot: this is not the first process of a machine\. Write it/);
  const native = await run([await installed(dir)]);
  assertEquals(native.status, 2);
  assertMatch(native.stderr, /^kurma-init: Cannot boot: this is process \d+/);
  assert((await Deno.stat(`${root}/build/native/kurma-init`)).size < 64 * 1024);
});
