/**
 * Leaves V8 behind: the process becomes the static program that Zig built, which
 * looks at the same intercepts (native.zig) and goes on as stage2 or stage3.
 *
 * @module
 */

import bytes from "../build/native/kurma-stage3" with { type: "bytes" };
import { kernel } from "./mod.ts";
import { MemoryProgram } from "./program.ts";

/** Replaces this process by the static program, with the same arguments and environment. */
export function becomeNative(): never {
  const program = new MemoryProgram("kurma", bytes);
  return kernel.become(program.descriptor, commandLine(), Deno.env.toObject());
}

/** argv as the kernel has it: `Deno.args` lacks the name we were called by. */
function commandLine(): string[] {
  return Deno.readTextFileSync("/proc/self/cmdline").split("\0").slice(0, -1);
}
