/**
 * What this executable was built from and runs on.
 *
 * @module
 */

/** JSON, set by the bundler (scripts/bundle.ts); absent where the sources run unbundled. */
declare const build: string;

/** The parts of a version, in the order in which they are printed. */
export interface Version {
  kurma: string;
  commit: string;
  deno: string;
  zig: string;
  /** `uname -r` of the running kernel. */
  kernel: string;
}

/** The version of this executable, of what made it and of the kernel under it. */
export function version(): Version {
  const made: { version: string; commit: string; zig: string } = typeof build === "undefined"
    ? { version: "unbundled", commit: "unknown", zig: "unknown" }
    : JSON.parse(build);
  return {
    kurma: made.version,
    commit: made.commit,
    deno: Deno.version.deno,
    zig: made.zig,
    kernel: Deno.osRelease(),
  };
}

/** One part a line: its name, a space, its value. */
export function versionText(): string {
  return Object.entries(version()).map(([part, value]) => `${part} ${value}`).join("\n");
}
