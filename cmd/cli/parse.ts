/**
 * Turns the words of a command line into the arguments and flags of its command.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { closest } from "./closest.ts";
import {
  type AnyArgs,
  argument,
  type Command,
  type Flags,
  type FlagValues,
  usage,
} from "./command.ts";
import { BadValue } from "./flags.ts";

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

/** What `words` come to if no flag is among them, as on most lines; otherwise split() tells. */
export function withoutFlags(words: readonly string[], leading = false): Split | undefined {
  const hasFlags = (leading ? words.slice(0, 1) : words).some((word) => word.startsWith("-"));
  return hasFlags ? undefined : { positionals: words, occurrences: new Map() };
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

function oddChoice(path: string, name: string, odd: string, choices: readonly string[]) {
  const meant = closest(odd, choices);
  return new UsageError(
    `Cannot use "${odd}" for ${name.toUpperCase()} of ${short(path)}`,
    meant ? `Did you mean ${meant}?` : `It is one of ${choices.join(", ")}`,
  );
}

/** The words of a message that starts with `kurma:` already. */
function short(path: string): string {
  return path.replace(/^kurma /, "");
}

function article(name: string): string {
  return /^[aeiou]/.test(name) ? "an" : "a";
}
