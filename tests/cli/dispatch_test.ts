/** What the compiled binary is, by the name it is called, and what it answers to bad calls. */

import { assertEquals, assertMatch } from "../assert.ts";

const binary = new URL("../../dist/kurma", import.meta.url).pathname;

interface Outcome {
  status: number;
  out: string;
  err: string;
}

/** Runs `program`, a path, with `args`; the environment is empty but for `env`. */
async function run(program: string, args: string[], env = {}): Promise<Outcome> {
  const { code, stdout, stderr } = await new Deno.Command(program, { args, env, clearEnv: true })
    .output();
  const text = new TextDecoder();
  return { status: code, out: text.decode(stdout), err: text.decode(stderr) };
}

/** Runs `body` with a folder in which the binary has all its names. */
async function installed(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const { status, err } = await run(binary, ["install", "--symlinks", folder]);
    assertEquals([status, err], [0, ""]);
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("kurma install makes links, each of which answers under its name", () =>
  installed(async (folder) => {
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
    assertEquals(names, ["kurma", "kurma-api", "kurma-cli", "kurma-init", "kurmad"]);
    for (const name of names) {
      const { status, out, err } = await run(`${folder}/${name}`, ["--version"]);
      assertEquals([status, err], [0, ""]);
      assertMatch(out, /^kurma \d/);
    }
    assertMatch((await run(`${folder}/kurma-cli`, ["--help"])).out, /^Kurma: a container host/);
    assertMatch((await run(`${folder}/kurmad`, ["--help"])).out, /^The daemon: /);
    assertMatch((await run(`${folder}/kurma-api`, ["-h"])).out, /^The broker /);
    assertMatch((await run(`${folder}/kurma-init`, ["--help"])).out, /^Boots a machine/);
    const again = await run(binary, ["install", "--symlinks", folder]);
    assertEquals([again.status, again.out.match(/is there already/g)?.length], [0, 5]);
  }));

Deno.test("kurma install refuses to replace a file and changes nothing", () =>
  installed(async (folder) => {
    Deno.removeSync(`${folder}/kurmad`);
    Deno.removeSync(`${folder}/kurma-api`);
    Deno.writeTextFileSync(`${folder}/kurmad`, "mine");
    assertEquals(await run(binary, ["install", "--symlinks", folder]), {
      status: 4,
      out: "",
      err: `kurma: Cannot link "${folder}/kurmad": not a link to this program\n` +
        "  Remove what is there, or choose another folder\n",
    });
    assertEquals(Deno.readTextFileSync(`${folder}/kurmad`), "mine");
    assertEquals([...Deno.readDirSync(folder)].some(({ name }) => name === "kurma-api"), false);
  }));

Deno.test("a word after kurma means the same as the name", () =>
  installed(async (folder) => {
    for (
      const [word, name] of [["daemon", "kurmad"], ["api", "kurma-api"], ["init", "kurma-init"]]
    ) {
      for (const args of [["--help"], []]) {
        assertEquals(await run(binary, [word, ...args]), await run(`${folder}/${name}`, args));
      }
    }
  }));

Deno.test("a name that is none of Kurma's exits 2 and names the one that was meant", () =>
  installed(async (folder) => {
    Deno.symlinkSync(binary, `${folder}/kurmadd`);
    assertEquals(await run(`${folder}/kurmadd`, ["--version"]), {
      status: 2,
      out: "",
      err: 'kurma: No part of Kurma is called "kurmadd"\n  Did you mean kurmad?\n',
    });
    Deno.symlinkSync(binary, `${folder}/\x1b[2Jbusybox`);
    assertMatch(
      (await run(`${folder}/\x1b[2Jbusybox`, [])).err,
      /^kurma: No part of Kurma is called "\\x1b\[2Jbusybox"\n {2}Call it by one of its names: kurma, /,
    );
  }));

Deno.test("kurma --version gives one part a line", async () => {
  const { status, out, err } = await run(binary, ["--version"]);
  assertEquals([status, err], [0, ""]);
  const parts = new Map(
    out.trimEnd().split("\n").map((line) => line.split(" ", 2) as [string, string]),
  );
  assertEquals([...parts.keys()], ["kurma", "commit", "deno", "zig", "kernel"]);
  assertEquals(parts.get("deno"), Deno.version.deno);
  assertEquals(parts.get("kernel"), Deno.osRelease());
  assertEquals((await run(binary, ["version"])).out, out);
});

const mistakes: [args: string[], status: number, err: string][] = [
  [["versoin"], 2, 'kurma: Unknown command "versoin"\n  Did you mean kurma version?\n'],
  [["xyzzy"], 2, 'kurma: Unknown command "xyzzy"\n  See kurma --help\n'],
  [["\x1b]0;x\x07"], 2, 'kurma: Unknown command "\\x1b]0;x\\x07"\n  See kurma --help\n'],
  [["--rot", "/x", "version"], 2, "kurma: Unknown flag --rot\n  Did you mean --root?\n"],
  [["install", "--symlink=x"], 2, "kurma: Unknown flag --symlink\n  Did you mean --symlinks?\n"],
  [
    ["install", "--symlinks"],
    2,
    "kurma: --symlinks needs a value\n  kurma install --symlinks DIR\n",
  ],
  [["version", "7"], 2, 'kurma: version has no use for "7"\n  Usage: kurma version\n'],
];
for (const [args, status, err] of mistakes) {
  Deno.test(`kurma ${JSON.stringify(args)} exits ${status} with cause and fix`, async () => {
    assertEquals(await run(binary, args), { status, out: "", err });
  });
}

Deno.test("kurma alone shows its help as an error, kurma --help as an answer", async () => {
  const help = await run(binary, ["--help"]);
  assertEquals([help.status, help.err], [0, ""]);
  assertEquals(await run(binary, []), { status: 2, out: "", err: help.out });
});

Deno.test("kurma is quiet when nobody reads what it says", async () => {
  const script = '{ sleep 0.2; "$0" --help; echo $? >&2; } | true';
  assertEquals(await run("/bin/sh", ["-c", script, binary], { PATH: "/bin:/usr/bin" }), {
    status: 0,
    out: "",
    err: "141\n",
  });
});
