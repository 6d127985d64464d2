/**
 * Picks the personality: what this executable is, by the name it was called.
 *
 * @module
 */

/** Runs the personality and returns the exit status. */
export async function dispatch(): Promise<number> {
  await Promise.resolve();
  console.log("kurma", build.version);
  return 0;
}

/** Set by the bundler (scripts/bundle.ts). */
declare const build: { version: string; commit: string; zig: string };
