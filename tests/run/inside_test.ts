/**
 * What a container looks like to the command in it, as the static guest reports it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { parseReport, type Report } from "../guest/report.ts";
import { count, type Scratch, test } from "../harness.ts";
import { images } from "../images_fixture.ts";

/** A test of what the guest sees under `kurma run FLAGS`. */
function insideTest(name: string, flags: string[], look: (seen: Report) => void) {
  test(name, async ({ kurma }: Scratch) => {
    const { status, stdout, stderr } = await kurma([
      "run",
      ...flags,
      (await images()).guest,
      "/guest",
    ]);
    assertEquals([status, stderr], [0, ""]);
    look(parseReport(stdout));
  });
}

insideTest("pid 1 is stage3, and shows nothing of the host", [], ({ init, pid, ppid }) => {
  assertEquals(ppid, 1);
  assert(pid > 1 && pid < 10, `${pid} processes in a fresh pid namespace`);
  assertMatch(init.cmdline, /stage3|init/);
  // A process that is not dumpable: its executable, descriptors and memory are not ours to see.
  for (
    const [what, answer] of Object.entries({ exe: init.exe, read: init.exe_read, root: init.root })
  ) {
    assert(["EACCES", "EPERM"].includes(String(answer)), `/proc/1/${what}: ${answer}`);
  }
  const fds = typeof init.fds === "string" ? [init.fds] : Object.values(init.fds);
  for (const target of fds) assertMatch(target, /^(EACCES|EPERM|ENOENT)$/);
});

insideTest("the command has three descriptors and no more", [], ({ fds }) => {
  assertEquals(Object.keys(fds).sort(), ["0", "1", "2"]);
  assertEquals(fds["0"], "/dev/null");
});

test("every namespace is the container's own", async ({ kurma }) => {
  const { stdout } = await kurma(["run", (await images()).guest, "/guest"]);
  const seen = parseReport(stdout);
  for (const kind of ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]) {
    assert(
      seen.namespaces[kind] !== Deno.readLinkSync(`/proc/self/ns/${kind}`),
      `${kind} is the host's`,
    );
  }
});

insideTest("the mounts are the container's own", [], ({ mounts }) => {
  const found = mounts.map((line) => {
    const [own, fileSystem] = line.split(" - ");
    return `${own.split(" ")[4]} ${fileSystem.split(" ")[0]}`;
  });
  for (
    const wanted of [
      ...["/ overlay", "/proc proc", "/dev tmpfs", "/dev/pts devpts", "/dev/shm tmpfs"],
      ...["/dev/mqueue mqueue", "/sys sysfs"],
    ]
  ) assert(found.includes(wanted), `${wanted} is not among ${found.join(", ")}`);
  for (const mount of found) assertMatch(mount, /^\/( |proc|dev|sys)/);
  const system = mounts.find((line) => line.split(" ")[4] === "/sys");
  assertMatch(system ?? "", / ro[, ]/);
});

insideTest("the network is a loopback that works", [], ({ links }) => {
  assertEquals(links.slice(2).map((line) => line.split(":")[0].trim()), ["lo"]);
});

insideTest("the devices are the harmless ones", [], ({ devices }) => {
  const numbers = Object.entries(devices).filter(([, text]) => text.startsWith("c")).map((
    [name, text],
  ) => `${name} ${text.split(" ")[1]}`);
  assertEquals(numbers.sort(), [
    ...["full 1:7", "null 1:3", "random 1:8", "tty 5:0", "urandom 1:9", "zero 1:5"],
  ]);
});

insideTest("root in the container is nobody on the host, and can gain no rights", [], (seen) => {
  const { status, uid_map } = seen;
  const [inside, outside, size] = uid_map[0].trim().split(/\s+/).map(Number);
  assertEquals([inside, size], [0, 65_536]);
  assert(outside >= 65_536, uid_map[0]);
  assertEquals([status.NoNewPrivs, status.Seccomp], ["1", "2"]);
  const held = BigInt(`0x${status.CapEff}`) | BigInt(`0x${status.CapBnd}`);
  const never = { NET_ADMIN: 12n, SYS_MODULE: 16n, SYS_PTRACE: 19n, SYS_ADMIN: 21n, SYS_BOOT: 22n };
  for (const [name, bit] of Object.entries(never)) assert((held >> bit & 1n) === 0n, name);
});

insideTest("signals, mask and environment are fresh", ["--env", "ONLY=this"], (seen) => {
  assertEquals([seen.status.SigBlk, seen.status.SigIgn], Array(2).fill("0000000000000000"));
  assertEquals(seen.umask, 0o022);
  const names = seen.env.map((entry) => entry.split("=")[0]).sort();
  assertEquals(names.filter((name) => !["HOME", "HOSTNAME", "TERM", "container"].includes(name)), [
    "ONLY",
    "PATH",
  ]);
});

insideTest("the container has a name of its own", ["--name", "web"], ({ hostname }) => {
  assertEquals(hostname, "web");
});

test("sysctls of the host can neither be written nor replaced", async ({ kurma }) => {
  const { oci } = await images();
  const script = "echo x >/proc/sys/kernel/core_pattern; echo c >/proc/sysrq-trigger; " +
    "mount -t tmpfs x /mnt; umount /proc; mknod /tmp/sda b 8 0; echo done";
  const { stdout, stderr } = await kurma(["run", oci, "sh", "-c", script]);
  assertEquals(stdout, "done\n");
  assertEquals(stderr.trimEnd().split("\n").length, 5, stderr);
});

test("pid 1 reaps the orphans that the command leaves to it", async ({ kurma }) => {
  const orphans = count(500, 100_000);
  const { oci } = await images();
  const script = `guest orphans ${orphans}; sleep 0.2; ps -o stat | grep -c Z`;
  const { stdout } = await kurma(["run", oci, "sh", "-c", script], { limitMs: 300_000 });
  assertEquals(stdout, `${orphans} orphans\n0\n`);
});

test("what the command left running ends with it", async ({ kurma }) => {
  const { oci } = await images();
  const ran = await kurma(["run", oci, "sh", "-c", "sleep 1000 & (sleep 1000 &) ; exit 4"]);
  assertEquals(ran, { status: 4, stdout: "", stderr: "" });
});
