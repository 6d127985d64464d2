/**
 * The head of an HTTP/2 request: which fields may be there and what they make together.
 *
 * @module
 * @see RFC 9113, sections 8.2 and 8.3
 */

import type { Field } from "./hpack.ts";

/** What the fields of a request say. */
export interface Head {
  readonly method: string;
  readonly url: string;
  readonly path: string;
  readonly header: Headers;
  /** What its body has to have, in bytes. */
  readonly length: number | undefined;
}

const namePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const valuePattern = /^(?![ \t])[^\0\n\r]*(?<![ \t])$/;
const pathPattern = /^\/[\x21-\x7e]*$/;
const ofConnections = /^(connection|keep-alive|proxy-connection|transfer-encoding|upgrade)$/;
const pseudoNames = [":method", ":scheme", ":path", ":authority"];

/** The head that the fields of a request make, or in words what is wrong with them. */
export function requestHead(fields: readonly Field[]): Head | string {
  const pseudo = new Map<string, string>();
  const header = new Headers();
  let regular = false;
  for (const [name, value] of fields) {
    if (!valuePattern.test(value)) return `The value of ${name} has characters it may not have`;
    if (name.startsWith(":")) {
      if (regular) return `${name} comes behind a regular field`;
      if (!pseudoNames.includes(name)) return `No request has a ${name}`;
      if (pseudo.has(name)) return `${name} comes twice`;
      pseudo.set(name, value);
      continue;
    }
    regular = true;
    const problem = fieldProblem(name, value);
    if (problem) return problem;
    header.append(name, value);
  }
  const authority = pseudo.get(":authority");
  if (authority !== undefined) {
    // RFC 9113, 8.3.1: both are the same where both are there.
    const host = header.get("host");
    if (host !== null && host !== authority) return "Its host is not its :authority";
    header.set("host", authority);
  }
  const method = pseudo.get(":method");
  const target = pseudo.get(":path");
  if (method === undefined || !/^[A-Z]+$/.test(method)) return "It has no method";
  if (!/^https?$/.test(pseudo.get(":scheme") ?? "")) return "It has no scheme, or an unknown one";
  if (target === undefined || !pathPattern.test(target)) return "It has no path";
  const length = contentLength(header);
  if (length === null) return "Its content-length is no number";
  return { method, url: urlOf(target), path: target.split("?", 1)[0], header, length };
}

/** What is wrong with the fields behind a body. */
export function trailerProblem(fields: readonly Field[]): string | undefined {
  for (const [name, value] of fields) {
    if (name.startsWith(":")) return `${name} in a trailer`;
    const problem = valuePattern.test(value) ? fieldProblem(name, value) : `A bad value of ${name}`;
    if (problem) return problem;
  }
}

function fieldProblem(name: string, value: string): string | undefined {
  if (!namePattern.test(name)) return "A name has characters it may not have";
  if (ofConnections.test(name)) return `${name} is not for HTTP/2`;
  if (name === "te" && value !== "trailers") return "te may only be trailers";
}

/** The content-length; undefined if there is none, null if it is not one number. */
export function contentLength(header: Headers): number | undefined | null {
  const text = header.get("content-length");
  if (text === null) return undefined;
  return /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** The URL of a path with its query. Whatever a client calls us, its host is `kurma`. */
export function urlOf(target: string): string {
  return `http://kurma${target}`;
}
