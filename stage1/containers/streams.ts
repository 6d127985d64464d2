/**
 * Pipes and terminals as streams. However many there are, they take one thread of the
 * pool while they wait.
 *
 * @module
 */

import { type Descriptor, isErrno, type Kernel, type Readiness } from "../../ffi/kernel.ts";

/** What one read takes; the API sends no longer pieces. */
const chunkSize = 64 * 1024;

/** Waits for all descriptors of this process that are read and written as streams. */
export class Reactor {
  readonly #kernel: Kernel;
  readonly #set: Descriptor;
  readonly #waiting = new Map<Descriptor, () => void>();
  #listens = false;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#set = kernel.pollSet();
  }

  /** Settles when a descriptor is ready. */
  ready(file: Descriptor, readiness: Readiness): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#kernel.watch(this.#set, file, readiness);
    this.#waiting.set(file, resolve);
    if (!this.#listens) this.#listen();
    return promise;
  }

  /** Ends a wait and closes the descriptor. */
  close(file: Descriptor): void {
    this.#kernel.unwatch(this.#set, file);
    this.#waiting.get(file)?.();
    this.#waiting.delete(file);
    this.#kernel.close(file);
  }

  async #listen(): Promise<void> {
    this.#listens = true;
    // With nobody waiting no thread waits either; one that does is told of later additions.
    while (this.#waiting.size > 0) {
      const file = await this.#kernel.ready(this.#set);
      this.#waiting.get(file)?.();
      this.#waiting.delete(file);
    }
    this.#listens = false;
  }
}

/** Something to read from. Closing ends a read that waits. */
export class Source implements Disposable {
  readonly #kernel: Kernel;
  readonly #reactor: Reactor;
  readonly #file: Descriptor;
  #closed = false;

  /** @param file Taken over. */
  constructor(kernel: Kernel, reactor: Reactor, file: Descriptor) {
    this.#kernel = kernel;
    this.#reactor = reactor;
    this.#file = file;
  }

  /** What comes, in pieces, until all who can write are gone or it is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    const buffer = new Uint8Array(chunkSize);
    while (!this.#closed) {
      await this.#reactor.ready(this.#file, "readable");
      if (this.#closed) return;
      const length = this.#read(buffer);
      if (length === undefined) continue;
      if (length === 0) return;
      yield buffer.slice(0, length);
    }
  }

  #read(buffer: Uint8Array): number | undefined {
    try {
      return this.#kernel.read(this.#file, buffer);
    } catch (error) {
      if (isErrno(error, "EAGAIN")) return undefined;
      // All who had the terminal open are gone.
      if (isErrno(error, "EIO")) return 0;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reactor.close(this.#file);
  }
}

/** Something to write to. */
export class Sink implements Disposable {
  readonly #kernel: Kernel;
  readonly #reactor: Reactor;
  readonly #file: Descriptor;
  #closed = false;

  /** @param file Taken over. */
  constructor(kernel: Kernel, reactor: Reactor, file: Descriptor) {
    this.#kernel = kernel;
    this.#reactor = reactor;
    this.#file = file;
  }

  /** Writes all of it; false if nobody reads any more, or it is closed. */
  async write(bytes: Uint8Array): Promise<boolean> {
    let rest = bytes;
    while (rest.length > 0 && !this.#closed) {
      await this.#reactor.ready(this.#file, "writable");
      if (this.#closed) return false;
      try {
        rest = rest.subarray(this.#kernel.write(this.#file, rest));
      } catch (error) {
        if (isErrno(error, "EPIPE", "EIO")) return false;
        if (!isErrno(error, "EAGAIN")) throw error;
      }
    }
    return !this.#closed;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reactor.close(this.#file);
  }
}
