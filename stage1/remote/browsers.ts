/**
 * Tells requests that a web page has a browser make from those of programs. A browser has
 * its user's certificate and reaches what its user reaches: without this, any page could
 * call in its user's name.
 *
 * @module
 * @see Fetch, "HTTP extensions"; Fetch Metadata Request Headers
 */

import type { Request } from "../api/http2/exchange.ts";

/** Whom it lets through. */
export interface BrowserRules {
  /** Names and addresses that this machine has, in lower case, without ports. */
  readonly hosts: readonly string[];
  /** Origins of pages that may call. */
  readonly origins: readonly string[];
}

/** What a page may send without asking first, and no client of an API does. */
const simpleTypes = /^(?:text\/plain|application\/x-www-form-urlencoded|multipart\/form-data)\b/i;

/** Why a request is refused; undefined if it is not. */
export function browserRefusal(
  { method, header }: Pick<Request, "method" | "header">,
  { hosts, origins }: BrowserRules,
): string | undefined {
  const host = header.get("host");
  if (host === null) return "It does not say which host it is for";
  // A page of another name that was made to lead here (DNS rebinding) still says that name.
  if (!hosts.includes(nameOf(host))) return `This is not the host ${JSON.stringify(host)}`;
  if (method === "OPTIONS" || header.has("access-control-request-method")) {
    return "Web pages may not ask for permissions here";
  }
  if (header.has("upgrade") || header.has("sec-websocket-key")) {
    return "No other protocol is spoken here";
  }
  if (simpleTypes.test(header.get("content-type") ?? "")) {
    return "Forms and plain text of web pages are no calls";
  }
  const origin = header.get("origin");
  if (origin !== null) {
    return origins.includes(origin)
      ? undefined
      : `The web page ${JSON.stringify(origin)} may not call`;
  }
  const fetched = [...header.keys()].some((name) => name.startsWith("sec-fetch-"));
  return fetched ? "Web pages may not call" : undefined;
}

/** `host[:port]` without the port, in lower case. */
function nameOf(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, "").replace(/\.$/, "");
}
