/**
 * Turns the words of a command line into the arguments and flags of its command.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { util } from "./builtin.ts";
import { closest } from "./closest.ts";
import {
  type AnyArgs,
  argument,
  type Command,
  type Flags,
  type FlagValues,
  usage,
} from "./command.ts";
import { BadValue, type Flag } from "./flags.ts";
import { singleHyphens } from "./words.ts";

/** A command line that nobody could carry out; `fix` says how it is written. */
export class UsageError extends KurmaError {
  constructor(message: string, fix: string) {
    super("invalid", message, { fix });
  }
}

/** What the words of a command line came to. */
export interface Parsed {
  readonly args: AnyArgs;
  readonly flags: Readonly<Record<string, unknown>>;
}

/** Words as they stand on the line: what belongs to no flag, and each flag's occurrences. */
export interface Split {
  readonly positionals: readonly string[];
  readonly occurrences: ReadonlyMap<string, readonly string[]>;
}

/**
 * Tells flags from arguments.
 *
 * @param leading Stop at the first argument: all that follows is an argument too.
 * @param instead What to say to flags that are not there, as they are written.
 * @throws {UsageError} for an unknown flag, or one without the value it needs.
 */
export function split(
  path: string,
  flags: Flags,
  words: readonly string[],
  leading = false,
  instead: Readonly<Record<string, string>> = {},
): Split {
  // The library is loaded for who needs it.
  if (!(leading ? words.slice(0, 1) : words).some((word) => word.startsWith("-"))) {
    return { positionals: words, occurrences: new Map() };
  }
  const { tokens } = util().parseArgs({
    args: withTwoHyphens(words),
    options: Object.fromEntries(Object.entries(flags).map(([name, flag]) => [name, option(flag)])),
    strict: false, // Its errors name neither a cause nor a fix as ours do.
    tokens: true,
  });
  const positionals: string[] = [];
  const occurrences = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind === "positional") {
      if (leading) return { positionals: words.slice(token.index), occurrences };
      positionals.push(token.value);
    } else if (token.kind === "option") {
      const { name, rawName, value, inlineValue } = token;
      if (!Object.hasOwn(flags, name)) {
        throw Object.hasOwn(instead, rawName)
          ? new UsageError(`Unknown flag ${rawName}`, instead[rawName])
          : unknownFlag(path, flags, rawName);
      }
      if (flags[name].placeholder !== undefined) {
        if (value === undefined) throw lacksValue(path, flags[name], rawName);
        if (!inlineValue && isFlag(flags, value)) {
          throw new UsageError(
            `${rawName} needs a value, but "${value}" follows`,
            `If that is the value, write ${joined(rawName, value)}`,
          );
        }
      }
      occurrences.set(name, [...occurrences.get(name) ?? [], value ?? "true"]);
    }
  }
  return { positionals, occurrences };
}

/** {@linkcode singleHyphens} written with two, up to where the flags end. */
function withTwoHyphens(words: readonly string[]): string[] {
  const end = words.indexOf("--");
  return words.map((word, at) => {
    const [flag, ...value] = word.split("=");
    return Object.hasOwn(singleHyphens, flag) && (end < 0 || at < end)
      ? [singleHyphens[flag], ...value].join("=")
      : word;
  });
}

/**
 * Gives the words of `split` the names and types that `command` declares.
 *
 * @param path The words that called it, for messages: `kurma image list`.
 * @param env Where flags with a `variable` look when they are absent.
 * @throws {UsageError} naming the first thing that is wrong.
 */
export function interpret(
  path: string,
  command: Command,
  { positionals, occurrences }: Split,
  env: Readonly<Record<string, string>>,
): Parsed {
  return {
    args: named(path, command, positionals),
    flags: read(path, command.flags, occurrences, env),
  };
}

/** Reads each of `flags`, in the order in which they are declared. See {@linkcode interpret}. */
export function read<F extends Flags>(
  path: string,
  flags: F,
  occurrences: Split["occurrences"],
  env: Readonly<Record<string, string>>,
): FlagValues<F> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, flag]) => {
      const variable = flag.variable === undefined ? undefined : env[flag.variable] || undefined;
      const given = occurrences.get(name) ?? (variable === undefined ? [] : [variable]);
      try {
        return [name, flag.read(given)];
      } catch (error) {
        if (!(error instanceof BadValue)) throw error;
        const where = occurrences.has(name) ? `--${name}` : flag.variable;
        throw new UsageError(
          `Cannot use "${error.value}" for ${where}`,
          `It takes ${error.expected}; see ${path} --help`,
        );
      }
    }),
  ) as FlagValues<F>;
}

/** Gives the words that belong to no flag the names that `command` has for them. */
function named(path: string, command: Command, words: readonly string[]): AnyArgs {
  const left = [...words];
  const args: Record<string, string | readonly string[] | undefined> = {};
  for (const declared of command.args) {
    const { name, arity } = argument(declared);
    if ((arity === "" || arity === "+") && left.length === 0) {
      throw new UsageError(
        `${short(path)} needs ${article(name)} ${name.toUpperCase()}`,
        usage(path, command),
      );
    }
    const taken = left.splice(0, arity === "+" || arity === "*" ? left.length : 1);
    const choices = command.choices?.[name];
    const odd = choices && taken.find((word) => !choices.includes(word));
    if (odd !== undefined) throw oddChoice(path, name, odd, choices ?? []);
    args[name] = arity === "+" || arity === "*" ? taken : taken[0];
  }
  if (left.length > 0) {
    throw new UsageError(`${short(path)} has no use for "${left[0]}"`, usage(path, command));
  }
  return args;
}

function option(flag: Flag<unknown>) {
  const type = flag.placeholder === undefined ? "boolean" as const : "string" as const;
  return { type, multiple: true, ...(flag.short ? { short: flag.short } : {}) };
}

function unknownFlag(path: string, flags: Flags, raw: string): UsageError {
  const meant = raw.startsWith("--") ? closest(raw.slice(2), Object.keys(flags)) : undefined;
  return new UsageError(
    `Unknown flag ${raw}`,
    meant ? `Did you mean --${meant}?` : `See ${path} --help`,
  );
}

function oddChoice(path: string, name: string, odd: string, choices: readonly string[]) {
  const meant = closest(odd, choices);
  return new UsageError(
    `Cannot use "${odd}" for ${name.toUpperCase()} of ${short(path)}`,
    meant ? `Did you mean ${meant}?` : `It is one of ${choices.join(", ")}`,
  );
}

function lacksValue(path: string, flag: Flag<unknown>, raw: string): UsageError {
  const values = flag.choices ? ` (one of ${flag.choices.join(", ")})` : "";
  return new UsageError(`${raw} needs a value`, `${path} ${raw} ${flag.placeholder}${values}`);
}

/** Whether `word` calls one of `flags`, and so is hardly the value of the one before it. */
function isFlag(flags: Flags, word: string): boolean {
  if (word === "--") return true;
  if (word.startsWith("--")) return Object.hasOwn(flags, word.slice(2).split("=", 1)[0]);
  return word.length === 2 && word[0] === "-" &&
    Object.values(flags).some(({ short }) => short === word[1]);
}

/** A flag and its value in one word. */
function joined(raw: string, value: string): string {
  return raw.startsWith("--") ? `${raw}=${value}` : `${raw}${value}`;
}

/** The words of a message that starts with `kurma:` already. */
function short(path: string): string {
  return path.replace(/^kurma /, "");
}

function article(name: string): string {
  return /^[aeiou]/.test(name) ? "an" : "a";
}
