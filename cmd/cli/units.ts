/**
 * Numbers as people read them.
 *
 * @module
 */

const prefixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/** `bytes` in IEC units, with three digits that count below a thousand: `999 B`, `1.50 KiB`. */
export function size(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1023.5 && unit < prefixes.length - 1) {
    value /= 1024;
    unit++;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${prefixes[unit]}B`;
}

const spans = [
  { name: "year", seconds: 365 * 86_400 },
  { name: "month", seconds: 30 * 86_400 },
  { name: "week", seconds: 7 * 86_400 },
  { name: "day", seconds: 86_400 },
  { name: "hour", seconds: 3_600 },
  { name: "minute", seconds: 60 },
  { name: "second", seconds: 1 },
];

/** How long ago `time` was at `now`, both in milliseconds since 1970: `3 hours ago`. */
export function ago(time: number, now: number): string {
  const seconds = Math.floor((now - time) / 1000);
  for (const span of spans) {
    if (seconds < span.seconds) continue;
    const count = Math.floor(seconds / span.seconds);
    return `${count} ${span.name}${count === 1 ? "" : "s"} ago`;
  }
  return "just now";
}
