/** What the compiled binary is, by the name it is called, and what it says to bad calls. */

import { assertEquals, assertMatch } from "../assert.ts";
import { binary, run, type Scratch, test } from "../harness.ts";

/** A test with a folder in which the binary has all its names. */
function installedTest(name: string, body: (scratch: Scratch) => Promise<void>): void {
  test(name, async (scratch) => {
    const { status, stderr } = await scratch.kurma(["install", "--symlinks", scratch.dir]);
    assertEquals([status, stderr], [0, ""]);
    await body(scratch);
  });
}

installedTest("kurma install makes links, which answer by their names", async ({ dir, kurma }) => {
  const names = [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  assertEquals(names, ["kurma", "kurma-api", "kurma-cli", "kurma-init", "kurmad"]);
  const { stdout } = await kurma(["--version"]);
  for (const name of names) {
    assertEquals(await run([`${dir}/${name}`, "--version"]), { status: 0, stdout, stderr: "" });
  }
  const says = async (name: string) => (await run([`${dir}/${name}`, "--help"])).stdout;
  assertMatch(await says("kurma-cli"), /^Kurma: a container host/);
  assertMatch(await says("kurmad"), /^The daemon: /);
  assertMatch(await says("kurma-api"), /^The broker /);
  assertMatch(await says("kurma-init"), /^Boots a machine/);
  const again = await kurma(["install", "--symlinks", dir]);
  assertEquals([again.status, again.stdout.match(/is there already/g)?.length], [0, 5]);
});

installedTest("kurma install refuses to replace a file, changing nothing", async (scratch) => {
  const { dir, kurma } = scratch;
  Deno.removeSync(`${dir}/kurmad`);
  Deno.removeSync(`${dir}/kurma-api`);
  Deno.writeTextFileSync(`${dir}/kurmad`, "mine");
  assertEquals(await kurma(["install", "--symlinks", dir]), {
    status: 4,
    stdout: "",
    stderr: `kurma: Cannot link "${dir}/kurmad": not a link to this program. ` +
      "Remove what is there, or choose another folder\n",
  });
  assertEquals(Deno.readTextFileSync(`${dir}/kurmad`), "mine");
  assertEquals([...Deno.readDirSync(dir)].some(({ name }) => name === "kurma-api"), false);
});

installedTest("a word after kurma means the same as the name", async ({ dir, kurma }) => {
  for (const [word, name] of [["daemon", "kurmad"], ["api", "kurma-api"], ["init", "kurma-init"]]) {
    for (const args of [["--help"], ["--nowhere"]]) {
      assertEquals(await kurma([word, ...args]), await run([`${dir}/${name}`, ...args]));
    }
  }
});

installedTest("a name that is none of Kurma's exits 2 and suggests one", async ({ dir }) => {
  Deno.symlinkSync(binary, `${dir}/kurmadd`);
  assertEquals(await run([`${dir}/kurmadd`, "--version"]), {
    status: 2,
    stdout: "",
    stderr: 'kurma: No part of Kurma is called "kurmadd". Did you mean kurmad?\n',
  });
  Deno.symlinkSync(binary, `${dir}/\x1b[2Jbusybox`);
  assertMatch(
    (await run([`${dir}/\x1b[2Jbusybox`])).stderr,
    /^kurma: No part of Kurma is called "\\x1b\[2Jbusybox"\. Call it by one of its names: /,
  );
});

test("kurma --version gives one part a line", async ({ kurma }) => {
  const { status, stdout, stderr } = await kurma(["--version"]);
  assertEquals([status, stderr], [0, ""]);
  const parts = stdout.trimEnd().split("\n").map((line) => line.split(" "));
  assertEquals(parts.map(([name]) => name), ["kurma", "commit", "deno", "zig", "kernel"]);
  assertEquals([parts[2][1], parts[4][1]], [Deno.version.deno, Deno.osRelease()]);
  assertEquals((await kurma(["version"])).stdout, stdout);
  const json = await kurma(["version", "-o", "json"]);
  assertEquals(JSON.parse(json.stdout), Object.fromEntries(parts));
  const yaml = await kurma(["version", "--output=yaml"]);
  assertMatch(yaml.stdout, /^kurma: .*\ncommit: .*\ndeno: /);
});

const mistakes: [args: string[], status: number, stderr: string][] = [
  [["versoin"], 2, 'kurma: Unknown command "versoin". Did you mean kurma version?\n'],
  [["xyzzy"], 2, 'kurma: Unknown command "xyzzy". See kurma --help\n'],
  [["\x1b]0;x\x07"], 2, 'kurma: Unknown command "\\x1b]0;x\\x07". See kurma --help\n'],
  [["--rot", "/x", "version"], 2, "kurma: Unknown flag --rot. Did you mean --root?\n"],
  [["install", "--symlink=x"], 2, "kurma: Unknown flag --symlink. Did you mean --symlinks?\n"],
  [
    ["install", "--symlinks"],
    2,
    "kurma: --symlinks needs a value. kurma install --symlinks DIR\n",
  ],
  [["version", "7"], 2, 'kurma: version has no use for "7". Usage: kurma version [FLAG...]\n'],
];
for (const [args, status, stderr] of mistakes) {
  test(`kurma ${JSON.stringify(args)} exits ${status} with cause and fix`, async ({ kurma }) => {
    assertEquals(await kurma(args), { status, stdout: "", stderr });
  });
}

test("kurma alone shows its help as an error, kurma --help as an answer", async ({ kurma }) => {
  const help = await kurma(["--help"]);
  assertEquals([help.status, help.stderr], [0, ""]);
  assertEquals(await kurma([]), { status: 2, stdout: "", stderr: help.stdout });
});

test("kurma is quiet when nobody reads what it says", async () => {
  const script = '{ sleep 0.2; "$0" --help; echo $? >&2; } | true';
  assertEquals(await run(["/bin/sh", "-c", script, binary]), {
    status: 0,
    stdout: "",
    stderr: "141\n",
  });
});

test("kurma install writes manual pages that groff has nothing to say about", async (scratch) => {
  const { dir, kurma } = scratch;
  const { status, stdout } = await kurma(["install", "--man", dir]);
  assertEquals(status, 0);
  const pages = stdout.trimEnd().split("\n");
  assertEquals(pages.includes(`${dir}/man1/kurma-install.1`), true);
  for (const page of pages) {
    const checked = await run(["groff", "-man", "-ww", "-z", "-Tutf8", page]);
    assertEquals(checked, { status: 0, stdout: "", stderr: "" });
  }
});
