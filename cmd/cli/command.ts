/**
 * What a command is: a value that parsing, help, completion and tests read.
 *
 * @module
 */

import type { Context } from "./context.ts";
import type { Flag } from "./flags.ts";

/** A command line as one would type it, and what it does. */
export type Example = readonly [line: string, effect: string];

/**
 * The arguments of a command, by name. How many a name takes is its last character:
 * `image` exactly one, `image?` at most one, `image+` one or more, `image*` any number.
 */
export type Arity = "" | "?" | "+" | "*";

/** Arguments as `run` gets them, typed from their names. */
export type ArgValues<Args extends readonly string[]> = {
  readonly [Name in Args[number] as Bare<Name>]: Name extends `${string}${"+" | "*"}`
    ? readonly string[]
    : Name extends `${string}?` ? string | undefined
    : string;
};

type Bare<Name extends string> = Name extends `${infer Stem}${"?" | "+" | "*"}` ? Stem : Name;

/** Flags by their long name, without the hyphens. */
export type Flags = Readonly<Record<string, Flag<unknown>>>;

/** Flags as `run` gets them. */
export type FlagValues<F extends Flags> = {
  readonly [Name in keyof F]: F[Name] extends Flag<infer Value> ? Value : never;
};

/** What a command does and how it is called. */
export interface Spec<Args extends readonly string[], F extends Flags> {
  /** One line, a verb first, no full stop. */
  readonly summary: string;
  /** More to say in its help: paragraphs, each a line. */
  readonly details?: readonly string[];
  readonly args: Args;
  readonly flags: F;
  readonly examples: readonly Example[];
  /** What to say to flags that other tools have, as they are written: `-d`. */
  readonly instead?: Readonly<Record<string, string>>;
  /** All words that an argument may be, by its bare name, where they can be listed. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  /** Other words that call it, for the habit's sake: `ps`. */
  readonly aliases?: readonly string[];
  /** Called by programs, not by people: the help does not list it. */
  readonly hidden?: boolean;
  /** The first argument ends the flags: what follows belongs to somebody else's command. */
  readonly passthrough?: boolean;
  /** The exit status of every failure of ours, where the others belong to what it runs. */
  readonly failure?: number;
  /**
   * Does it.
   *
   * @returns Text to print, without the last line end and not at all if it is empty, or the exit
   * status.
   * @throws {KurmaError} for what the user can do something about.
   */
  run(
    context: Context,
    args: ArgValues<Args>,
    flags: FlagValues<F>,
  ): Promise<Result> | Result;
}

/** What {@linkcode Spec.run} may end with: text to print, the exit status, or both. */
export type Result = string | number | Printed;

/** Text to print, with more to say about it. */
export interface Printed {
  readonly text: string;
  /** The exit status. Default 0. */
  readonly status?: number;
  /**
   * Whether it is for a terminal as it stands: what came from outside is escaped in it, and
   * it may have colours. Default false: it is escaped as a whole.
   */
  readonly safe?: boolean;
}

/** Arguments of any command, by their bare names. */
export type AnyArgs = Readonly<Record<string, string | readonly string[] | undefined>>;

/** A command of any arguments and flags: what the table holds. */
export interface Command extends Omit<Spec<readonly string[], Flags>, "run"> {
  run(
    context: Context,
    args: AnyArgs,
    flags: Readonly<Record<string, unknown>>,
  ): Promise<Result> | Result;
}

/** Commands that belong to one subject: `kurma image list`. */
export interface Group {
  /** One line that names the subject. */
  readonly summary: string;
  readonly commands: Commands;
  readonly examples: readonly Example[];
  /** Words that stand for others, for the habit's sake: `images` for `image list`. */
  readonly shortcuts?: Readonly<Record<string, readonly string[]>>;
  /** What to say to words that call something in other tools. */
  readonly elsewhere?: Readonly<Record<string, string>>;
}

/** What a word calls. */
export type Entry = Command | Group;

/** Commands and groups, by the word that calls them, in the order of the help. */
export type Commands = Readonly<Record<string, Entry>>;

/** A command whose `run` is typed by its own arguments and flags. */
export function command<const Args extends readonly string[], F extends Flags>(
  spec: Spec<Args, F>,
): Command {
  return spec as unknown as Command; // interpret() gives `run` what args and flags declare.
}

/** Whether a word calls a group rather than a command. */
export function isGroup(entry: Entry): entry is Group {
  return "commands" in entry;
}

/** `words` with the shortcut that they may begin with written out. */
export function writtenOut(
  { shortcuts = {} }: Pick<Group, "shortcuts">,
  [word, ...rest]: readonly string[],
): readonly string[] {
  if (word === undefined) return [];
  return Object.hasOwn(shortcuts, word) ? [...shortcuts[word], ...rest] : [word, ...rest];
}

/** What `word` calls in `group`, by its name or by an alias, in letters of any case. */
export function entryCalled({ commands }: Group, written: string): Entry | undefined {
  const word = written.toLowerCase();
  if (Object.hasOwn(commands, word)) return commands[word];
  return Object.values(commands).find((entry) => !isGroup(entry) && entry.aliases?.includes(word));
}

/** The name and the number of an argument declared as `image*`. */
export function argument(declared: string): { name: string; arity: Arity } {
  const last = declared.at(-1) ?? "";
  return last === "?" || last === "+" || last === "*"
    ? { name: declared.slice(0, -1), arity: last }
    : { name: declared, arity: "" };
}

/** `Usage: kurma run [FLAG...] IMAGE [COMMAND...]` */
export function usage(path: string, { args, flags }: Pick<Command, "args" | "flags">): string {
  const words = args.map((declared) => {
    const { name, arity } = argument(declared);
    const word = arity === "+" || arity === "*" ? `${name.toUpperCase()}...` : name.toUpperCase();
    return arity === "?" || arity === "*" ? `[${word}]` : word;
  });
  const flagWord = Object.keys(flags).length > 0 ? ["[FLAG...]"] : [];
  return ["Usage:", path, ...flagWord, ...words].join(" ");
}
