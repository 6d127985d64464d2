/**
 * The one place that writes to standard output and standard error.
 *
 * @module
 */

/** The status of a process that wrote to a closed pipe: 128 + SIGPIPE. */
const brokenPipe = 141;

/**
 * Writes `text` and a line end to standard output.
 *
 * @returns The exit status: 0, or 141 if nobody reads any more, which is no error to speak of.
 */
export function print(text: string): number {
  return write(Deno.stdout, text);
}

/** Writes `text` and a line end to standard error, if anybody reads there. */
export function complain(text: string): void {
  write(Deno.stderr, text);
}

/** Says on standard error what went wrong and, on a second line, what to do about it. */
export function report(cause: string, fix?: string): void {
  complain(fix ? `kurma: ${cause}\n  ${fix}` : `kurma: ${cause}`);
}

function write(stream: { writeSync(bytes: Uint8Array): number }, text: string): number {
  let bytes = new TextEncoder().encode(text + "\n");
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
    return 0;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return brokenPipe;
    throw error;
  }
}
