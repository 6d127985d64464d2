/**
 * On whose behalf kurma-api calls: a header that it puts on each call to kurmad, and that
 * kurmad takes from root on its unix socket alone. It says who is to be named in the audit,
 * and what he may not give to containers.
 *
 * @module
 */

import { createContextKey } from "@connectrpc/connect";
import { KurmaError } from "../../ffi/errors.ts";
import { type Restrictions, restrictionsSchema } from "../containers/restrictions.ts";
import { type Role, roleOrder } from "../remote/roles.ts";
import { check, object, optional, type Schema, text, word } from "../schema.ts";
import type { Peer } from "./http2/exchange.ts";

/** A remote caller. */
export interface Via {
  readonly name: string;
  readonly role: Role;
  readonly credential: "certificate" | "token";
  /** Of the certificate or the token. */
  readonly fingerprint: string;
  /** Where he calls from. */
  readonly address: string;
  /** Left out: he may do all that root on this machine may. */
  readonly restrictions?: Restrictions;
}

/**
 * What a caller may not give to containers: `context.values.get(restrictionsKey)` in a handler.
 * Undefined: he may give everything.
 */
export const restrictionsKey = createContextKey<Restrictions | undefined>(undefined);

export const viaHeader = "kurma-via";

const schema: Schema<Via> = object<Via>({
  name: text(256),
  role: word(...roleOrder),
  credential: word("certificate", "token"),
  fingerprint: text(256),
  address: text(256),
  restrictions: optional(restrictionsSchema),
});

/** The header's value. */
export function writeVia(via: Via): string {
  return encodeURIComponent(JSON.stringify(via));
}

/**
 * Whom a call is made for, besides the one who makes it.
 *
 * @param peer Who makes it.
 * @throws {KurmaError} `denied`: he may not speak for others; `invalid`: it is not what a
 *   kurma-api of this version says.
 */
export function readVia(header: Headers, peer: Peer | undefined): Via | undefined {
  const value = header.get(viaHeader);
  if (value === null) return undefined;
  if (peer?.kind !== "unix" || peer.uid !== 0 || (peer.role ?? "admin") !== "admin") {
    throw new KurmaError("denied", `Cannot call on behalf of another: ${viaHeader} is root's`, {
      fix: "Run kurma-api as root, or leave the header out",
    });
  }
  let document: unknown;
  try {
    document = JSON.parse(decodeURIComponent(value));
  } catch (cause) {
    throw new KurmaError("invalid", `Cannot read ${viaHeader}: it is no JSON`, { cause });
  }
  return check(schema, document, viaHeader);
}
