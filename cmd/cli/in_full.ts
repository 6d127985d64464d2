/**
 * All of one thing, as `kurma show` shows it.
 *
 * @module
 */

import { choice, string } from "./flags.ts";
import { structured } from "./output.ts";
import { filledIn } from "./template.ts";

/** The flags of commands that show all of one thing. */
export const showFlags = {
  format: string("A line made of fields, as for kurma list", {
    short: "f",
    placeholder: "TEMPLATE",
  }),
  output: choice("How to show it", ["json", "yaml"], { short: "o", placeholder: "FORM" }),
};

/** `value` as {@linkcode showFlags} ask for it. It has to be what JSON can say. */
export async function inFull(
  value: unknown,
  { format, output }: {
    readonly format: string | undefined;
    readonly output: "json" | "yaml";
  },
): Promise<string> {
  return format === undefined ? await structured(value, output) : filledIn(format, value);
}
