/**
 * The environment of a container, from the flags that ask for it.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";

type Env = Readonly<Record<string, string>>;

/** A larger file is hardly one of variables. */
const largestFile = 1 << 20;

/**
 * The variables that `files` and then `given` set, each once, as `NAME=value`. Where a
 * name occurs twice the last one holds. A bare `NAME` is copied from `own` and left out
 * if it is not there.
 *
 * @param files Paths of files with a variable a line; empty lines and `#` lines say nothing.
 * @throws {KurmaError} `missing` for a file that is not there, `invalid` for what is no variable.
 */
export function environment(
  files: readonly string[],
  given: readonly string[],
  own: Env,
): readonly string[] {
  const variables = new Map<string, string>();
  const set = (text: string, where: string) => {
    const end = text.indexOf("=");
    const name = end < 0 ? text : text.slice(0, end);
    if (!/^[^\s=]+$/.test(name) || text.includes("\0")) {
      throw new KurmaError("invalid", `Cannot set "${text}" from ${where}: no name of a variable`, {
        fix: "Write NAME=value, or NAME to copy a variable of your own",
      });
    }
    const value = end < 0 ? own[name] : text.slice(end + 1);
    if (value !== undefined) variables.set(name, value);
  };
  for (const path of files) {
    for (const [index, line] of fileText(path).split(/\r?\n/).entries()) {
      const text = line.trimStart();
      if (text !== "" && !text.startsWith("#")) set(text, `${path}, line ${index + 1}`);
    }
  }
  for (const text of given) set(text, "--env");
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

/** The text of the file at `path`, without the mark that some editors put in front. */
function fileText(path: string): string {
  let bytes: Uint8Array;
  try {
    const { size } = Deno.statSync(path);
    if (size > largestFile) {
      throw new KurmaError("invalid", `Cannot use "${path}" for --env-file: ${size} bytes`, {
        fix: `A file of variables has at most ${largestFile} bytes`,
      });
    }
    bytes = Deno.readFileSync(path);
  } catch (cause) {
    if (cause instanceof KurmaError) throw cause;
    const missing = cause instanceof Deno.errors.NotFound;
    throw new KurmaError(missing ? "missing" : "denied", `Cannot read "${path}" for --env-file`, {
      cause,
      fix: missing ? "Check the path" : "Make it readable for you",
    });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new KurmaError("invalid", `Cannot use "${path}" for --env-file: not UTF-8 text`, {
      cause,
      fix: "Write one NAME=value a line",
    });
  }
}
