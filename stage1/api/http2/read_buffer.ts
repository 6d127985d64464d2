/**
 * What was read of a connection and not yet understood. It begins small, so that a
 * connection that says nothing costs next to nothing, and grows with what it is for.
 *
 * @module
 */

import type { Duplex } from "./exchange.ts";

const smallest = 1024;
const largest = 256 * 1024;

export class ReadBuffer {
  bytes = new Uint8Array(smallest);
  /** Where what is not yet understood begins and ends. */
  start = 0;
  end = 0;
  #reads = false;

  /** Bytes that are not yet understood. */
  get length(): number {
    return this.end - this.start;
  }

  /** `length` bytes from `at` behind the start, good until the next {@linkcode fill}. */
  view(at: number, length: number): Uint8Array {
    return this.bytes.subarray(this.start + at, this.start + at + length);
  }

  skip(bytes: number): void {
    this.start += bytes;
  }

  /** Makes room for `size` bytes in all. */
  reserve(size: number): void {
    if (size > this.bytes.length) this.#move(Math.min(largest, 2 ** Math.ceil(Math.log2(size))));
  }

  /** Gives memory back, if there is nothing to keep and no read is under way into it. */
  shrink(): void {
    if (this.length > 0 || this.#reads || this.bytes.length <= smallest) return;
    this.#move(smallest);
  }

  /**
   * Reads more.
   *
   * @returns false at the end of the connection.
   */
  async fill(duplex: Duplex): Promise<boolean> {
    if (this.start > 0) this.#move(this.bytes.length);
    if (this.end === this.bytes.length) this.#move(Math.min(largest, this.bytes.length * 4));
    const room = this.bytes.subarray(this.end);
    // A read of nothing answers at once, and whoever waits for more would do so for ever.
    if (room.length === 0) throw new Error("The buffer is full");
    this.#reads = true;
    const count = await duplex.read(room).finally(() => (this.#reads = false));
    if (count === null) return false;
    this.end += count;
    // A read that took all there was room for: the next one may take more.
    if (count === room.length && count >= this.bytes.length / 2 && this.bytes.length < largest) {
      this.#move(this.bytes.length * 4);
    }
    return true;
  }

  #move(size: number): void {
    const kept = this.bytes.subarray(this.start, this.end);
    if (size !== this.bytes.length) this.bytes = new Uint8Array(size);
    this.bytes.set(kept); // As memmove(3): they may overlap.
    this.end = kept.length;
    this.start = 0;
  }
}
