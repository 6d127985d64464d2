/**
 * Assertions for tests, in one place so that their library is one line to swap.
 *
 * @module
 */

import assert from "node:assert/strict";

export { assert };

/** Fails unless `actual` equals `expected`, deeply and strictly. */
export const assertEquals: typeof assert.deepStrictEqual = assert.deepStrictEqual;

/** Fails unless `actual` matches `expected`. */
export const assertMatch: typeof assert.match = assert.match;

/**
 * The error that `promise` or `call` ends with.
 *
 * @throws if it ends well, or with something that is no `Error`.
 */
export async function rejection(work: Promise<unknown> | (() => unknown)): Promise<Error> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new assert.AssertionError({ message: "Expected an error, but all went well" });
}
