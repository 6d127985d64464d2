/**
 * Tables for people and for `awk`.
 *
 * @module
 */

import stringWidth from "string-width";
import { printable } from "./printable.ts";

/** One column of a table. */
export interface Column<Row> {
  /** Upper case, one word. */
  readonly title: string;
  text(row: Row): string;
  /** Numbers stand to the right. */
  readonly right?: boolean;
  /** Shown only by `--output wide`. */
  readonly wide?: boolean;
  /** The column that is cut where a terminal is too narrow. */
  readonly shrinks?: boolean;
}

/** Where a table is written. */
export interface Surroundings {
  /** Whether it is a terminal: elsewhere nothing is cut. */
  readonly terminal: boolean;
  /** Its width. */
  readonly columns: number;
}

const gap = "  ";

/** A cell never gets narrower than this. */
const narrowest = 8;

/** `rows` below the titles of `columns`, each column as wide as its widest text. */
export function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { terminal, columns: room }: Surroundings,
): string {
  const cells = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map((column) => printable(column.text(row)) || "-")),
  ];
  const widths = columns.map((_, index) =>
    Math.max(...cells.map((line) => stringWidth(line[index])))
  );
  const all = widths.reduce((sum, width) => sum + width, 0) + gap.length * (columns.length - 1);
  const shrinking = columns.findIndex(({ shrinks }) => shrinks);
  if (terminal && all > room && shrinking >= 0) {
    widths[shrinking] = Math.max(narrowest, widths[shrinking] - (all - room));
  }
  return cells.map((line) => {
    const padded = line.map((text, index) => {
      const cut = shorten(text, widths[index]);
      const space = " ".repeat(widths[index] - stringWidth(cut));
      return columns[index].right ? space + cut : cut + space;
    });
    return padded.join(gap).trimEnd();
  }).join("\n");
}

/** The beginning of `text`, with an ellipsis in place of what is beyond `width`. */
function shorten(text: string, width: number): string {
  if (stringWidth(text) <= width) return text;
  let kept = "";
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    if (stringWidth(kept + segment) > width - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}
