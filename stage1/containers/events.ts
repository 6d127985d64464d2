/**
 * What happens, told to who wants to hear it: the last few thousand events are kept, and
 * who reads slowly misses some rather than holding everybody up.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";

/** What happened. */
export interface News {
  /** What it happened to. */
  readonly kind: "container" | "pod" | "volume" | "image" | "daemon";
  readonly id: string;
  /** At that time. */
  readonly name: string;
  /** `create`, `start`, `exit`, … */
  readonly action: string;
  readonly attributes?: Readonly<Record<string, string>>;
}

/** News with their number and time. */
export interface Event extends News {
  /** Counts up from 1, over restarts of kurmad too. */
  readonly sequence: number;
  /** Milliseconds since 1970. */
  readonly time: number;
}

/** The last events, and who listens. {@link ./state.ts} keeps them on disk. */
export class Events {
  /** How many are kept. */
  static readonly kept = 4096;
  readonly #ring: Event[];
  readonly #listeners = new Set<() => void>();
  #closed = false;

  /** @param earlier What is kept of earlier ones, oldest first. */
  constructor(earlier: readonly Event[] = []) {
    this.#ring = [...earlier];
  }

  /** The number of the last event; 0 if there never was one. */
  get last(): number {
    return this.#ring.at(-1)?.sequence ?? 0;
  }

  /** Tells of an event; its number follows the last one's. */
  publish(event: Event): void {
    this.#ring.push(event);
    if (this.#ring.length > Events.kept) this.#ring.shift();
    this.#wake();
  }

  /** The number before the first event that is kept from a time on: milliseconds since 1970. */
  before(time: number): number {
    const first = this.#ring.find((event) => event.time >= time);
    return first === undefined ? this.last : first.sequence - 1;
  }

  /**
   * Events as they come, until `signal` is aborted or {@linkcode close} is called.
   *
   * @param after Start behind this number.
   * @throws {KurmaError} `unavailable`: the reader fell behind by more than is kept.
   */
  async *follow(after: number, signal?: AbortSignal): AsyncGenerator<Event, void, undefined> {
    let at = Math.max(after, (this.#ring[0]?.sequence ?? 1) - 1);
    while (!signal?.aborted) {
      const first = this.#ring[0]?.sequence ?? at + 1;
      if (at + 1 < first) {
        throw new KurmaError("unavailable", `Cannot tell what happened after event ${at}`, {
          fix: "Read faster; what is kept can be asked for again",
        });
      }
      const next = this.#ring[at + 1 - first];
      if (next !== undefined) {
        at = next.sequence;
        yield next;
      } else if (this.#closed) {
        return;
      } else {
        await this.#news(signal);
      }
    }
  }

  /** Lets all who follow come to an end. */
  close(): void {
    this.#closed = true;
    this.#wake();
  }

  #news(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#listeners.delete(done);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      this.#listeners.add(done);
      signal?.addEventListener("abort", done);
    });
  }

  #wake(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}
