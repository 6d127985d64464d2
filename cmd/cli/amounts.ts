/**
 * The kinds of flag whose values are amounts: times, numbers, sizes.
 *
 * @module
 */

import { durationText, parseDuration, parseSize } from "../../stage1/units.ts";
import { BadValue, type Flag, type Valued } from "./flags.ts";

/** A time in milliseconds; `1m30s`, `500ms`, or a bare number of seconds. */
export function duration(
  summary: string,
  options: Valued & { defaultMs: number },
): Flag<number> {
  const { defaultMs, ...rest } = options;
  return {
    summary,
    placeholder: "TIME",
    ...rest,
    absent: `default ${durationText(defaultMs)}`,
    read(occurrences) {
      const text = occurrences.at(-1);
      if (text === undefined) return defaultMs;
      const time = parseDuration(text);
      if (time === undefined) throw new BadValue(text, "a time, as in 500ms, 10s or 1m30s");
      return time;
    },
  };
}

/** A time in milliseconds, if it is given, written as {@linkcode duration} takes it. */
export function time(summary: string, options: Valued = {}): Flag<number | undefined> {
  const { read } = duration(summary, { defaultMs: 0 });
  return {
    summary,
    placeholder: "TIME",
    ...options,
    read: (occurrences) => occurrences.length === 0 ? undefined : read(occurrences),
  };
}

/** A whole number from `min` on, if it is given. */
export function whole(
  summary: string,
  options: Valued & { min?: number } = {},
): Flag<number | undefined> {
  const { min = 0, ...rest } = options;
  return {
    summary,
    placeholder: "COUNT",
    ...rest,
    read(occurrences) {
      const text = occurrences.at(-1);
      if (text === undefined) return undefined;
      const value = /^-?\d{1,9}$/.test(text) ? Number(text) : NaN;
      if (!(value >= min)) throw new BadValue(text, `a whole number, ${min} or more`);
      return value;
    },
  };
}

/** A number of bytes, if it is given; `10GiB`, `10G` and `10g` are the same. */
export function bytes(summary: string, options: Valued = {}): Flag<number | undefined> {
  return {
    summary,
    placeholder: "SIZE",
    ...options,
    read(occurrences) {
      const text = occurrences.at(-1);
      if (text === undefined) return undefined;
      const size = parseSize(text);
      if (size === undefined) throw new BadValue(text, "a size, as in 500MiB or 10G");
      return size;
    },
  };
}
