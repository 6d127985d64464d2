/**
 * How long Kurma waits for servers, and how it tries again.
 *
 * @module
 */

import { KurmaError, type KurmaErrorOptions } from "../../../ffi/errors.ts";

/** Times in milliseconds. */
export interface Timing {
  /** From the request to the head of the answer. */
  headMs: number;
  /** Without a byte while one is waited for; also the window that `minimumRate` is taken over. */
  idleMs: number;
  /** Bytes a second, averaged over `idleMs` of waiting; slower is as bad as silent. */
  minimumRate: number;
  /** For a manifest, a token, a discovery page: everything, retries apart. */
  documentMs: number;
  /** Tries of one request, the first included. */
  attempts: number;
  /** Before the second try; doubles with each. */
  backoffMs: number;
  backoffMaxMs: number;
  /** The longest `Retry-After` that is waited for. */
  retryAfterMaxMs: number;
}

export const defaultTiming: Readonly<Timing> = {
  headMs: 30_000,
  idleMs: 30_000,
  minimumRate: 1024,
  documentMs: 120_000,
  attempts: 5,
  backoffMs: 500,
  backoffMaxMs: 15_000,
  retryAfterMaxMs: 60_000,
};

/** A peer did not do what was asked; another try may go better if `transient`. */
export class PeerError extends KurmaError {
  readonly transient: boolean;
  /** What the peer asked to wait before the next try. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    { transient, retryAfterMs, ...options }: KurmaErrorOptions & {
      transient: boolean;
      retryAfterMs?: number;
    },
  ) {
    super("unavailable", message, options);
    this.transient = transient;
    this.retryAfterMs = retryAfterMs;
  }
}

/**
 * Calls `attempt` until it does not end with a transient {@linkcode PeerError}.
 *
 * @param attempts At most; `timing.attempts` by default.
 * @throws What the last attempt threw, or the signal's reason.
 */
export async function retrying<Result>(
  timing: Timing,
  signal: AbortSignal | undefined,
  attempt: () => Promise<Result>,
  attempts = timing.attempts,
): Promise<Result> {
  for (let failures = 1;; failures++) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof PeerError && error.transient) || failures >= attempts) throw error;
      await backOff(error, failures, timing, signal);
    }
  }
}

/**
 * Waits before the try that follows `failures` failed ones: as long as the peer asked,
 * else exponentially longer, with jitter so that many clients do not come back at once.
 *
 * @throws `error` itself if the peer asks for more patience than there is.
 */
export async function backOff(
  error: PeerError,
  failures: number,
  timing: Timing,
  signal: AbortSignal | undefined,
): Promise<void> {
  const longest = Math.min(timing.backoffMs * 2 ** (failures - 1), timing.backoffMaxMs);
  const asked = error.retryAfterMs ?? 0;
  if (asked > timing.retryAfterMaxMs) throw error;
  await sleep(Math.max(asked, longest * (0.5 + Math.random() / 2)), signal);
}

/** Resolves after `ms`, or rejects with the signal's reason. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (signal?.aborted) return Promise.reject(signal.reason);
  const stop = () => {
    clearTimeout(timer);
    reject(signal?.reason);
  };
  const timer = setTimeout(() => {
    signal?.removeEventListener("abort", stop);
    resolve();
  }, ms);
  signal?.addEventListener("abort", stop, { once: true });
  return promise;
}

/**
 * Milliseconds that a `Retry-After` header asks for: seconds or an HTTP date.
 *
 * @returns undefined if there is none that can be read.
 * @see RFC 9110, section 10.2.3
 */
export function retryAfter(header: string | null, now = Date.now()): number | undefined {
  if (header === null) return undefined;
  if (/^[0-9]{1,9}$/.test(header)) return Number(header) * 1000;
  const date = /^[A-Z][a-z]+,? /.test(header) ? Date.parse(header) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}
