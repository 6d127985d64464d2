/**
 * Times and sizes as people write them.
 *
 * @module
 */

/** What a timer can wait, in milliseconds: 24 days. A longer one ends at once. */
export const longestTimer = 0x7fff_ffff;

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `500ms`, `1m30s`, or a bare number of seconds; undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  if (/^\d{1,9}(\.\d{1,3})?$/.test(text)) return Math.round(Number(text) * 1000);
  if (text.length > 64 || !/^(\d{1,9}(\.\d{1,3})?(ms|s|m|h))+$/.test(text)) return undefined;
  return Math.round(
    text.matchAll(/([\d.]+)(ms|s|m|h)/g)
      .reduce((sum, [, number, unit]) => sum + Number(number) * unitsMs[unit], 0),
  );
}

/** `milliseconds` in the largest unit that divides them: `90s`. */
export function durationText(milliseconds: number): string {
  const unit = ["h", "m", "s"].find((each) => milliseconds % unitsMs[each] === 0) ?? "ms";
  return `${milliseconds / unitsMs[unit]}${unit}`;
}

const prefixes = ["", "k", "m", "g", "t"];

/** Bytes of `10GiB`, `10G`, `10g` (all the same) or a bare number; undefined if it is none. */
export function parseSize(text: string): number | undefined {
  const [, number, unit] = /^(\d{1,15}(?:\.\d{1,3})?)(?:([kmgt]?)(?:i?b)?)$/i.exec(text) ?? [];
  if (number === undefined) return undefined;
  const bytes = Math.round(Number(number) * 1024 ** prefixes.indexOf(unit.toLowerCase()));
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** `bytes` in the largest unit that divides them: `10MiB`. */
export function sizeText(bytes: number): string {
  let power = 0;
  while (power < 4 && bytes > 0 && bytes % 1024 ** (power + 1) === 0) power++;
  return `${bytes / 1024 ** power}${["", "KiB", "MiB", "GiB", "TiB"][power]}`;
}
