/**
 * A piece of work that tells how far it is, as a stream of messages.
 *
 * @module
 */

import type { OnProgress, Progress } from "../images/mod.ts";

/**
 * What `work` tells, then what it returns. A reader that is slow misses steps of a subject
 * but never the newest, so what waits for it is bounded by the number of subjects.
 *
 * @param work Given a signal that is aborted with `signal`, or when nobody reads on.
 */
export async function* withProgress<Result>(
  signal: AbortSignal,
  work: (onProgress: OnProgress, signal: AbortSignal) => Promise<Result>,
): AsyncGenerator<{ progress: Progress } | { result: Result }> {
  const news = new Map<string, Progress>();
  const nobodyReads = new AbortController();
  let wake = () => {};
  let done = false;
  const working = work((progress) => {
    news.set(progress.subject, progress);
    wake();
  }, AbortSignal.any([signal, nobodyReads.signal]));
  const over = () => {
    done = true;
    wake();
  };
  working.then(over, over);
  try {
    while (!done || news.size > 0) {
      if (news.size === 0) await new Promise<void>((resolve) => (wake = resolve));
      for (const [subject, progress] of news) {
        news.delete(subject);
        yield { progress };
      }
    }
    yield { result: await working };
  } finally {
    nobodyReads.abort();
    await working.catch(() => undefined); // Told above, unless nobody listens.
  }
}
