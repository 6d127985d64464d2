import { assertEquals } from "../../tests/assert.ts";
import { command, type Entry } from "./command.ts";
import { complete, type Completion } from "./complete.ts";
import { boolean, choice, list, setting } from "./flags.ts";

const run = command({
  summary: "Run it",
  args: ["image", "command*"],
  passthrough: true,
  flags: {
    env: list("Variables", { short: "e", placeholder: "NAME=VALUE" }),
    "env-file": list("Files of them", { placeholder: "FILE" }),
    tty: boolean("Terminal", { short: "t" }),
    output: choice("Form", ["table", "json"]),
  },
  examples: [],
  run: () => "",
});
const say = command({
  summary: "Say it",
  args: ["tone", "dir?"],
  choices: { tone: ["loud", "low"] },
  flags: {},
  examples: [],
  run: () => "",
});
const secret = command({ ...say, hidden: true, choices: {}, run: () => "" });
const top: Entry = {
  summary: "All",
  commands: { run, sub: { summary: "More", commands: { say, secret }, examples: [] }, secret },
  examples: [],
};
const common = {
  root: setting("State", { placeholder: "DIR", variable: "ROOT", fallback: "/var" }),
};
const surface = { top, common, roles: [["daemon", "The daemon"]] as const };

/** The words of a completion, or what the shell adds where there are none. */
function brief({ words, paths }: Completion): string {
  return words.map(([word]) => word).join(" ") || paths;
}

const expected: [words: string[], offered: string][] = [
  [[""], "run sub daemon"],
  [["r"], "run"],
  [["x"], "none"],
  [["-"], "--root"],
  [["--root", ""], "folders"],
  [["--root", "/x", ""], "run sub daemon"],
  [["sub", ""], "say"],
  [["sub", "d"], "none"],
  [["nonsense", ""], "none"],
  [["sub", "say", ""], "loud low"],
  [["sub", "say", "lou"], "loud"],
  [["sub", "say", "loud", ""], "folders"],
  [["sub", "say", "loud", "/tmp", ""], "none"],
  [["run", "--"], "--root --env --env-file --tty --output"],
  [["run", "--env"], "--env --env-file"],
  [["run", "--output", ""], "table json"],
  [["run", "--output", "j"], "json"],
  [["run", "--output="], "--output=table --output=json"],
  [["run", "--env-file="], "files"],
  [["run", "--nonsense="], "none"],
  [["run", "-te", ""], "none"],
  [["run", "-t", ""], "files"],
  [["run", "--unknown", ""], "files"],
  [["run", "busybox", "--"], "files"],
  [["run", "busybox", "--output", ""], "files"],
];
for (const [words, offered] of expected) {
  Deno.test(`after kurma ${words.join(" ")}| comes ${offered}`, () => {
    assertEquals(brief(complete(surface, words)), offered);
  });
}
