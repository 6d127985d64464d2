/**
 * Moments in time, as flags take them.
 *
 * @module
 */

import { parseDuration } from "../../stage1/units.ts";
import { BadValue, type Flag } from "./flags.ts";

/** A moment in milliseconds since 1970, if it is given: RFC 3339, or a time before `now`. */
export function moment(summary: string, now: () => number = Date.now): Flag<number | undefined> {
  return {
    summary,
    placeholder: "TIME",
    read(occurrences) {
      const text = occurrences.at(-1);
      if (text === undefined) return undefined;
      const isDate = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?$/
        .test(text);
      const before = parseDuration(text);
      const time = isDate ? Date.parse(text) : before === undefined ? NaN : now() - before;
      if (Number.isNaN(time)) {
        throw new BadValue(text, "a time ago, as 10m, or a moment, as 2030-01-31T12:00:00Z");
      }
      return time;
    },
  };
}

/** Milliseconds since 1970 as a message of the API. */
export function timestamp(ms: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** A message of the API in RFC 3339, in UTC, with all its digits. */
export function momentText({ seconds, nanos }: { seconds: bigint; nanos: number }): string {
  const date = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${date}.${String(nanos).padStart(9, "0")}Z`;
}
