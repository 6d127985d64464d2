/**
 * Tells the flags of a command line from its arguments.
 *
 * @module
 */

import { util } from "./builtin.ts";
import { closest } from "./closest.ts";
import type { Flags } from "./command.ts";
import type { Flag } from "./flags.ts";
import { type Split, UsageError } from "./parse.ts";
import { singleHyphens } from "./words.ts";

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
