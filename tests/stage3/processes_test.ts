import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { binary, count, mustRun, run, test } from "../harness.ts";
import type { StartRequest } from "../../stage3/client.ts";
import {
  assertOpen,
  ByHand,
  children,
  commandLine,
  descriptors,
  environment,
  statusField,
} from "./by_hand.ts";

const sleep: StartRequest = {
  command: ["/bin/sleep", "1000"],
  env: { K: "V" },
  stdout: "/o",
  stderr: "/e",
  user: "0",
  group: "0",
};

test("by hand, only stage3 starts: one thread, called init, with a socket of its own", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  assertEquals(children(stage3.process.pid), [stage3.pid]);
  assertEquals(children(stage3.pid), []);
  assertEquals(statusField(stage3.pid, "Threads"), "1");
  assertEquals(commandLine(stage3.pid)[0], "init");
  assertEquals((await Deno.stat(stage3.path)).mode! & 0o777, 0o600);
  for (const line of [/Socket file/, /Setup signal handler\./]) await stage3.process.says(line);
});

const badStarts: [string, Record<string, string>, RegExp][] = [
  ["no INITD_SOCKET", {}, /set INITD_SOCKET to the path/],
  ["a long INITD_SOCKET", { INITD_SOCKET: `/tmp/${"x".repeat(103)}` }, /socket: ENAMETOOLONG/],
  ["a missing folder", { INITD_SOCKET: "/no/such/folder/socket" }, /socket: ENOENT/],
  ["a file in the way", { INITD_SOCKET: "/etc/passwd" }, /socket: EADDRINUSE/],
];
for (const [what, env, message] of badStarts) {
  test(`by hand, ${what} ends with status 1 and says why`, async () => {
    const { status, stderr } = await run([binary], { env: { INITD_INTERCEPT: "1", ...env } });
    assertEquals(status, 1);
    assertMatch(stderr, message);
  });
}

test("START gives a process its arguments, environment and files, and nothing else", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await stage3.client.start({ ...sleep, name: "one" });
  const pid = await stage3.child(sleep.command);
  assertEquals(commandLine(pid), sleep.command);
  assertEquals(environment(pid), ["K=V"]);
  await assertOpen(pid, { 0: "/dev/null", 1: "/o", 2: "/e" });
  assertEquals(statusField(pid, "SigBlk"), "0000000000000000");
  assertEquals(children(pid), []);

  await stage3.client.start({ ...sleep, command: ["sleep", "2000"], env: {} });
  const second = await stage3.child(["sleep", "2000"]);
  assertEquals(environment(second), []);
  assertEquals(await stage3.client.status(), new Map([["one", "running"]]));
});

test("START runs as the user and group that the root's files name", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await stage3.client.start({ ...sleep, user: "nobody", group: "daemon", directory: "/tmp" });
  const pid = await stage3.child(sleep.command);
  assertEquals(statusField(pid, "Uid"), "65534\t65534\t65534\t65534");
  assertEquals(statusField(pid, "Gid"), "1\t1\t1\t1");
  assertEquals(statusField(pid, "Groups"), "");
  assertEquals(Deno.readLinkSync(`/proc/${pid}/cwd`), "/tmp");
  for (const user of ["-1", " 0", "0x0", "+0", "4294967296", "2147483648", "root:0", "nobody2"]) {
    const error = await rejection(stage3.client.start({ ...sleep, user }));
    assertEquals(error.message, 'Cannot start "/bin/sleep": stage3 failed to do it', user);
  }
});

test("what a process prints goes to its files; so does why it could not start", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  const files = { stdout: `${scratch.dir}/out`, stderr: `${scratch.dir}/err` };
  await Deno.writeTextFile(files.stdout, "before, and longer");
  await stage3.client.start({ ...sleep, ...files, name: "a", command: ["sh", "-c", "echo hello"] });
  await stage3.client.wait();
  assertEquals(await Deno.readTextFile(files.stdout), "hello\n, and longer");
  const error = await rejection(
    stage3.client.start({ ...sleep, ...files, name: "b", command: ["/no/such/program"] }),
  );
  assertEquals(error.message, 'Cannot start "/no/such/program": stage3 failed to do it');
  assertEquals(
    await Deno.readTextFile(files.stderr),
    'init: Cannot run "/no/such/program": exec: ENOENT\n',
  );
  assertEquals((await stage3.client.status()).get("b"), "exited(71)");
});

