/**
 * The body of a request between the connection that brings it and the handler that reads
 * it. How much it may hold is the sender's window; small pieces are joined, so that it
 * takes about as much memory as it has bytes.
 *
 * @module
 */

import { ClientGone } from "./exchange.ts";

/** Pieces smaller than this share a block. */
const small = 4096;
const blockSize = 16_384;

export class Body implements AsyncIterableIterator<Uint8Array> {
  readonly #onRead: (bytes: number) => void;
  readonly #pieces: Uint8Array[] = [];
  /** The last piece may have room behind it: the whole block, and how much of it is used. */
  #block: Uint8Array | undefined;
  #blockUsed = 0;
  #held = 0;
  #ended = false;
  #error: Error | undefined;
  #cancelled = false;
  #wake: (() => void) | undefined;

  /** @param onRead Told how many bytes were read, or will never be. */
  constructor(onRead: (bytes: number) => void) {
    this.#onRead = onRead;
  }

  /** Bytes that nobody has read yet. */
  get held(): number {
    return this.#held;
  }

  /** Adds a copy of bytes. */
  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    if (this.#cancelled || this.#error !== undefined) {
      this.#onRead(bytes.length);
      return;
    }
    this.#held += bytes.length;
    if (bytes.length >= small) {
      this.#seal();
      this.#pieces.push(bytes.slice());
    } else {
      if (this.#block === undefined || this.#blockUsed + bytes.length > blockSize) {
        this.#seal();
        this.#block = new Uint8Array(blockSize);
        this.#blockUsed = 0;
        this.#pieces.push(this.#block);
      }
      this.#block.set(bytes, this.#blockUsed);
      this.#blockUsed += bytes.length;
    }
    this.#wake?.();
  }

  /** No more will come. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** No more will come, and it is not whole. What was not read is dropped. */
  fail(error: Error): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#drop();
    this.#wake?.();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    while (true) {
      if (this.#cancelled) return { done: true, value: undefined };
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        const value = piece === this.#block ? piece.subarray(0, this.#blockUsed) : piece;
        if (piece === this.#block) this.#block = undefined;
        this.#held -= value.length;
        this.#onRead(value.length);
        return { done: false, value };
      }
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return { done: true, value: undefined };
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }

  /** The reader wants no more: what comes is dropped. */
  return(): Promise<IteratorResult<Uint8Array>> {
    this.#cancelled = true;
    this.#drop();
    this.#wake?.();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error?: unknown): Promise<IteratorResult<Uint8Array>> {
    this.fail(error instanceof Error ? error : new ClientGone());
    return Promise.reject(error);
  }

  /** The last block takes no more: only what is used of it counts. */
  #seal(): void {
    if (this.#block === undefined) return;
    this.#pieces[this.#pieces.length - 1] = this.#block.subarray(0, this.#blockUsed);
    this.#block = undefined;
  }

  #drop(): void {
    this.#pieces.length = 0;
    this.#block = undefined;
    const held = this.#held;
    this.#held = 0;
    if (held > 0) this.#onRead(held);
  }
}
