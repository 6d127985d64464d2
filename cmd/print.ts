/**
 * The one place that writes to standard output and standard error.
 *
 * @module
 */

import { paintFor } from "./colour.ts";

/** The status of a process that wrote to a closed pipe: 128 + SIGPIPE. */
const brokenPipe = 141;

/**
 * Writes `text` and a line end to standard output.
 *
 * @returns The exit status: 0, or 141 if nobody reads any more, which is no error to speak of.
 */
export function print(text: string): number {
  return write(Deno.stdout, lines(text));
}

/** Writes bytes as they are, and returns what {@linkcode print} returns. */
export function pass(bytes: Uint8Array, to: "stdout" | "stderr"): number {
  return write(to === "stdout" ? Deno.stdout : Deno.stderr, bytes);
}

/** Writes `text` and a line end to standard error, if anybody reads there. */
export function complain(text: string): void {
  write(Deno.stderr, lines(text));
}

/**
 * Says on standard error what went wrong and what to do about it: to people on two lines,
 * elsewhere on one, so that a line of a log is a whole message.
 */
export function report(cause: string, fix?: string): void {
  const between = Deno.stderr.isTerminal() ? "\n  " : ". ";
  const who = paintFor(Deno.stderr)("kurma:", "red");
  complain(fix ? `${who} ${cause}${between}${fix}` : `${who} ${cause}`);
}

function lines(text: string): Uint8Array {
  return new TextEncoder().encode(text + "\n");
}

function write(stream: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): number {
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
    return 0;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return brokenPipe;
    throw error;
  }
}
