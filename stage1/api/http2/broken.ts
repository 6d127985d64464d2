/**
 * Which errors only say that a connection is no more.
 *
 * @module
 */

const broken = [
  Deno.errors.BadResource,
  Deno.errors.BrokenPipe,
  Deno.errors.ConnectionAborted,
  Deno.errors.ConnectionReset,
  Deno.errors.Interrupted,
  Deno.errors.NotConnected,
  Deno.errors.TimedOut,
];

/** Whether reading or writing failed because the connection is over. */
export function isBroken(error: unknown): boolean {
  return broken.some((kind) => error instanceof kind);
}
