/**
 * What a caller may be who is not root on this machine.
 *
 * @module
 */

/** From the least that may be done to everything. */
export const roleOrder = ["viewer", "operator", "admin"] as const;

export type Role = typeof roleOrder[number];
