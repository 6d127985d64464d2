import { assert, assertEquals, assertMatch } from "../assert.ts";
import { count, mustRun, root, test } from "../harness.ts";
import { Stage3Client, type StartRequest } from "../../stage3/client.ts";
import { assertOpen, children, commandLine, statusField } from "./by_hand.ts";
import { launch, Launched, pause } from "./launched.ts";

const sleep: StartRequest = {
  command: ["sleep", "1000"],
  stdout: "/dev/null",
  stderr: "/dev/null",
  user: "0",
  group: "0",
};

const endings: [string, number][] = [
  ["exit 7", 7],
  ["kill -9 $$", 137],
  ["kill -TERM $$", 143],
  ["exec /no/such/program", 127],
];
for (const [script, status] of endings) {
  test(`a container ends with its main process: ${script} is ${status}`, async () => {
    assertEquals((await launch([], ["sh", "-c", script])).status, status);
  });
}

test("a main process that does not exist is 127, one that is no program 126", async () => {
  assertEquals((await launch([], ["/no/such/program"])).status, 127);
  assertEquals((await launch([], ["/etc/passwd"])).status, 126);
});

test("signals go to the main process", async () => {
  const script =
    `trap 'echo got USR1' USR1; trap 'echo got HUP; exit 5' HUP; echo ready; while :; do sleep 0.01; done`;
  const { process, pid } = await Launched.start([], ["sh", "-c", script]);
  await process.says(/ready/);
  Deno.kill(pid, "SIGUSR1");
  await process.says(/got USR1/);
  Deno.kill(pid, "SIGHUP");
  assertEquals((await process.output).status, 5);
});

test("what the main process leaves running ends with it", async () => {
  const { process, pid } = await Launched.start([], [
    "sh",
    "-c",
    `setsid sleep 3000 & echo started; read line`,
  ], { stdin: "open" });
  await process.says(/started/);
  const [main] = children(pid);
  while (commandLine(children(main)[0]).join(" ") !== "sleep 3000") await pause(5);
  await process.write("\n");
  await process.output;
});

test("a graceful stop is the stop signal first", async () => {
  const script = `trap 'echo got INT; exit 3' INT; echo ready; while :; do sleep 0.01; done`;
  const options = ["--stop-signal", "2", "--stop-ms", "10000"];
  const { process, pid } = await Launched.start(options, ["sh", "-c", script]);
  await process.says(/ready/);
  Deno.kill(pid, "SIGPWR");
  assertEquals((await process.output).status, 3);
});

test("a graceful stop is a kill when its time is over", async () => {
  const script = `trap '' TERM; echo ready; while :; do sleep 0.01; done`;
  const { process, pid } = await Launched.start(["--stop-ms", "200"], ["sh", "-c", script]);
  await process.says(/ready/);
  const before = performance.now();
  Deno.kill(pid, "SIGPWR");
  assertEquals((await process.output).status, 137);
  assert(performance.now() - before >= 190);
});

test("PID 1 reaps orphans, however many", async () => {
  const orphans = count(2_000, 100_000);
  const program = `
import os
for _ in range(${orphans}):
  if os.fork() == 0:
    os.fork()
    os._exit(0)
  os.wait()
print("done", flush=True)
input()
`;
  const { process, pid } = await Launched.start([], ["python3", "-c", program], {
    stdin: "open",
    limitMs: 300_000,
  });
  await process.says(/done/);
  await pause(100);
  assertEquals(children(pid).length, 1);
  await process.write("\n");
  assertEquals((await process.output).status, 0);
});

test("PID 1 answers the text RPC, and confines what it starts like the main process", async ({ dir }) => {
  const options = ["--listen", `${dir}/socket`, "--confined"];
  const { process, pid } = await Launched.start(options, ["sleep", "2000"]);
  const client = new Stage3Client(`${dir}/socket`);
  await client.waitForSocket();
  await client.start({ ...sleep, name: "one", env: { K: "V" } });
  assertEquals(await client.status(), new Map([["one", "running"]]));
  const [main, one] = children(pid);
  assertEquals(commandLine(main), ["sleep", "2000"]);
  assertEquals(commandLine(one), ["sleep", "1000"]);
  await assertOpen(one, { 0: "/dev/null", 1: "/dev/null", 2: "/dev/null" });
  for (const field of ["NoNewPrivs", "CapEff", "CapBnd", "CapInh", "Seccomp", "Groups"]) {
    assertEquals(statusField(one, field), statusField(main, field), field);
  }
  assertEquals(statusField(one, "NoNewPrivs"), "1");
  Deno.kill(one, "SIGTERM");
  await client.wait();
  assertEquals(await client.status(), new Map([["one", "signaled(15)"]]));
  Deno.kill(main, "SIGKILL");
  assertEquals((await process.output).status, 137);
});

