/**
 * `--output`: the same answer for people and for programs.
 *
 * @module
 */

import type { Printed } from "./command.ts";
import { boolean, choice, list, string } from "./flags.ts";
import { type Column, type Surroundings, table } from "./table.ts";

/** The flag of commands that answer with rows. */
export const rowsOutput = choice("How to show them", ["table", "wide", "name", "json", "yaml"], {
  short: "o",
  placeholder: "FORM",
});

/** The flag of commands that answer with one thing. */
export const textOutput = choice("How to show it", ["text", "json", "yaml"], {
  short: "o",
  placeholder: "FORM",
});

/** `value` as text that programs read. It has to be what JSON can say. */
export async function structured(value: unknown, form: "json" | "yaml"): Promise<string> {
  if (form === "json") return JSON.stringify(value, undefined, 2);
  const { stringify } = await import("./yaml.ts");
  return stringify(value).trimEnd();
}

/** Rows, and how each is called and shown. */
export interface Rows<Row> {
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  /** What `--output name` prints: what other commands take. */
  name(row: Row): string;
}

/** `rows` in the form that {@linkcode rowsOutput} gave. */
export async function shown<Row>(
  { rows, columns, name }: Rows<Row>,
  form: "table" | "wide" | "name" | "json" | "yaml",
  surroundings: Surroundings,
): Promise<string | Printed> {
  if (form === "json" || form === "yaml") return await structured(rows, form);
  if (form === "name") return rows.map(name).join("\n");
  const chosen = columns.filter(({ wide }) => form === "wide" || !wide);
  return { text: await table(rows, chosen, surroundings), safe: true };
}

/** The flags of commands that list what there is. */
export const listFlags = {
  quiet: boolean("Only what other commands take: ids, or names where there are none", {
    short: "q",
  }),
  filter: list("Only those that it fits", { short: "f", placeholder: "KIND=VALUE" }),
  format: string("A line for each, made of fields", { placeholder: "TEMPLATE" }),
  output: rowsOutput,
};

/** `rows` as {@linkcode listFlags} ask for them. */
export async function listed<Row>(
  { id, ...rows }: Rows<Row> & { id(row: Row): string },
  { quiet, format, output }: {
    readonly quiet: boolean;
    readonly format: string | undefined;
    readonly output: "table" | "wide" | "name" | "json" | "yaml";
  },
  surroundings: Surroundings,
): Promise<string | Printed> {
  if (format !== undefined) {
    const { filledIn } = await import("./template.ts");
    return rows.rows.map((row) => filledIn(format, row)).join("\n");
  }
  if (quiet) return rows.rows.map(id).join("\n");
  return await shown(rows, output, surroundings);
}
