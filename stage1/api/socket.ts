/**
 * Where kurmad listens.
 *
 * @module
 */

/** Its socket unless it is told otherwise. */
export const defaultSocket = "/run/kurma/kurma.sock";

/** Whether a socket is at `path`; that somebody listens there is another question. */
export function isSocket(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
