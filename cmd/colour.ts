/**
 * Colours for people: on a terminal, unless somebody wants none. ECMA-48, SGR;
 * https://no-color.org, https://bixense.com/clicolors
 *
 * @module
 */

const codes = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;

/** How a text may stand out. */
export type Style = keyof typeof codes;

/** `text` so that it stands out, where it may. What it holds is to be safe for a terminal. */
export type Paint = (text: string, style: Style | undefined) => string;

/** Leaves all texts as they are. */
export const unpainted: Paint = (text) => text;

/** Paints always. */
export const painted: Paint = (text, style) =>
  style === undefined || text === "" ? text : `\x1b[${codes[style]}m${text}\x1b[0m`;

let isOff = false;

/** What `--no-color` asks for, whatever the environment says. */
export function switchOff(): void {
  isOff = true;
}

/** How texts for `stream` are painted. */
export function paintFor(stream: { isTerminal(): boolean }): Paint {
  const wanted = !isOff && wantsColour(stream.isTerminal(), (name) => Deno.env.get(name));
  return wanted ? painted : unpainted;
}

/**
 * Whether a stream gets colours: never with NO_COLOR; always with CLICOLOR_FORCE or
 * FORCE_COLOR, unless they are 0; otherwise on a terminal that has them.
 *
 * @param variable A variable of the environment. An empty one says nothing.
 */
export function wantsColour(
  terminal: boolean,
  variable: (name: string) => string | undefined,
): boolean {
  if (variable("NO_COLOR")) return false;
  for (const name of ["CLICOLOR_FORCE", "FORCE_COLOR"]) {
    const force = variable(name);
    if (force) return force !== "0";
  }
  return terminal && variable("CLICOLOR") !== "0" && variable("TERM") !== "dumb";
}
