/**
 * The first process of a machine, as this program carries it.
 *
 * @module
 */

import bytes from "../../build/native/kurma-init" with { type: "bytes" };
import { MemoryProgram } from "../../ffi/program.ts";

/** A static program: it needs no file system, and no libc. */
export const initBytes: Uint8Array = bytes;

/** The same in a memory file, for who becomes it. */
export function initProgram(): MemoryProgram {
  return new MemoryProgram("kurma-init", bytes);
}
