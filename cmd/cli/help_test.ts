import { assertEquals } from "../../tests/assert.ts";
import { duration } from "./amounts.ts";
import { command, usage } from "./command.ts";
import { boolean, choice, list, setting } from "./flags.ts";
import { commandHelp, groupHelp } from "./help.ts";

const stop = command({
  summary: "Stop containers and release what they hold",
  details: [
    "A container that does not end in time is killed. Stopping one that has ended is no error.",
  ],
  args: ["container+"],
  flags: {
    timeout: duration("From SIGTERM to SIGKILL", { short: "t", defaultMs: 90_000 }),
    output: choice("How to say it", ["table", "json", "yaml"]),
    signal: list("Sent first", { placeholder: "NAME" }),
  },
  examples: [
    ["kurma stop web", "Give it a minute and a half"],
    ["kurma stop --timeout 0 web db", "Kill both of them at once, without a word"],
  ],
  run: () => "",
});

const common = {
  root: setting("State folder", { placeholder: "DIR", variable: "ROOT", fallback: "/var" }),
  help: boolean("Show this help", { short: "h" }),
};

Deno.test("help at 60 columns", () => {
  assertEquals(
    commandHelp("kurma stop", stop, common, 60),
    `
Stop containers and release what they hold

Usage: kurma stop [FLAG...] CONTAINER...

A container that does not end in time is killed. Stopping
one that has ended is no error.

Flags:
  -t, --timeout TIME  From SIGTERM to SIGKILL (default 90s)
      --output WORD   How to say it (table, json, yaml;
                      default table)
      --signal NAME   Sent first (repeatable)

Flags of every command:
      --root DIR  State folder ($ROOT; default /var)
  -h, --help      Show this help

Examples:
  kurma stop web
      Give it a minute and a half
  kurma stop --timeout 0 web db
      Kill both of them at once, without a word`.slice(1),
  );
});

Deno.test("help at 80 columns", () => {
  assertEquals(
    commandHelp("kurma stop", stop, common, 80).split("\n").slice(4, 12).join("\n"),
    `
A container that does not end in time is killed. Stopping one that has ended is
no error.

Flags:
  -t, --timeout TIME  From SIGTERM to SIGKILL (default 90s)
      --output WORD   How to say it (table, json, yaml; default table)
      --signal NAME   Sent first (repeatable)
`.slice(1),
  );
});

Deno.test("help is not stretched over a wide terminal, nor squeezed into nothing", () => {
  const help = commandHelp("kurma stop", stop, common, 200);
  assertEquals(help, commandHelp("kurma stop", stop, common, 100));
  assertEquals(
    help.split("\n")[4],
    "A container that does not end in time is killed. Stopping one that has ended is no error.",
  );
  const narrow = commandHelp("kurma stop", stop, common, 1);
  assertEquals(narrow, commandHelp("kurma stop", stop, common, 40));
});

Deno.test("help about a group lists its commands and what else the program is", () => {
  const group = {
    summary: "All about containers",
    commands: { stop, none: { summary: "A group below it", commands: {}, examples: [] } },
    examples: [["kurma c stop web", "Stop it"]] as const,
  };
  assertEquals(
    groupHelp("kurma c", group, [["daemon", "The daemon"]], common, 80),
    `
All about containers

Usage: kurma c [FLAG...] COMMAND [ARGUMENT...]

Commands:
  stop  Stop containers and release what they hold
  none  A group below it

Other roles of this program:
  daemon  The daemon

Flags of every command:
      --root DIR  State folder ($ROOT; default /var)
  -h, --help      Show this help

Examples:
  kurma c stop web
      Stop it

More about one: kurma c COMMAND --help`.slice(1),
  );
});

Deno.test("a name that is too long for its column gets a line of its own", () => {
  const flags = { "a-flag-with-a-very-long-name": list("Much to say") };
  const help = commandHelp("kurma x", { ...stop, args: [], flags }, {}, 60);
  assertEquals(
    help.split("\n").slice(7, 10),
    ["Flags:", "      --a-flag-with-a-very-long-name TEXT", "    Much to say (repeatable)"],
  );
});

Deno.test("usage() shows how many of each argument there may be", () => {
  const args = ["image", "name?", "command*"];
  assertEquals(usage("kurma x", { args, flags: {} }), "Usage: kurma x IMAGE [NAME] [COMMAND...]");
});
