/**
 * Gives up on a peer that is silent, or that drips just enough not to look silent.
 *
 * @module
 */

import { PeerError, type Timing } from "./timing.ts";

/**
 * Watches one exchange. Only time spent in {@linkcode Watchdog.wait} counts, so a slow
 * reader of ours is never blamed on the peer.
 */
export class Watchdog implements Disposable {
  readonly #controller = new AbortController();
  readonly #task: string;
  readonly #timing: Timing;
  readonly #outer: AbortSignal | undefined;
  readonly #deadline: number;
  readonly #timer: number;
  #streaming = false;
  #waitingSince: number | undefined;
  #waitedMs = 0;
  #received = 0;

  /**
   * @param task The exchange in messages, for example `fetch manifest "1.0"`.
   * @param outer Ends the exchange as well.
   * @param deadlineMs For the whole exchange; none by default.
   */
  constructor(task: string, timing: Timing, outer?: AbortSignal, deadlineMs = Infinity) {
    this.#task = task;
    this.#timing = timing;
    this.#outer = outer;
    this.#deadline = performance.now() + deadlineMs;
    const shortest = Math.min(timing.headMs, timing.idleMs, deadlineMs);
    this.#timer = setInterval(this.#look, Math.max(5, shortest / 8));
    if (outer?.aborted) this.#stop();
    else outer?.addEventListener("abort", this.#stop);
  }

  /** Aborted when the exchange is to end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Counts the time until `work` settles as waiting for the peer. */
  async wait<Result>(work: Promise<Result>): Promise<Result> {
    this.#waitingSince = performance.now();
    try {
      return await work;
    } finally {
      this.#waitedMs += performance.now() - this.#waitingSince;
      this.#waitingSince = undefined;
    }
  }

  /** The head of the answer has come: from here on, bytes are expected. */
  headArrived(): void {
    this.#streaming = true;
    this.#waitedMs = 0;
  }

  /** Counts bytes of the body. */
  received(bytes: number): void {
    this.#received += bytes;
  }

  /** Ends the exchange: what is still waited for is aborted. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#outer?.removeEventListener("abort", this.#stop);
    this.#controller.abort();
  }

  readonly #stop = () => this.#controller.abort(this.#outer?.reason);

  readonly #look = () => {
    const now = performance.now();
    const current = this.#waitingSince === undefined ? 0 : now - this.#waitingSince;
    if (now > this.#deadline) this.#giveUp("takes too long");
    const limitMs = this.#streaming ? this.#timing.idleMs : this.#timing.headMs;
    if (current > limitMs) this.#giveUp(`is silent for ${seconds(limitMs)}`);
    const waited = this.#waitedMs + current;
    if (!this.#streaming || waited < this.#timing.idleMs) return;
    if (this.#received < this.#timing.minimumRate * waited / 1000) {
      this.#giveUp(`sent ${this.#received} bytes in ${seconds(waited)}`);
    }
    this.#waitedMs = -current; // The next window begins now, also within a wait.
    this.#received = 0;
  };

  #giveUp(why: string): void {
    const message = `Cannot ${this.#task}: the server ${why}`;
    this.#controller.abort(new PeerError(message, { transient: true }));
  }
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
