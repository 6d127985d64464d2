/**
 * What a client may cost the server.
 *
 * @module
 */

/** Times are milliseconds, sizes are bytes. */
export interface Limits {
  /** Connections at once. When all are taken, the one idle longest makes room. */
  readonly connections: number;
  /** Calls at once on a connection; also what a reset left running counts. */
  readonly streams: number;
  /** The header fields of a request, counted as in RFC 9113, 6.5.2. */
  readonly headerList: number;
  /** What a client may send of a request before it is read. */
  readonly streamWindow: number;
  /** Unread request bytes of all connections together, past which new ones wait. */
  readonly buffered: number;
  /** From the connection to its first whole request head or SETTINGS. */
  readonly handshakeMs: number;
  /** Without any call. */
  readonly idleMs: number;
  /** For a client that was answered before it had sent all to hear that, and to go. */
  readonly lingerMs: number;
  /** Silence during a call after which the client is asked whether it is there; 0 for never. */
  readonly pingAfterMs: number;
  /** For its answer. */
  readonly pingAnswerMs: number;
  /** Frames that cost an answer or do nothing: as many at once … */
  readonly idleFrames: number;
  /** … and so many more a second, besides those that useful frames earn. */
  readonly idleFramesPerSecond: number;
  /** Answers to frames that the client does not read. */
  readonly unreadAnswers: number;
}

export const defaultLimits: Limits = {
  connections: 1024,
  streams: 128,
  headerList: 64 * 1024,
  streamWindow: 512 * 1024,
  buffered: 64 * 1024 * 1024,
  handshakeMs: 10_000,
  idleMs: 300_000,
  lingerMs: 2_000,
  pingAfterMs: 0,
  pingAnswerMs: 20_000,
  idleFrames: 4096,
  idleFramesPerSecond: 200,
  unreadAnswers: 256 * 1024,
};

/** Over TCP a client may vanish without a word. */
export const tcpLimits: Limits = { ...defaultLimits, pingAfterMs: 30_000 };

/** Unread request bytes of a whole server. */
export class Budget {
  #used = 0;

  constructor(readonly limit: number) {}

  get isSpent(): boolean {
    return this.#used > this.limit;
  }

  get used(): number {
    return this.#used;
  }

  take(bytes: number): void {
    this.#used += bytes;
  }

  give(bytes: number): void {
    this.#used -= bytes;
  }
}

/** Tokens that time and useful work earn, and frames that do nothing spend. */
export class Patience {
  #tokens: number;
  #refilled: number;

  /** @param now Milliseconds of a clock that only goes forward. */
  constructor(readonly most: number, readonly perSecond: number, now: number) {
    this.#tokens = most;
    this.#refilled = now;
  }

  earn(tokens: number): void {
    this.#tokens = Math.min(this.most, this.#tokens + tokens);
  }

  /** @returns Whether there were enough. */
  spend(tokens: number, now: number): boolean {
    if (this.#tokens < tokens) {
      this.earn((now - this.#refilled) / 1000 * this.perSecond);
      this.#refilled = now;
    }
    this.#tokens -= tokens;
    return this.#tokens >= 0;
  }
}
