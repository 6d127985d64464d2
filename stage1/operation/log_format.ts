/**
 * How a line of the log is written down.
 *
 * @module
 */

/** From the least to the most important. */
export const levels = ["debug", "info", "warn", "error"] as const;

/** How important a line is. */
export type Level = typeof levels[number];

/** One line. */
export interface Line {
  readonly time: Date;
  readonly level: Level;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** For people, for people on a terminal, or one JSON object a line. */
export type Format = "text" | "colour" | "json";

/** ECMA-48, SGR: grey, none, yellow, red. */
const colours: Readonly<Record<Level, string>> = {
  debug: "\x1b[90m",
  info: "",
  warn: "\x1b[33m",
  error: "\x1b[31m",
};

/** A line as text, without its end. */
export const formatters: Readonly<Record<Format, (line: Line) => string>> = {
  text: (line) => textOf(line),

  colour(line) {
    const colour = colours[line.level];
    return colour ? `${colour}${textOf(line)}\x1b[0m` : textOf(line);
  },

  json: ({ time, level, message, fields }) =>
    JSON.stringify({ ...fields, time: time.toISOString(), level, message }, plain),
};

function textOf({ time, level, message, fields }: Line): string {
  const words = Object.entries(fields).map(([name, value]) => `${name}=${fieldText(value)}`);
  return [time.toISOString(), level.padEnd(5), printable(message), ...words].join(" ");
}

/** Without quotes where nothing could be mistaken. */
function fieldText(value: unknown): string {
  const known = plain("", value);
  const text = typeof known === "string" ? known : JSON.stringify(known, plain) ?? "undefined";
  return /^[\p{L}\p{N}_.:/@+,-]+$/u.test(text) ? text : JSON.stringify(printable(text));
}

/** Errors by their messages, numbers of any size, and no secrets of a prototype. */
function plain(_name: string, value: unknown): unknown {
  if (value instanceof Error) return value.message;
  return typeof value === "bigint" ? String(value) : value;
}

/** Control characters written out: a message may quote what came from outside. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    return `\\u{${character.codePointAt(0)?.toString(16)}}`;
  });
}
