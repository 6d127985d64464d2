/**
 * The runtime's own libraries, for who needs them: an import would load them at each start,
 * which takes longer than many a command.
 *
 * @module
 */

/** What `node:util` has. */
export function util(): typeof import("node:util") {
  // deno-lint-ignore no-process-global -- Importing it would load what this is to avoid.
  return process.getBuiltinModule("node:util");
}

/** What `node:fs` has. */
export function files(): typeof import("node:fs") {
  // deno-lint-ignore no-process-global -- As above.
  return process.getBuiltinModule("node:fs");
}

/** What `node:path` has. */
export function paths(): typeof import("node:path") {
  // deno-lint-ignore no-process-global -- As above.
  return process.getBuiltinModule("node:path");
}
