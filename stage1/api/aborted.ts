/**
 * Work that somebody may give up.
 *
 * @module
 */

/** Rejects as soon as the signal is aborted, whether the work heeds it or not. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    work.catch(() => undefined); // Nobody waits for it any more.
    promise.catch(() => undefined);
  }
}
