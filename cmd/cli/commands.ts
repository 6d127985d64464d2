/**
 * kurma-cli's whole surface. Parsing, help and tests read this table.
 *
 * @module
 */

import { type Paint, unpainted } from "../colour.ts";
import { personalities, roleHelp, roleOf } from "../personalities.ts";
import { closest } from "./closest.ts";
import { command, type Entry, entryCalled, type Group, isGroup, writtenOut } from "./command.ts";
import type { Surface } from "./complete.ts";
import { boolean, setting, string } from "./flags.ts";
import { list, show } from "./list.ts";
import { UsageError } from "./parse.ts";
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
  "no-color": boolean("Write without colours, as with NO_COLOR=1 in the environment"),
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
  async run({ columns, paint }, { command }) {
    return { text: await helpFor(command, columns, paint), safe: true };
  },
});

/**
 * What `kurma WORD` does, in the order of the help. Each but the commonest is loaded for who
 * calls it: reading all of them takes longer than most of them run.
 */
const commands: Readonly<Record<string, Entry | (() => Promise<Entry>)>> = {
  run: async () => (await import("./run.ts")).run,
  create: async () => (await import("./create.ts")).create,
  start: async () => (await import("./lifecycle.ts")).start,
  stop: async () => (await import("./lifecycle.ts")).stop,
  restart: async () => (await import("./lifecycle.ts")).restart,
  kill: async () => (await import("./lifecycle.ts")).kill,
  rm: async () => (await import("./lifecycle.ts")).rm,
  list,
  show,
  exec: async () => (await import("./exec.ts")).exec,
  enter: async () => (await import("./exec.ts")).enter,
  attach: async () => (await import("./exec.ts")).attach,
  logs: async () => (await import("./logs.ts")).logs,
  events: async () => (await import("./logs.ts")).events,
  cp: async () => (await import("./cp.ts")).cp,
  top: async () => (await import("./usage.ts")).top,
  stats: async () => (await import("./usage.ts")).stats,
  update: async () => (await import("./usage.ts")).update,
  wait: async () => (await import("./lifecycle.ts")).wait,
  pause: async () => (await import("./lifecycle.ts")).pause,
  resume: async () => (await import("./lifecycle.ts")).resume,
  rename: async () => (await import("./lifecycle.ts")).rename,
  prune: async () => (await import("./usage.ts")).prune,
  pod: async () => (await import("./pod.ts")).pod,
  image: async () => (await import("./image.ts")).image,
  volume: async () => (await import("./volume.ts")).volume,
  context: async () => (await import("./context_commands.ts")).contextGroup,
  api: async () => (await import("./api.ts")).api,
  status: async () => (await import("./status.ts")).status,
  doctor: async () => (await import("./doctor.ts")).doctor,
  config: async () => (await import("./config.ts")).config,
  install: async () => (await import("./install.ts")).installer(surface),
  completion: async () => (await import("./completion.ts")).completion,
  version: async () => (await import("./status.ts")).version,
  help,
  "dial-stdio": async () => (await import("./dial_stdio.ts")).dialStdio,
  complete: async () => (await import("./completion.ts")).completer(surface),
};

/** All that `kurma` alone calls. */
export async function top(): Promise<Group> {
  const entries = Object.entries(commands).map(async ([word, entry]) => {
    return [word, typeof entry === "function" ? await entry() : entry] as const;
  });
  return {
    summary: "Kurma: a container host in one file",
    commands: Object.fromEntries(await Promise.all(entries)),
    shortcuts,
    elsewhere,
    examples: [
      ["kurma run hello", "Look around inside a container"],
      ["kurma help run", "All that run can do"],
    ],
  };
}

/** The whole table, for who reads all of it. */
async function surface(): Promise<Surface> {
  return { top: await top(), common, roles };
}

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
export async function helpFor(
  words: readonly string[],
  columns: number,
  paint: Paint = unpainted,
): Promise<string> {
  const role = words.length === 1 ? roleOf(words[0]) : undefined;
  if (role && !Object.hasOwn(commands, words[0])) return roleHelp(role);
  const written = writtenOut({ shortcuts }, words);
  const [first, ...rest] = written;
  let entry: Entry = first === undefined ? await top() : await called(first);
  for (const [index, word] of rest.entries()) {
    entry = entryOf(written.slice(0, index + 1), entry, word);
  }
  const path = ["kurma", ...written].join(" ").toLowerCase();
  const { commandHelp, groupHelp } = await import("./help.ts");
  return isGroup(entry)
    ? groupHelp(path, entry, first === undefined ? roles : [], common, columns, paint)
    : commandHelp(path, entry, common, columns, paint);
}

/**
 * What a word after `kurma` calls, by its name or by an alias, in letters of any case.
 *
 * @throws {UsageError} with the word that was probably meant, if there is none.
 */
export async function called(written: string): Promise<Entry> {
  const word = written.toLowerCase();
  if (!Object.hasOwn(commands, word)) return entryOf([], await top(), written);
  const entry = commands[word];
  return typeof entry === "function" ? await entry() : entry;
}

/**
 * What `word` calls in `entry`, which the words of `path` call.
 *
 * @throws {UsageError} with the word that was probably meant, if there is none.
 */
export function entryOf(path: readonly string[], entry: Entry, word: string): Entry {
  const found = isGroup(entry) ? entryCalled(entry, word) : undefined;
  if (found) return found;
  if (path.length === 0 && roleOf(word)) {
    throw new UsageError(
      `"${word}" is a role of this program, and no flag stands before it`,
      `Write kurma ${word} first, and then its own flags; see kurma ${word} --help`,
    );
  }
  const known = isGroup(entry) ? Object.keys(entry.commands) : [];
  const meant = closest(word, path.length > 0 ? known : [...known, ...roles.map(([role]) => role)]);
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
