/**
 * JSON from outside, read with limits before anything looks at it.
 *
 * @module
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "./digest.ts";

/** A JSON object of which nothing is known yet. */
export type JsonObject = { readonly [key: string]: unknown };

/** What {@linkcode parseJsonObject} takes by default. */
export const jsonLimits = { bytes: 4 * 1024 * 1024, depth: 64 } as const;

/**
 * Reads bytes as one JSON object.
 *
 * @param what Names the document in messages, for example `manifest of "example.com/app:1"`.
 * @param limits Bytes at most, and nesting at most.
 * @throws {KurmaError} `invalid`: too large, too deep, not UTF-8, not JSON, not an object.
 */
export function parseJsonObject(
  bytes: Uint8Array,
  what: string,
  limits: { bytes: number; depth: number } = jsonLimits,
): JsonObject {
  if (bytes.length > limits.bytes) {
    throw unreadable(what, `it is larger than ${limits.bytes} bytes`);
  }
  if (depthOf(bytes) > limits.depth) {
    throw unreadable(what, `it is nested deeper than ${limits.depth}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw unreadable(what, "it is not JSON", cause);
  }
  if (!isObject(value)) throw unreadable(what, "it is not a JSON object");
  return value;
}

/** Whether `value` is an object, and neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The text under `key`, or undefined if the key is absent.
 *
 * @throws {KurmaError} `invalid`: it is there, but no text.
 */
export function optionalText(object: JsonObject, key: string, what: string): string | undefined {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw unreadable(what, `${quote(key)} is not text`);
  return value;
}

/**
 * The texts by name under `key`; empty if the key is absent.
 *
 * @throws {KurmaError} `invalid`: it is no object, or holds something else than text.
 */
export function texts(object: JsonObject, key: string, what: string): Record<string, string> {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw unreadable(what, `${quote(key)} is not an object`);
  const entries = Object.entries(value);
  for (const [name, text] of entries) {
    if (typeof text !== "string") throw unreadable(what, `${quote(name)} is not text`);
  }
  return Object.fromEntries(entries) as Record<string, string>;
}

/** The error of a document from outside that does not say what it has to. */
export function unreadable(what: string, why: string, cause?: unknown): KurmaError {
  return new KurmaError("invalid", `Cannot read ${what}: ${why}`, { cause });
}

/** How deep brackets nest outside of strings; what is no JSON fails later. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === 0x5c) at++; // A backslash takes the next byte with it.
      else if (byte === 0x22) inString = false;
    } else if (byte === 0x22) inString = true;
    else if (byte === 0x5b || byte === 0x7b) deepest = Math.max(deepest, ++depth);
    else if (byte === 0x5d || byte === 0x7d) depth--;
  }
  return deepest;
}
