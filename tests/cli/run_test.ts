/** What the flags of `kurma run` do inside the container, and its mistakes. */

import { assertEquals, assertMatch } from "../assert.ts";
import { test } from "../harness.ts";
import { images } from "../images_fixture.ts";

const { aci } = await images();

const flags: [flags: string[], script: string, stdout: string][] = [
  [["-e", "A=1", "--env=B=x=y", "-e", "A=2"], 'echo "$A $B $FROM_IMAGE"', "2 x=y yes\n"],
  [["-e", "MINE", "-e", "NOT_MINE"], 'echo "$MINE ${NOT_MINE-unset}"', "from outside unset\n"],
  [["--workdir", "/tmp"], "pwd", "/tmp\n"],
  [["-u", "1000:2000"], "id -u; id -g", "1000\n2000\n"],
  [["--user=app"], "id -un", "app\n"],
  [["--hostname", "box.example"], "hostname", "box.example\n"],
  [["--read-only"], "touch /x 2>/dev/null || echo refused", "refused\n"],
  [["--rm", "-i", "--name", "cli-test"], "cat", "typed\n"],
];
for (const [given, script, stdout] of flags) {
  test(`kurma run ${given.join(" ")}`, async ({ kurma }) => {
    const env = { MINE: "from outside" };
    const args = ["run", ...given, aci, "/bin/sh", "-c", script];
    assertEquals(await kurma(args, { env, stdin: "typed\n" }), { status: 0, stdout, stderr: "" });
  });
}

test("kurma run --env-file sets what the file says", async ({ dir, kurma }) => {
  await Deno.writeTextFile(`${dir}/env`, "# ours\nA=one two\nB=2\n");
  const script = 'echo "$A,$B"';
  const args = ["run", "--env-file", `${dir}/env`, "-e", "B=3", aci, "/bin/sh", "-c", script];
  assertEquals(await kurma(args), { status: 0, stdout: "one two,3\n", stderr: "" });
});

test("kurma takes a state folder relative to where it is called", async ({ dir, kurma }) => {
  const args = ["--root", "state", "run", "hello"];
  assertEquals((await kurma(args, { cwd: dir })).status, 0);
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["state"]);
});

test("kurma run --entrypoint takes the place of the image's", async ({ kurma }) => {
  const entrypoint = '["/bin/echo", "said"]';
  const { stdout } = await kurma(["run", "--entrypoint", entrypoint, aci, "--name", "x"]);
  assertEquals(stdout, "said --name x\n");
});

const cannotRun: [program: string, status: number, stderr: string][] = [
  [
    "/no/\x1b[2Jsuch",
    127,
    'kurma: Cannot exec "/no/\\x1b[2Jsuch": ENOENT. Look for it in the image; ',
  ],
  [
    "/etc/passwd",
    126,
    'kurma: Cannot exec "/etc/passwd": EACCES. It has to be an executable file',
  ],
];
for (const [program, status, beginning] of cannotRun) {
  test(`kurma run exits ${status} for ${JSON.stringify(program)}`, async ({ kurma }) => {
    const output = await kurma(["run", aci, program]);
    assertEquals([output.status, output.stdout], [status, ""]);
    assertEquals(output.stderr.slice(0, beginning.length), beginning);
    assertEquals(output.stderr.split("\n").length, 2);
  });
}

const mistakes: [args: string[], stderr: RegExp][] = [
  [["--nmae", "x", aci], /^kurma: Unknown flag --nmae\. Did you mean --name\?\n$/],
  [
    ["-d", aci],
    /^kurma: Cannot use --detach: it needs the daemon\. Start it with kurma daemon.*\n$/,
  ],
  [["-m", "64m", aci], /^kurma: Cannot use --memory: it needs the daemon\. Start it .*\n$/],
  [["-p", "80:80", aci], /^kurma: Unknown flag -p\. No port is forwarded in this version; .*\n$/],
  [["--pull", "never", "nowhere"], /^kurma: Cannot find image "nowhere": .*\n$/],
  [["--detach-keys", "shift-a", aci], /^kurma: Cannot use "shift-a" for --detach-keys\. .*\n$/],
  [
    [],
    /^kurma: run needs an IMAGE\. Usage: kurma run \[FLAG\.\.\.\] IMAGE \[COMMAND\.\.\.\]\n$/,
  ],
  [["-e", "=x", aci], /^kurma: Cannot set "=x" from --env: no name of a variable\. Write NAME/],
  [
    ["--env-file", "/no", aci],
    /^kurma: Cannot read "\/no" for --env-file.*\. Check the path\n$/,
  ],
  [["--name", "../up", aci], /^kurma: .*"\.\.\/up".*\. \S.*\n$/],
  [["./nothing.aci"], /^kurma: .*nothing\.aci.*\. \S.*\n$/],
];
for (const [args, stderr] of mistakes) {
  test(`kurma run ${args.join(" ")} exits 125 with cause and fix`, async ({ kurma }) => {
    const output = await kurma(["run", ...args]);
    assertEquals([output.status, output.stdout], [125, ""]);
    assertMatch(output.stderr, stderr);
  });
}
