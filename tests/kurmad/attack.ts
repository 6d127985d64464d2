/**
 * What an attack on kurmad is.
 *
 * @module
 * @see docs/decisions/097-what-kurmad-withstands.md
 */

import type { Kurmad, Start } from "./daemon.ts";

/** One attack. */
export interface Attack {
  readonly number: number;
  /** What the attacker tries, as a sentence without a subject. */
  readonly what: string;
  readonly how?: Start;
  /** What it got; nothing if it was refused or contained. */
  carryOut(kurmad: Kurmad): Promise<unknown[]>;
}

/** Has the audit written to a file of the test's folder. */
export const audited = "--audit-target=DIR/audit";
