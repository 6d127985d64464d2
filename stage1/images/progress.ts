/**
 * How fast long work goes, told seldom enough that telling costs nothing.
 *
 * @module
 */

import type { OnProgress } from "./image.ts";

/** Each subject is told of no more often, but for its end. */
const intervalMs = 200;

/** A speed over less than this says nothing. */
const settledMs = 500;

interface Meter {
  readonly startedMs: number;
  /** What an earlier attempt had left does not count as speed. */
  readonly startBytes: number;
  toldMs: number;
}

/**
 * The same options, whose `onProgress` is told of each subject a few times a second, with
 * its speed and the time it still takes.
 *
 * @param now Milliseconds that never go back.
 */
export function metered<Options extends { readonly onProgress?: OnProgress }>(
  options: Options,
  now: () => number = () => performance.now(),
): Options {
  const { onProgress } = options;
  if (onProgress === undefined) return options;
  const meters = new Map<string, Meter>();
  const tell: OnProgress = (progress) => {
    const { subject, step, bytes, total } = progress;
    if (step !== "read") {
      meters.delete(subject);
      return onProgress(progress);
    }
    let meter = meters.get(subject);
    if (meter === undefined) {
      meter = { startedMs: now(), startBytes: bytes, toldMs: -Infinity };
      meters.set(subject, meter);
    }
    if (now() - meter.toldMs < intervalMs && bytes !== total) return;
    meter.toldMs = now();
    const elapsedMs = now() - meter.startedMs;
    const perSecond = (bytes - meter.startBytes) / elapsedMs * 1000;
    if (elapsedMs < settledMs || perSecond <= 0) return onProgress(progress);
    const left = total === undefined ? {} : { leftMs: (total - bytes) / perSecond * 1000 };
    onProgress({ ...progress, perSecond, ...left });
  };
  return { ...options, onProgress: tell };
}
