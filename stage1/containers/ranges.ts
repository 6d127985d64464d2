/**
 * Ranges of user ids: 65,536 ids of the host for each container that has its own.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";

/**
 * Where container ids start: above all that systemd's conventions give away, and all
 * 4,096 ranges below 2^31, where some programs stop counting.
 *
 * @see systemd's UIDS-GIDS.md
 */
const firstRange = 0x7000_0000;

/** Ids in a range. */
export const rangeSize = 65_536;

/** Of all ranges, the daemon's are the first; the others are for containers without it. */
export const daemonRanges = { first: 0, count: 3_072 };
export const foregroundRanges = { first: 3_072, count: 1_024 };

/** The first id of a range. */
export function firstId(range: number): number {
  return firstRange + range * rangeSize;
}

/**
 * The lowest range that is not taken. Low ones are given out again and again on purpose:
 * stage2 keeps a user namespace for each.
 *
 * @throws {KurmaError} `state`: all are taken.
 */
export function freeRange(
  { first, count }: typeof daemonRanges,
  taken: ReadonlySet<number>,
): number {
  for (let range = first; range < first + count; range++) if (!taken.has(range)) return range;
  throw new KurmaError(
    "state",
    `Cannot give user ids of its own to more than ${count} containers`,
    {
      fix: "Remove some containers, or let this one have the host's ids",
    },
  );
}

/** All ids that containers are given. */
export const allIds = {
  first: firstRange,
  count: (daemonRanges.count + foregroundRanges.count) * rangeSize,
};
