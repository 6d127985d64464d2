/**
 * Where kurmad listens.
 *
 * @module
 */

/** Its socket unless it is told otherwise. */
export const defaultSocket = "/run/kurma/kurma.sock";
