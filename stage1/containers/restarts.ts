/**
 * When a container that has ended is started again.
 *
 * @module
 */

import type { Status } from "./record.ts";
import type { RestartSpec } from "./spec.ts";

const firstDelayMs = 100;
const lastDelayMs = 60_000;

/** Who ran so long was well: its next failure counts as the first one. */
const wellMs = 10_000;

/**
 * Milliseconds to wait before the next start; undefined if the policy wants none.
 * They double with each restart in a row, up to a minute.
 *
 * @param ranMs How long it ran, by a clock that nobody sets.
 */
export function restartDelay(
  { policy, maxRetries = Infinity }: RestartSpec,
  { wanted, exit, restarts }: Pick<Status, "wanted" | "exit" | "restarts">,
  ranMs: number,
): number | undefined {
  const inRow = ranMs >= wellMs ? 0 : restarts;
  const again = policy === "on-failure" ? exit?.code !== 0 && inRow < maxRetries : policy !== "no";
  if (!wanted || !again) return undefined;
  return Math.min(firstDelayMs * 2 ** inRow, lastDelayMs);
}

/**
 * Whether a container that does not run is to be started because the daemon starts.
 * `always` means it: also one that somebody stopped.
 */
export function startsWithDaemon(
  { policy, maxRetries = Infinity }: RestartSpec,
  { wanted, exit, restarts, run }: Pick<Status, "wanted" | "exit" | "restarts" | "run">,
): boolean {
  if (run === 0) return false; // Nobody has started it yet.
  switch (policy) {
    case "no":
      return false;
    case "always":
      return true;
    case "unless-stopped":
      return wanted;
    case "on-failure":
      return wanted && exit?.code !== 0 && restarts < maxRetries;
  }
}
