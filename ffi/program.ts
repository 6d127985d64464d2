/**
 * Static programs that Zig built, as this process carries them.
 *
 * @module
 */

import type { Descriptor } from "./kernel.ts";
import { kernel } from "./mod.ts";

/** A program in a sealed memory file, made when it is first asked for. */
export class MemoryProgram {
  #descriptor: Descriptor | undefined;

  /** @param name Shown as `/memfd:NAME` where the program runs. */
  constructor(private readonly name: string, private readonly bytes: Uint8Array) {}

  /**
   * `/proc/self/fd/N` runs it, and so does {@linkcode kernel.become}. It stays open until
   * this process ends.
   *
   * @throws {KernelError} `step` is `memfd`.
   */
  get descriptor(): Descriptor {
    return this.#descriptor ??= kernel.memfd(this.name, this.bytes, "program");
  }
}