test("after EXEC, the log and the text RPC go on in a child of the new PID 1", async ({ dir }) => {
  const options = ["--listen", `${dir}/socket`, "--log", dir, "--confined"];
  const script = `while read line; do echo "got $line"; done`;
  const { process, pid } = await Launched.start(options, ["sh", "-c", script], { stdin: "open" });
  const client = new Stage3Client(`${dir}/socket`);
  await client.waitForSocket();
  await process.write("one\n");
  await client.exec({ command: ["sleep", "4000"], stdout: "/dev/null", stderr: "/dev/null" });
  assertEquals(commandLine(pid), ["sleep", "4000"]);
  assertEquals(statusField(pid, "NoNewPrivs"), "1");
  await assertOpen(pid, { 0: "/dev/null", 1: "/dev/null", 2: "/dev/null" });
  await process.write("two\n");
  const log = () => Deno.readTextFileSync(`${dir}/log`).replaceAll(/^\S+ /gm, "");
  while (!log().includes("two")) await pause(10);
  assertEquals(log(), "stdout F got one\nstdout F got two\n");
  assertEquals(await client.status(), new Map());
  process.signal("SIGKILL");
  await process.output;
});

test("nothing in the container sees what PID 1 has open, or with what it was started", async ({ dir }) => {
  const options = ["--listen", `${dir}/socket`, "--log", dir, "--confined"];
  const script =
    `for what in fd/3 exe cwd root; do readlink /proc/1/$what && echo "leaked $what"; done
     cat /proc/1/environ && echo leaked environ
     exit 0`;
  assertEquals((await launch(options, ["sh", "-c", script])).status, 0);
  const log = await Deno.readTextFile(`${dir}/log`);
  assertEquals(log.match(/leaked.*/g), null);
  assertMatch(log, /Permission denied/);
});

test("without the text RPC, PID 1 keeps no capability but to send signals", async () => {
  const { process, pid } = await Launched.start([], ["sleep", "2000"]);
  while (children(pid).length === 0 || commandLine(children(pid)[0])[0] !== "sleep") await pause(5);
  await pause(20);
  for (const set of ["CapEff", "CapPrm"]) assertEquals(statusField(pid, set), "0000000000000020");
  Deno.kill(pid, "SIGTERM");
  assertEquals((await process.output).status, 143);
});

/** Runs the init with one end of a socket pair, and talks over the other. */
const chainScript = `
import os, socket, subprocess, sys
mine, theirs = socket.socketpair()
init = subprocess.Popen(sys.argv[1:3] + ["--stage1", str(theirs.fileno())] + sys.argv[3:], pass_fds=[theirs.fileno()])
theirs.close()
talk = mine.makefile("rw")
print(talk.readline(), end="")
talk.write("10.0.0.2\\n")
talk.flush()
print(talk.read(), end="", flush=True)
sys.exit(init.wait())
`;

test("the main process talks to stage1, then hands its socket to the next program", async () => {
  const second =
    `echo "second link, pid $$, got $ADDRESS" >&$KURMA_STAGE1_FD; ls /proc/self/fd >&3`;
  const first =
    `echo "first link, pid $$" >&$KURMA_STAGE1_FD; read ADDRESS <&$KURMA_STAGE1_FD; export ADDRESS; exec sh -c '${second}'`;
  const said = await mustRun([
    ...["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
    ...["python3", "-c", chainScript, `${root}/build/tools/launcher`],
    ...[`${root}/build/native/kurma-stage3`, "--", "sh", "-c", first],
  ]);
  assertMatch(said, /^first link, pid (\d+)\nsecond link, pid \1, got 10\.0\.0\.2\n/);
});

test("PID 1 at rest takes at most 150 KiB, also after a burst of output", async ({ dir }) => {
  const options = ["--listen", `${dir}/socket`, "--log", dir];
  const script = `seq 1 500000; exec sleep 2000`;
  const { process, pid } = await Launched.start(options, ["sh", "-c", script]);
  const client = new Stage3Client(`${dir}/socket`);
  await client.waitForSocket();
  await client.start(sleep);
  while (!children(pid).some((child) => commandLine(child)[1] === "2000")) await pause(20);
  await pause(2_500);
  const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
  const pss = Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1]);
  console.log(`init with log and text RPC at rest: ${pss} KiB PSS`);
  process.signal("SIGKILL");
  await process.output;
  assert(pss <= 150, `${pss} KiB PSS`);
});
