/**
 * What goes out on a connection: frames gather while a write is under way, and leave in
 * one write. Who sends data waits while too much is queued.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import type { Duplex } from "./exchange.ts";

/** Past this, who sends data waits. */
const highWater = 256 * 1024;

/** Pieces are joined into writes of at most this. */
const joined = 64 * 1024;

/** What pieces are joined in: one write at a time has it, others make one of their own. */
let spare: Uint8Array | undefined;

export class Output {
  readonly #duplex: Duplex;
  readonly #failed: (error: unknown) => void;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #scheduled = false;
  #writing: Promise<void> | undefined;
  #closed = false;
  #waiting: (() => void)[] = [];

  /** @param failed Told once, when the other side takes no more. */
  constructor(duplex: Duplex, failed: (error: unknown) => void) {
    this.#duplex = duplex;
    this.#failed = failed;
  }

  /** Bytes that are not written yet. */
  get queued(): number {
    return this.#queued;
  }

  get isFull(): boolean {
    return this.#queued >= highWater;
  }

  /** Queues bytes, which may not change any more. They leave at the end of this turn. */
  push(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#add(bytes);
    if (this.#scheduled || this.#writing !== undefined) return;
    this.#scheduled = true;
    setImmediate(() => this.flush());
  }

  /** Queues bytes as {@linkcode push} does, and lets all that is queued leave now. */
  send(pieces: readonly Uint8Array[]): void {
    if (this.#closed) return;
    for (const bytes of pieces) this.#add(bytes);
    this.flush();
  }

  #add(bytes: Uint8Array): void {
    this.#queue.push(bytes);
    this.#queued += bytes.length;
  }

  /** Lets what is queued leave now. */
  flush(): void {
    this.#scheduled = false;
    if (this.#writing === undefined && this.#queued > 0) this.#writing = this.#write();
  }

  /** Settles when there is room, or when the connection is over. */
  async room(): Promise<void> {
    while (this.isFull && !this.#closed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Settles when all that was queued is written, or the connection is over. */
  async drained(): Promise<void> {
    this.flush();
    while (this.#writing !== undefined && !this.#closed) await this.#writing;
  }

  /** Drops what is queued. */
  close(): void {
    this.#closed = true;
    this.#queue = [];
    this.#queued = 0;
    this.#wake();
  }

  async #write(): Promise<void> {
    try {
      while (this.#queue.length > 0 && !this.#closed) {
        const { bytes, buffer } = this.#next();
        for (let at = 0; at < bytes.length;) at += await this.#duplex.write(bytes.subarray(at));
        spare ??= buffer;
        if (this.#closed) break;
        this.#queued -= bytes.length;
        if (!this.isFull) this.#wake();
      }
    } catch (error) {
      this.close();
      this.#failed(error);
    } finally {
      this.#writing = undefined;
    }
  }

  /** What is written next, and the buffer it was joined in. */
  #next(): { bytes: Uint8Array; buffer?: Uint8Array } {
    let length = 0;
    let count = 0;
    while (count < this.#queue.length && length + this.#queue[count].length <= joined) {
      length += this.#queue[count++].length;
    }
    if (count <= 1) return { bytes: this.#queue.shift()! };
    const buffer = spare ?? new Uint8Array(joined);
    spare = undefined;
    let at = 0;
    for (const part of this.#queue.splice(0, count)) {
      buffer.set(part, at);
      at += part.length;
    }
    return { bytes: buffer.subarray(0, at), buffer };
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
