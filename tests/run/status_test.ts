/**
 * The exit status, the streams and the signals of `kurma run` are the command's.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, run, Running, test } from "../harness.ts";
import { images } from "../images_fixture.ts";

for (const status of [0, 1, 7, 255]) {
  test(`kurma run exits ${status} when the command does`, async ({ kurma }) => {
    const ran = await kurma(["run", (await images()).oci, "/bin/sh", "-c", `exit ${status}`]);
    assertEquals(ran, { status, stdout: "", stderr: "" });
  });
}

for (const signal of [1, 2, 6, 9, 11, 15]) {
  test(`kurma run exits 128 + ${signal} when signal ${signal} ends the command`, async ({ kurma }) => {
    const { guest } = await images();
    assertEquals(
      (await kurma(["run", guest, "/guest", "signal", `${signal}`])).status,
      128 + signal,
    );
  });
}

test("kurma run exits 126 for a file that may not be executed", async ({ kurma }) => {
  const { status, stderr } = await kurma(["run", (await images()).oci, "/etc/marker"]);
  assertEquals(status, 126);
  assertMatch(stderr, /^kurma: [^\n]*"\/etc\/marker"[^\n]*EACCES/);
});

test("kurma run exits 127 for a command that does not exist", async ({ kurma }) => {
  for (const command of ["/nowhere/at-all", "not-on-the-path"]) {
    const { status, stderr } = await kurma(["run", (await images()).oci, command]);
    assertEquals(status, 127);
    assertMatch(stderr, new RegExp(`^kurma: [^\\n]*"${command}"[^\\n]*ENOENT`));
  }
});

test("kurma run passes stdin on, and its end", async ({ kurma }) => {
  const { oci } = await images();
  assertEquals((await kurma(["run", oci, "cat"], { stdin: "hi\n" })).stdout, "hi\n");
  assertEquals((await kurma(["run", oci, "wc", "-c"])).stdout, "0\n");
});

test("kurma run passes a megabyte through unchanged", async ({ kurma }) => {
  const text = "0123456789abcde\n".repeat(65_536);
  const { stdout } = await kurma(["run", (await images()).guest, "/guest", "echo"], {
    stdin: text,
  });
  assert(stdout === text, `${stdout.length} of ${text.length} characters came back`);
});

test("kurma run keeps stdout and stderr apart", async ({ kurma }) => {
  const ran = await kurma(["run", (await images()).oci, "sh", "-c", "echo out; echo err >&2"]);
  assertEquals(ran, { status: 0, stdout: "out\n", stderr: "err\n" });
});

test("kurma run ends when nobody reads its output any more", async () => {
  const { guest } = await images();
  const script = `"$0" run ${guest} /guest write-lines 10000000 | head -n 1`;
  const { stdout } = await run(["sh", "-c", script, binary]);
  assertEquals(stdout, "line 1\n");
});

for (
  const [name, number] of [["SIGINT", 2], ["SIGTERM", 15], ["SIGHUP", 1], ["SIGUSR1", 10]] as const
) {
  test(`${name} to kurma run reaches the command`, async ({ start }) => {
    const running = start(["run", (await images()).guest, "/guest", "catch"]);
    await running.says(/^ready$/m);
    running.signal(name);
    assertEquals(await running.output, {
      status: 0,
      stdout: `ready\nsignal ${number}\n`,
      stderr: "",
    });
  });
}

test("SIGTERM ends a command that does not handle it", async ({ start }) => {
  const running = start(["run", (await images()).oci, "sh", "-c", "echo ready; exec sleep 1000"]);
  await running.says(/^ready$/m);
  running.signal("SIGTERM");
  assertEquals((await running.output).status, 128 + 15);
});

/** Kurma on a terminal of its own, after `before`; script(1) is the one who types. */
const onTerminal = (before: string, ...args: string[]) => [
  ...["script", "--quiet", "--return", "--echo", "never", "--command"],
  ...[before + [binary, ...args].map((word) => `'${word}'`).join(" "), "/dev/null"],
];

test("kurma run -t gives a terminal of its size", async () => {
  const { oci } = await images();
  const command = onTerminal(
    "stty rows 31 cols 97;",
    "run",
    "-t",
    oci,
    "sh",
    "-c",
    "tty; stty size",
  );
  const { status, stdout } = await run(command, { stdin: "open" });
  assertEquals([status, stdout.replaceAll("\r", "")], [0, "/dev/pts/0\n31 97\n"]);
});

test("kurma run without -t gives no terminal", async ({ kurma }) => {
  const { status, stdout } = await kurma(["run", (await images()).guest, "/guest", "terminal"]);
  assertEquals([status, stdout], [1, "no terminal\n"]);
});

test("Ctrl-C typed on kurma run -t's terminal reaches the command", async () => {
  const { guest } = await images();
  const running = new Running(onTerminal("", "run", "-t", guest, "/guest", "catch"), {
    stdin: "open",
  });
  await running.says(/ready/);
  await running.write("\x03");
  const { status, stdout } = await running.output;
  assertEquals(status, 0, stdout);
  assertMatch(stdout, /signal 2\r?\n/);
});

test("Ctrl-C typed on a terminal reaches the command without -t", async () => {
  const { guest } = await images();
  const running = new Running(onTerminal("", "run", guest, "/guest", "catch"), { stdin: "open" });
  await running.says(/ready/);
  await running.write("\x03");
  assertMatch((await running.output).stdout, /signal 2\r?\n/);
});
