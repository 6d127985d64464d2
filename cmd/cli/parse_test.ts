import { assert, assertEquals, rejection } from "../../tests/assert.ts";
import { duration } from "./amounts.ts";
import { command } from "./command.ts";
import { boolean, choice, list, setting, string } from "./flags.ts";
import { interpret, UsageError } from "./parse.ts";
import { split } from "./split.ts";

const run = command({
  summary: "Run it",
  args: ["image", "command*"],
  passthrough: true,
  flags: {
    env: list("Variables", { short: "e", placeholder: "NAME=VALUE" }),
    interactive: boolean("Input", { short: "i" }),
    tty: boolean("Terminal", { short: "t" }),
    name: string("Name"),
    root: setting("Folder", { variable: "ROOT", fallback: "/var" }),
  },
  examples: [],
  run: () => "",
});

const stop = command({
  summary: "Stop them",
  args: ["container+"],
  flags: {
    timeout: duration("Patience", { defaultMs: 10_000 }),
    output: choice("Form", ["table", "json"]),
  },
  examples: [],
  run: () => "",
});

function understood(path: string, entry: typeof run, words: string[], env = {}) {
  return interpret(path, entry, split(path, entry.flags, words, entry.passthrough), env);
}

Deno.test("what follows the image belongs to the command in it", () => {
  const { args, flags } = understood("kurma run", run, [
    ...["-it", "-eA=1", "--env", "B=2", "--env=C=", "busybox"],
    ...["ls", "-l", "--env", "D=4", "--", "-it"],
  ]);
  assertEquals(args, { image: "busybox", command: ["ls", "-l", "--env", "D=4", "--", "-it"] });
  assertEquals(flags.env, ["A=1", "B=2", "C="]);
  assertEquals([flags.interactive, flags.tty], [true, true]);
});

Deno.test("two hyphens end the flags", () => {
  const { args } = understood("kurma run", run, ["--tty", "--", "-image", "-x"]);
  assertEquals(args, { image: "-image", command: ["-x"] });
});

Deno.test("one hyphen is enough where the first Kurma took one, but not in others' commands", () => {
  const flags = { host: string("Where"), version: boolean("Version") };
  const { occurrences } = split("kurma", flags, ["-host", "a", "-version", "list"], true);
  assertEquals([...occurrences], [["host", ["a"]], ["version", ["true"]]]);
  assertEquals(split("kurma", flags, ["-host=b"]).occurrences.get("host"), ["b"]);
  const { args } = understood("kurma run", run, ["busybox", "ping", "-host", "-vv"]);
  assertEquals(args, { image: "busybox", command: ["ping", "-host", "-vv"] });
  assertEquals(split("kurma", flags, ["--", "-host"]).positionals, ["-host"]);
});

Deno.test("flags stand before, between and after the arguments of a command of ours", () => {
  const { args, flags } = understood("kurma stop", stop, [
    "a",
    "--timeout",
    "1s",
    "-",
    "--output=json",
  ]);
  assertEquals(args, { container: ["a", "-"] });
  assertEquals(flags, { timeout: 1000, output: "json" });
});

Deno.test("an environment variable stands in for a flag, an empty one does not", () => {
  const words = ["img"];
  assertEquals(understood("kurma run", run, words, { ROOT: "/x" }).flags.root, "/x");
  assertEquals(understood("kurma run", run, words, { ROOT: "" }).flags.root, "/var");
  assertEquals(understood("kurma run", run, ["--root=/y", "i"], { ROOT: "/x" }).flags.root, "/y");
});

const refused: [entry: typeof run, words: string[], message: string, fix: string][] = [
  [run, ["--nmae", "x"], "Unknown flag --nmae", "Did you mean --name?"],
  [run, ["-x", "img"], "Unknown flag -x", "See kurma run --help"],
  [run, ["-itx", "img"], "Unknown flag -x", "See kurma run --help"],
  [run, ["--__proto__", "i"], "Unknown flag --__proto__", "See kurma run --help"],
  [run, ["--name"], "--name needs a value", "kurma run --name TEXT"],
  [
    run,
    ["--name", "--tty", "img"],
    '--name needs a value, but "--tty" follows',
    "If that is the value, write --name=--tty",
  ],
  [
    run,
    ["-e", "-t", "img"],
    '-e needs a value, but "-t" follows',
    "If that is the value, write -e-t",
  ],
  [
    run,
    ["--tty=maybe", "i"],
    'Cannot use "maybe" for --tty',
    "It takes true or false; see kurma run --help",
  ],
  [run, [], "run needs an IMAGE", "Usage: kurma run [FLAG...] IMAGE [COMMAND...]"],
  [stop, [], "stop needs a CONTAINER", "Usage: kurma stop [FLAG...] CONTAINER..."],
  [
    stop,
    ["a", "--output", "xml"],
    'Cannot use "xml" for --output',
    "It takes one of table, json; see kurma stop --help",
  ],
];
for (const [entry, words, message, fix] of refused) {
  const path = entry === run ? "kurma run" : "kurma stop";
  Deno.test(`${[path, ...words].join(" ")}: ${message}`, async () => {
    const error = await rejection(() => understood(path, entry, words));
    assert.ok(error instanceof UsageError);
    assertEquals([error.message, error.fix, error.code], [message, fix, "invalid"]);
  });
}

Deno.test("a value from the environment that cannot be used is blamed on its variable", async () => {
  const entry = command({
    ...stop,
    args: [],
    flags: { wait: { ...duration("Patience", { defaultMs: 0 }), variable: "PATIENCE" } },
    run: () => "",
  });
  const error = await rejection(() => understood("kurma stop", entry, [], { PATIENCE: "long" }));
  assertEquals(error.message, 'Cannot use "long" for PATIENCE');
});

Deno.test("an argument that nobody asked for is refused", async () => {
  const entry = command({ ...stop, args: ["container?"], run: () => "" });
  assertEquals(understood("kurma stop", entry, []).args, { container: undefined });
  const error = await rejection(() => understood("kurma stop", entry, ["a", "b"]));
  assertEquals(error.message, 'stop has no use for "b"');
});

Deno.test("split() answers or refuses any words, and never fails otherwise", () => {
  const parts = ["-", "--", "-e", "-it", "--env", "=", "x", "--name=", "-=", "--=", "é", "\0", ""];
  let seed = 1;
  const next = () => (seed = seed * 48271 % 2147483647);
  for (let round = 0; round < 5000; round++) {
    const words = Array.from({ length: next() % 5 }, () => {
      return Array.from({ length: next() % 3 + 1 }, () => parts[next() % parts.length]).join("");
    });
    try {
      split("kurma run", run.flags, words, round % 2 === 0);
    } catch (error) {
      assert.ok(error instanceof UsageError, `${JSON.stringify(words)}: ${error}`);
    }
  }
});
