/**
 * Whose an interrupt is that somebody types: the command's, or ours.
 *
 * @module
 */

/** Who types it twice within this time does not want to wait. */
const doubleMs = 1_000;

/** How many a command is given in any case. */
const most = 2;

/** Counts interrupts. */
export class Interrupts {
  #count = 0;
  #lastMs = -Infinity;
  readonly #now: () => number;

  /** @param now Milliseconds that never go back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Takes note of one more: true if it is for the command; false for a second one within a
   * second, or a third, by which somebody wants to be rid of us.
   */
  isPassedOn(): boolean {
    const isDouble = this.#now() - this.#lastMs < doubleMs;
    this.#lastMs = this.#now();
    return ++this.#count <= most && !isDouble;
  }
}
