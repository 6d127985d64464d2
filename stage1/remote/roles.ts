/**
 * What a remote caller may be.
 *
 * @module
 */

/** From the least that may be done to everything. */
export type Role = "viewer" | "operator" | "admin";
