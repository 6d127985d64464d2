/**
 * `--output`: the same answer for people and for programs.
 *
 * @module
 */

import { choice } from "./flags.ts";

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
