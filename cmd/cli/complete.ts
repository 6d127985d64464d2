/**
 * What the word under the cursor may become, read from the table.
 *
 * @module
 */

import {
  argument,
  type Command,
  type Entry,
  entryCalled,
  type Flags,
  type Group,
  isGroup,
  writtenOut,
} from "./command.ts";
import type { Flag } from "./flags.ts";
import { type Split, UsageError } from "./parse.ts";
import { split } from "./split.ts";

/** A word that may stand there, and what it means. */
export type Candidate = readonly [word: string, meaning: string];

/** Arguments that are names of what there is; `place` is one end of `kurma cp`. */
export type Names = "container" | "image" | "pod" | "volume" | "place" | "context";

/** What may stand at the cursor. */
export interface Completion {
  readonly words: readonly Candidate[];
  /** What the shell adds of its own: paths of files, of folders, or nothing. */
  readonly paths: "files" | "folders" | "none";
  /** What is called by names that fit too. */
  readonly names?: Names;
}

/** What the table consists of, for {@linkcode complete}. */
export interface Surface {
  readonly top: Entry;
  /** The flags that stand anywhere. */
  readonly common: Flags;
  /** Words that call other roles, allowed where the commands of `top` are. */
  readonly roles: readonly Candidate[];
}

const nothing: Completion = { words: [], paths: "none" };

/**
 * Completes the last of `words`, all of which follow `kurma`; it may be empty.
 *
 * @returns `given`: the flags of every command that stand before it.
 */
export function complete(
  surface: Surface,
  words: readonly string[],
): Completion & { readonly given: Split["occurrences"] } {
  const given = new Map<string, readonly string[]>();
  return { ...completed(surface, words, given), given };
}

function completed(
  { top, common, roles }: Surface,
  words: readonly string[],
  given: Map<string, readonly string[]>,
): Completion {
  const current = words.at(-1) ?? "";
  let before = words.slice(0, -1);
  let entry = top;
  const parsed = (flags: Flags, leading: boolean): readonly string[] => {
    const { positionals, occurrences } = splitIfPossible(flags, before, leading);
    for (const [name, values] of occurrences) {
      if (Object.hasOwn(common, name)) given.set(name, values);
    }
    return positionals;
  };
  while (isGroup(entry)) {
    const flag = waiting(common, before);
    if (flag) return valueOf(flag, current);
    const [word, ...rest] = writtenOut(entry, parsed(common, true));
    if (word === undefined) {
      if (current.startsWith("-")) return flagsOf(common, current);
      return starting([...below(entry), ...(entry === top ? roles : [])], current);
    }
    const called = entryCalled(entry, word);
    if (!called) return nothing;
    entry = called;
    before = rest;
  }

  const flags = { ...common, ...entry.flags };
  const count = parsed(flags, entry.passthrough ?? false).length;
  const theirs = entry.passthrough && count > 0;
  if (theirs) return { ...nothing, paths: "files" };
  const flag = waiting(flags, before);
  if (flag) return valueOf(flag, current);
  if (current.startsWith("-") && !before.includes("--")) return flagsOf(flags, current);
  return argumentOf(entry, count, current, top);
}

/** The flag at the end of `before` that still waits for its value. */
function waiting(flags: Flags, before: readonly string[]): Flag<unknown> | undefined {
  const last = before.at(-1) ?? "";
  if (before.slice(0, -1).includes("--")) return undefined;
  const flag = /^--./.test(last)
    ? Object.hasOwn(flags, last.slice(2)) ? flags[last.slice(2)] : undefined
    : /^-[^-]/.test(last)
    ? Object.values(flags).find(({ short }) => short === last.at(-1))
    : undefined;
  return flag?.placeholder === undefined ? undefined : flag;
}

/** The words told apart; nothing if nobody could carry the line out anyway. */
function splitIfPossible(flags: Flags, before: readonly string[], leading: boolean): Split {
  try {
    return split("kurma", flags, before, leading);
  } catch (error) {
    if (error instanceof UsageError) return { positionals: [], occurrences: new Map() };
    throw error;
  }
}

function flagsOf(flags: Flags, current: string): Completion {
  const [name, value] = current.replace(/^--/, "").split("=", 2);
  if (value !== undefined) {
    if (!Object.hasOwn(flags, name)) return nothing;
    const { words, paths } = valueOf(flags[name], value);
    return { words: words.map(([word, meaning]) => [`--${name}=${word}`, meaning]), paths };
  }
  return starting(
    Object.entries(flags).map(([name, { summary }]) => [`--${name}`, summary] as const),
    current,
  );
}

function valueOf({ choices, placeholder, summary }: Flag<unknown>, current: string): Completion {
  if (choices) return starting(choices.map((word) => [word, summary] as const), current);
  if (placeholder === "CONTEXT") return { ...nothing, names: "context" };
  return { words: [], paths: pathsFor(placeholder ?? "") };
}

/** What the argument after `given` others may be. */
function argumentOf(command: Command, given: number, current: string, top: Entry): Completion {
  const declared = command.args.map(argument);
  const last = declared.at(-1);
  const next = declared[given] ??
    (last && (last.arity === "*" || last.arity === "+") ? last : undefined);
  if (!next) return nothing;
  if (next.name === "command" && given === 0 && isGroup(top)) return starting(below(top), current);
  const choices = command.choices?.[next.name];
  if (choices) return starting(choices.map((word) => [word, ""] as const), current);
  const names = namesOf(next.name);
  if (names === "image") return { words: [], paths: command.passthrough ? "files" : "none", names };
  if (names !== undefined) return { words: [], paths: names === "place" ? "files" : "none", names };
  return { words: [], paths: pathsFor(next.name.toUpperCase()) };
}

/** What an argument of that name names, where it is something that there is. */
function namesOf(argument: string): Names | undefined {
  if (argument === "source" || argument === "target") return "place";
  const named = ["container", "image", "pod", "volume", "context"] as const;
  return named.find((names) => names === argument);
}

/** The commands of a group that its help shows. */
function below({ commands }: Group): Candidate[] {
  return Object.entries(commands).filter(([, entry]) => isGroup(entry) || !entry.hidden)
    .map(([word, { summary }]) => [word, summary]);
}

/** Whether the table's word for a value means a path. */
function pathsFor(placeholder: string): Completion["paths"] {
  if (placeholder === "DIR") return "folders";
  return placeholder === "FILE" ? "files" : "none";
}

function starting(candidates: readonly Candidate[], current: string): Completion {
  return { words: candidates.filter(([word]) => word.startsWith(current)), paths: "none" };
}
