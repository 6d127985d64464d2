/**
 * Tables for people and for `awk`.
 *
 * @module
 */

import { type Paint, type Style, unpainted } from "../colour.ts";
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
  /** How its text stands out. */
  style?(row: Row): Style | undefined;
  /** Whether it is cut where a terminal is too narrow: the widest of those first. */
  readonly shrinks?: boolean;
}

/** Where a table is written. */
export interface Surroundings {
  /** Whether it is a terminal: elsewhere nothing is cut. */
  readonly terminal: boolean;
  /** Its width. */
  readonly columns: number;
  /** How it is painted. Default not at all. */
  readonly paint?: Paint;
}

const gap = "  ";

/** A cell never gets narrower than this. */
const narrowest = 8;

/** `rows` below the titles of `columns`, each column as wide as its widest text. */
export async function table<Row>(
  rows: readonly Row[],
  columns: readonly Column<Row>[],
  { terminal, columns: room, paint = unpainted }: Surroundings,
): Promise<string> {
  const texts = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map((column) => column.text(row) || "-")),
  ];
  // All at once, as this is most of the work of a table.
  const isPlain = /^[ -~]*$/.test(texts.flat().join(""));
  const cells = isPlain ? texts : texts.map((line) => line.map(printable));
  const width: Width = isPlain ? (text) => text.length : await widthOf(cells.flat());
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => width(line[index]))));
  if (terminal) shrink(widths, columns, room);
  return cells.map((line, row) => {
    const padded = line.map((text, index) => {
      const shown = terminal ? shorten(text, widths[index], width) : text;
      const space = " ".repeat(widths[index] - width(shown));
      const { right, style } = columns[index];
      const stands = paint(shown, row === 0 ? "bold" : style?.(rows[row - 1]));
      return right ? space + stands : stands + space;
    });
    return padded.join(gap).trimEnd();
  }).join("\n");
}

/** Takes from the widest of the columns that may be cut until all fit, or none can be cut more. */
function shrink(
  widths: number[],
  columns: readonly Pick<Column<never>, "shrinks">[],
  room: number,
): void {
  const all = widths.reduce((sum, width) => sum + width, 0) + gap.length * (widths.length - 1);
  for (let excess = all - room; excess > 0; excess--) {
    const most = Math.max(...widths.filter((_, index) => columns[index].shrinks), 0);
    if (most <= narrowest) return;
    widths[widths.findLastIndex((width, index) => columns[index].shrinks && width === most)]--;
  }
}

/** The beginning of `text`, with an ellipsis in place of what is beyond `room`. */
function shorten(text: string, room: number, width: Width): string {
  if (width(text) <= room) return text;
  let kept = "";
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    if (width(kept + segment) > room - 1) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** How many columns of a terminal a text takes. */
type Width = (text: string) => number;

/** The measure for `texts`. Plain letters need none of the tables of the others, which load slowly. */
async function widthOf(texts: readonly string[]): Promise<Width> {
  if (texts.every((text) => /^[ -~…]*$/.test(text))) return (text) => text.length;
  return (await import("string-width")).default;
}
