/**
 * Operations on the same thing one after the other, on different things at once.
 *
 * @module
 */

/** Queues by key. */
export class Queues {
  readonly #tails = new Map<string, Promise<void>>();

  /**
   * Runs `work` when all that was queued under `key` before has ended, well or not.
   *
   * Work must not queue further work under a key that it holds and wait for it.
   */
  async run<Value>(key: string, work: () => Promise<Value>): Promise<Value> {
    const before = this.#tails.get(key);
    const { promise: tail, resolve } = Promise.withResolvers<void>();
    this.#tails.set(key, tail);
    try {
      if (before) await before;
      return await work();
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
      resolve();
    }
  }

  /** Whether something runs or waits under `key`. */
  isBusy(key: string): boolean {
    return this.#tails.has(key);
  }

  /** Settles when nothing runs or waits. */
  async idle(): Promise<void> {
    while (this.#tails.size > 0) await Promise.all(this.#tails.values());
  }
}
