/**
 * The kinds of flag, each with its type, its reader and its words for the help. Those whose values
 * are amounts are in {@link ./amounts.ts}.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";

/** A flag that gives its command a `Value`. */
export interface Flag<Value> {
  /** One line, no full stop. */
  readonly summary: string;
  /** One letter for `-x`. */
  readonly short?: string;
  /** What the help calls the value; a flag without it is a switch. */
  readonly placeholder?: string;
  /** Whether each occurrence counts; otherwise the last one does. */
  readonly repeated?: boolean;
  /** All values, where they can be listed. */
  readonly choices?: readonly string[];
  /** The environment variable that stands in for an absent flag. */
  readonly variable?: string;
  /** Said in the help about an absent flag. */
  readonly absent?: string;
  /**
   * The value, from each occurrence in order; a switch occurs as `true` or `false`.
   *
   * @throws {BadValue}
   */
  read(occurrences: readonly string[]): Value;
}

/** A flag's value that cannot be used; the parser adds which flag it was. */
export class BadValue extends KurmaError {
  /** @param expected What would be right: `a number of seconds, as in 10s`. */
  constructor(readonly value: string, readonly expected: string) {
    super("invalid", `Cannot use "${value}": expected ${expected}`);
  }
}

interface Common {
  short?: string;
}

/** What a flag with a value may have besides. */
export interface Valued extends Common {
  placeholder?: string;
}

/** A switch: off unless given; `--flag=false` turns it off again. */
export function boolean(summary: string, options: Common = {}): Flag<boolean> {
  return {
    summary,
    ...options,
    read(occurrences) {
      const last = occurrences.at(-1) ?? "false";
      if (last !== "true" && last !== "false") throw new BadValue(last, "true or false");
      return last === "true";
    },
  };
}

/** Text, if it is given. */
export function string(
  summary: string,
  options: Valued & { variable?: string } = {},
): Flag<string | undefined> {
  return {
    summary,
    placeholder: "TEXT",
    ...options,
    read: (occurrences) => occurrences.at(-1),
  };
}

/** Text with a default, which an environment variable may replace. */
export function setting(
  summary: string,
  options: Valued & { variable: string; fallback: string },
): Flag<string> {
  const { fallback, ...rest } = options;
  return {
    summary,
    placeholder: "TEXT",
    ...rest,
    absent: `default ${fallback}`,
    read: (occurrences) => occurrences.at(-1) ?? fallback,
  };
}

/** Every text given, in order. */
export function list(summary: string, options: Valued = {}): Flag<readonly string[]> {
  return {
    summary,
    placeholder: "TEXT",
    ...options,
    repeated: true,
    read: (occurrences) => occurrences,
  };
}

/** One of a few words, the first being the default. */
export function choice<const Word extends string>(
  summary: string,
  choices: readonly [Word, ...Word[]],
  options: Valued = {},
): Flag<Word> {
  return {
    summary,
    placeholder: "WORD",
    ...options,
    choices,
    absent: `default ${choices[0]}`,
    read(occurrences) {
      const given = occurrences.at(-1) ?? choices[0];
      const word = choices.find((each) => each === given);
      if (word === undefined) throw new BadValue(given, `one of ${choices.join(", ")}`);
      return word;
    },
  };
}

/** `NAME=VALUE` each, in order; a later one of the same name replaces the earlier. */
export function pairs(
  summary: string,
  options: Valued = {},
): Flag<Readonly<Record<string, string>>> {
  return {
    summary,
    placeholder: "NAME=VALUE",
    ...options,
    repeated: true,
    read: (occurrences) =>
      Object.fromEntries(occurrences.map((text) => {
        const end = text.indexOf("=");
        if (end < 1) throw new BadValue(text, "NAME=VALUE");
        return [text.slice(0, end), text.slice(end + 1)];
      })),
  };
}
