/**
 * The static program that Zig built (native.zig), as this process carries it.
 *
 * @module
 */

import bytes from "../build/native/kurma-stage3" with { type: "bytes" };
import type { Descriptor } from "./kernel.ts";
import { kernel } from "./mod.ts";

let made: Descriptor | undefined;

/**
 * The program in a sealed memory file, made once: `/proc/self/fd/N` runs it, and so
 * does {@linkcode kernel.become}. It stays open until this process ends.
 *
 * @throws {KernelError} `step` is `memfd`.
 */
export function program(): Descriptor {
  return made ??= kernel.memfd("kurma", bytes, "program");
}