test("STATUS says how each named process is, the newest first", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  assertEquals(await stage3.client.status(), new Map());
  for (const name of ["term", "kill"]) {
    const command = ["sh", "-c", `exec sleep 1000`, name];
    await stage3.client.start({ ...sleep, name, command });
  }
  for (const name of ["true", "false"]) {
    await stage3.client.start({ ...sleep, name, command: [name] });
  }
  const pids = children(stage3.pid);
  Deno.kill(pids[0], "SIGTERM");
  Deno.kill(pids[1], "SIGKILL");
  const states = await settled(stage3);
  assertEquals([...states], [
    ["false", "exited(1)"],
    ["true", "exited(0)"],
    ["kill", "signaled(9)"],
    ["term", "signaled(15)"],
  ]);
});

/** The status once nothing runs any more. */
async function settled(stage3: ByHand): Promise<Map<string, string>> {
  while (true) {
    await stage3.client.wait();
    const states = await stage3.client.status();
    if (![...states.values()].includes("running")) return states;
  }
}

test("WAIT is parked until a named process ends", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await stage3.client.wait();
  await stage3.process.says(/responding to WAIT immediately/);
  await stage3.client.start({ ...sleep, name: "app" });
  let over = false;
  const waiting = stage3.client.wait().then(() => over = true);
  await stage3.process.says(/Added to the waiting queue/);
  await stage3.client.start({ ...sleep, command: ["true"] });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(over, false, "the end of a process without a name released WAIT");
  Deno.kill(await stage3.child(sleep.command), "SIGKILL");
  await waiting;
  await stage3.client.wait();
});

test("EXEC makes the program PID 1 and stage3 its child, still serving", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await stage3.client.exec({
    command: ["sleep", "3000"],
    env: { A: "b" },
    stdout: "/o",
    stderr: "/e",
  });
  assertEquals(commandLine(stage3.pid), ["sleep", "3000"]);
  assertEquals(environment(stage3.pid), ["A=b"]);
  await assertOpen(stage3.pid, { 0: "/dev/null", 1: "/o", 2: "/e" });
  const [server] = children(stage3.pid);
  assertEquals(commandLine(server)[0], "init");
  assert(environment(server).includes("INITD_INTERCEPT=1"));
  await stage3.client.start({ ...sleep, name: "later", command: ["false"] });
  await stage3.client.wait();
  assertEquals(await stage3.client.status(), new Map([["later", "exited(1)"]]));
});

test("EXEC of a program that does not exist ends PID 1 with 71", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await rejection(
    stage3.client.exec({ command: ["/no/such/program"], stdout: "/o", stderr: "/e" }),
  );
  assertEquals((await stage3.process.output).status, 71);
});

for (const privileged of [true, false]) {
  const what = privileged ? "keeps the old root at /host" : "puts the old root out of reach";
  test(`CHROOT ${what}`, async (scratch) => {
    await using stage3 = await ByHand.start(scratch);
    await stage3.client.chroot("/srv/c1", { privileged });
    const names = [...Deno.readDirSync(`/proc/${stage3.pid}/root`)].map(({ name }) => name);
    assertEquals(names, privileged ? ["host"] : []);
  });
}

test("CHROOT that fails changes nothing", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  // A folder that is no mount point.
  await rejection(stage3.client.chroot("/srv"));
  await rejection(stage3.client.chroot("/srv"));
  assertEquals(Deno.readLinkSync(`/proc/${stage3.pid}/cwd`), "/");
  assertEquals([...Deno.readDirSync(`/proc/${stage3.pid}/root/srv`)].length, 1);
});

test("SETHOSTNAME sets the name in the namespace of stage3", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await stage3.client.setHostname("box");
  assertEquals(await mustRun(["nsenter", "-t", String(stage3.pid), "-u", "hostname"]), "box\n");
});

