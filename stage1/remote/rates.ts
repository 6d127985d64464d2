/**
 * What each client may cost: calls a second, and at once.
 *
 * @module
 */

import type { ClientLimits } from "./policy.ts";

interface Account {
  tokens: number;
  /** When they were counted, in milliseconds. */
  at: number;
  running: number;
}

/** A call that may go on until it is disposed of, or why it may not. */
export type Admission =
  | { readonly admitted: true; readonly call: Disposable }
  | { readonly admitted: false; readonly reason: string; readonly retryAfterMs: number };

/** One account a client. */
export class Rates {
  readonly #accounts = new Map<string, Account>();
  readonly #now: () => number;

  /** @param now Milliseconds, by a clock that nobody sets. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Clients of which something is remembered. */
  get size(): number {
    return this.#accounts.size;
  }

  /** Whether a client may make one more call now. */
  admit(client: string, { callsPerSecond, burst, callsAtOnce }: ClientLimits): Admission {
    const now = this.#now();
    let account = this.#accounts.get(client);
    if (account === undefined) {
      this.#forgetFull(now, callsPerSecond, burst);
      account = { tokens: burst, at: now, running: 0 };
      this.#accounts.set(client, account);
    }
    account.tokens = tokensOf(account, now, callsPerSecond, burst);
    account.at = now;
    if (account.running >= callsAtOnce) {
      const reason = `${callsAtOnce} calls of yours run already`;
      return { admitted: false, reason, retryAfterMs: 1_000 };
    }
    if (account.tokens < 1) {
      const retryAfterMs = Math.ceil(1_000 * (1 - account.tokens) / callsPerSecond);
      return { admitted: false, reason: "You have made too many calls", retryAfterMs };
    }
    account.tokens--;
    account.running++;
    let over = false;
    const end = () => {
      if (!over) account.running--;
      over = true;
    };
    return { admitted: true, call: { [Symbol.dispose]: end } };
  }

  /** Forgets clients of which there is nothing to remember. */
  #forgetFull(now: number, callsPerSecond: number, burst: number): void {
    for (const [client, account] of this.#accounts) {
      const isFull = tokensOf(account, now, callsPerSecond, burst) >= burst;
      if (account.running === 0 && isFull) this.#accounts.delete(client);
    }
  }
}

function tokensOf({ tokens, at }: Account, now: number, perSecond: number, burst: number): number {
  return Math.min(burst, tokens + (now - at) / 1_000 * perSecond);
}
