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
} from "./command.ts";
import type { Flag } from "./flags.ts";
import { split, UsageError } from "./parse.ts";

/** A word that may stand there, and what it means. */
export type Candidate = readonly [word: string, meaning: string];

/** What may stand at the cursor. */
export interface Completion {
  readonly words: readonly Candidate[];
  /** What the shell adds of its own: paths of files, of folders, or nothing. */
  readonly paths: "files" | "folders" | "none";
  /** The names of images fit too. */
  readonly images?: boolean;
  /** The names of containers fit too. */
  readonly containers?: boolean;
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

/** Completes the last of `words`, all of which follow `kurma`; it may be empty. */
export function complete({ top, common, roles }: Surface, words: readonly string[]): Completion {
  const current = words.at(-1) ?? "";
  let before = words.slice(0, -1);
  let entry = top;
  while (isGroup(entry)) {
    const flag = waiting(common, before);
    if (flag) return valueOf(flag, current);
    const [word, ...rest] = positionals(common, before, true);
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
  const given = positionals(flags, before, entry.passthrough ?? false);
  const theirs = entry.passthrough && given.length > 0;
  if (theirs) return { ...nothing, paths: "files" };
  const flag = waiting(flags, before);
  if (flag) return valueOf(flag, current);
  if (current.startsWith("-") && !before.includes("--")) return flagsOf(flags, current);
  return argumentOf(entry, given.length, current, top);
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

/** The words that belong to no flag; none if nobody could carry the line out anyway. */
function positionals(flags: Flags, before: readonly string[], leading: boolean): readonly string[] {
  try {
    return split("kurma", flags, before, leading).positionals;
  } catch (error) {
    if (error instanceof UsageError) return [];
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
  if (next.name === "image") {
    return { words: [], paths: command.passthrough ? "files" : "none", images: true };
  }
  if (next.name === "container") return { ...nothing, containers: true };
  return { words: [], paths: pathsFor(next.name.toUpperCase()) };
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