/** Sends START with one end of a socket pair and talks over the other. */
const chainScript = `
import socket, sys
mine, theirs = socket.socketpair()
rpc = socket.socket(socket.AF_UNIX)
rpc.connect(sys.argv[1])
socket.send_fds(rpc, [sys.stdin.buffer.read()], [theirs.fileno()])
theirs.close()
print(rpc.recv(64).decode(), end="")
talk = mine.makefile("rw")
print(talk.readline(), end="")
talk.write("10.0.0.2\\n")
talk.flush()
print(talk.read(), end="")
`;

test("a chained program talks to stage1, then hands its socket to the next", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  const second = `echo "second link, pid $$, got $ADDRESS" >&$KURMA_STAGE1_FD`;
  const first =
    `echo "first link, pid $$" >&$KURMA_STAGE1_FD; read ADDRESS <&$KURMA_STAGE1_FD; export ADDRESS; exec sh -c '${second}'`;
  const words = ["sh", "-c", first];
  const text = `1\n6\n1\n5\nSTART3\n${words.map((word) => `${word.length}\n${word}`).join("")}` +
    "1\n0\n0\n2\n9\n/dev/null9\n/dev/null2\n1\n01\n0";
  const said = await mustRun(["python3", "-c", chainScript, stage3.path], { stdin: text });
  assertMatch(
    said,
    /^REQUEST OK\nfirst link, pid (\d+)\nsecond link, pid \1, got 10\.0\.0\.2\n$/,
  );
});

test("orphans are reaped, however many", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  const orphans = count(2_000, 100_000);
  const program =
    `import os\nfor _ in range(${orphans}):\n  if os.fork() == 0:\n    if os.fork() == 0: os._exit(0)\n    os._exit(0)\n  os.wait()\n`;
  await stage3.client.start({ ...sleep, name: "orphans", command: ["python3", "-c", program] });
  await stage3.client.wait();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(children(stage3.pid), []);
  assertEquals((await stage3.client.status()).get("orphans"), "exited(0)");
});

test("clients that leave early, stay silent or never read cost nothing", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await stage3.client.start({ ...sleep, name: "app" });
  const idle = Object.keys(descriptors(stage3.pid)).length;
  const open: Deno.UnixConn[] = [];
  // More than the 1,024 that select(2) could watch.
  for (let index = 0; index < 1_100; index++) open.push(await stage3.connect());
  await stage3.client.status();
  assert(Object.keys(descriptors(stage3.pid)).length > 1_100);
  for (const connection of open) connection.close();

  for (let index = 0; index < 50; index++) {
    const connection = await stage3.connect();
    await connection.write(new TextEncoder().encode("1\n1\n1\n6\nSTATUS"));
    connection.close(); // Before the reply: the server must survive EPIPE.
  }
  for (let index = 0; index < 50; index++) {
    await rejection(stage3.client.wait({ timeoutMs: 1 })); // Parked, then gone.
  }
  await stage3.client.status();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(Object.keys(descriptors(stage3.pid)).length, idle);

  const before = cpuTicks(stage3.pid);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert(cpuTicks(stage3.pid) - before <= 1, "stage3 is busy with nobody there");
});

/** User and system time of a process, in ticks of 10 ms. proc(5), /proc/PID/stat */
function cpuTicks(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1].split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

test("stage3 at rest takes at most 150 KiB of memory, and 300 KiB on disk", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  await stage3.client.start({ ...sleep, name: "app" });
  for (let index = 0; index < 100; index++) await stage3.client.status();
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const rollup = Deno.readTextFileSync(`/proc/${stage3.pid}/smaps_rollup`);
  const pss = Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1]);
  const { size } = await Deno.stat(`/proc/${stage3.pid}/exe`);
  console.log(`stage3 at rest: ${pss} KiB PSS, ${Math.ceil(size / 1024)} KiB on disk`);
  assert(pss <= 150, `${pss} KiB PSS`);
  assert(size <= 300 * 1024, `${size} bytes`);
});
