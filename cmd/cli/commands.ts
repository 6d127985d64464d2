/**
 * kurma-cli's whole surface. Parsing, help and tests read this table.
 *
 * @module
 */

import { personalities, roleHelp, roleOf } from "../personalities.ts";
import { version as versionParts } from "../version.ts";
import { api } from "./api.ts";
import { closest } from "./closest.ts";
import {
  command,
  type Commands,
  type Entry,
  entryCalled,
  type Group,
  isGroup,
  writtenOut,
} from "./command.ts";
import { boolean, setting, string } from "./flags.ts";
import { commandHelp, groupHelp } from "./help.ts";
import { completer, completion } from "./completion.ts";
import { contextGroup as context } from "./context_commands.ts";
import { cp } from "./cp.ts";
import { create } from "./create.ts";
import { dialStdio } from "./dial_stdio.ts";
import { attach, enter, exec } from "./exec.ts";
import { image } from "./image.ts";
import { installer } from "./install.ts";
import { kill, pause, rename, restart, resume, rm, start, stop, wait } from "./lifecycle.ts";
import { list, show } from "./list.ts";
import { events, logs } from "./logs.ts";
import { manPages } from "./man.ts";
import { pod } from "./pod.ts";
import { run } from "./run.ts";
import { UsageError } from "./parse.ts";
import { status, version } from "./status.ts";
import { prune, stats, top as processes, update } from "./usage.ts";
import { volume } from "./volume.ts";
import { elsewhere, shortcuts } from "./words.ts";

/** Flags that stand anywhere on the line: before the command or after it. */
export const common = {
  root: setting("Where images and containers are kept", {
    placeholder: "DIR",
    variable: "KURMA_ROOT",
    fallback: "/var/lib/kurma",
  }),
  config: setting("Where hosts.yaml, policy.yaml and trust are", {
    placeholder: "DIR",
    variable: "KURMA_CONFIG",
    fallback: "/etc/kurma",
  }),
  host: string("Where the daemon is: PATH of its socket, tcp://HOST, ssh://USER@HOST, or HOST", {
    short: "H",
    placeholder: "HOST",
    variable: "KURMA_HOST",
  }),
  context: string("The context that says so, with a certificate; see kurma context", {
    placeholder: "CONTEXT",
    variable: "KURMA_CONTEXT",
  }),
  "no-daemon": boolean("Do without the daemon what can be done without: run, image"),
  help: boolean("Show this help", { short: "h" }),
};

const help = command({
  summary: "Show help about a command",
  args: ["command*"],
  flags: {},
  examples: [
    ["kurma help", "All commands"],
    ["kurma help install", "One of them"],
  ],
  run: ({ columns }, { command }) => helpFor(command, columns),
});

/** What `kurma WORD` does, in the order of the help. */
const commands: Commands = {
  run,
  create,
  start,
  stop,
  restart,
  kill,
  rm,
  list,
  show,
  exec,
  enter,
  attach,
  logs,
  events,
  cp,
  top: processes,
  stats,
  update,
  wait,
  pause,
  resume,
  rename,
  prune,
  pod,
  image,
  volume,
  context,
  api,
  status,
  install: installer(() => manPages(top, common, versionParts().kurma)),
  completion,
  version,
  help,
  "dial-stdio": dialStdio,
  complete: completer(() => ({ top, common, roles })),
};

/** What `kurma` alone calls. */
export const top: Group = {
  summary: "Kurma: a container host in one file",
  commands,
  shortcuts,
  elsewhere,
  examples: [
    ["kurma run hello", "Look around inside a container"],
    ["kurma help run", "All that run can do"],
  ],
};

/** The roles that a word after `kurma` calls, and what they are; not those that are commands. */
const roles: (readonly [string, string])[] = [...personalities.values()]
  .flatMap(({ word, summary }) =>
    word === undefined || Object.hasOwn(commands, word) ? [] : [[word, summary] as const]
  );

/**
 * Help about what `words` call: a command, a group, a role of the program, or all of it.
 *
 * @throws {UsageError} if nothing is called so.
 */
export function helpFor(words: readonly string[], columns: number): string {
  const role = words.length === 1 ? roleOf(words[0]) : undefined;
  if (role && !Object.hasOwn(commands, words[0])) return roleHelp(role);
  const written = writtenOut(top, words);
  const entry = written.reduce<Entry>(
    (entry, word, index) => entryOf(written.slice(0, index), entry, word),
    top,
  );
  const path = ["kurma", ...written].join(" ").toLowerCase();
  return isGroup(entry)
    ? groupHelp(path, entry, entry === top ? roles : [], common, columns)
    : commandHelp(path, entry, common, columns);
}

/**
 * What `word` calls in `entry`, which the words of `path` call.
 *
 * @throws {UsageError} with the word that was probably meant, if there is none.
 */
export function entryOf(path: readonly string[], entry: Entry, word: string): Entry {
  const found = isGroup(entry) ? entryCalled(entry, word) : undefined;
  if (found) return found;
  const known = isGroup(entry) ? entry.commands : {};
  const words = [...Object.keys(known), ...(entry === top ? roles.map(([role]) => role) : [])];
  const meant = closest(word, words);
  const before = ["kurma", ...path].join(" ");
  const { elsewhere = {} } = isGroup(entry) ? entry : {};
  throw new UsageError(
    `Unknown command "${[...path, word].join(" ")}"`,
    Object.hasOwn(elsewhere, word)
      ? elsewhere[word]
      : meant
      ? `Did you mean ${before} ${meant}?`
      : `See ${before} --help`,
  );
}
