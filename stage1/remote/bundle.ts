/**
 * What a client has to know of a server: its address, whom to trust, and what to show. It
 * is the same text as a file that kurma-api gives away and as a context of the command line.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { check, object, optional, pattern, type Schema, text } from "../schema.ts";

/** All but the address are PEM; a token is text. */
export interface Bundle {
  /** As `-H` takes it: `tcp://example.com:12312`. */
  readonly host: string;
  /** Whose certificates are good for the server; the system's if there is none. */
  readonly ca?: string | undefined;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  readonly token?: string | undefined;
}

const pem = text(64 * 1024, "PEM of at most 64 KiB");

const schema: Schema<Bundle> = object<Bundle>({
  host: text(512, "an address"),
  ca: optional(pem),
  certificate: optional(pem),
  key: optional(pem),
  token: optional(pattern(/^[\w~+/.=-]{1,512}$/, "a token")),
});

/**
 * Reads a bundle.
 *
 * @param what Names it in messages.
 * @throws {KurmaError} `invalid`.
 */
export function parseBundle(json: string, what: string): Bundle {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new KurmaError("invalid", `Cannot use ${what}: it is not JSON`, {
      cause,
      fix: "It is a file that kurma api client writes",
    });
  }
  const bundle = check(schema, value, what);
  if ((bundle.certificate === undefined) !== (bundle.key === undefined)) {
    throw new KurmaError("invalid", `Cannot use ${what}: it has a certificate or a key alone`, {
      fix: "Both belong together",
    });
  }
  return bundle;
}

/** A bundle as a file has it. */
export function bundleText(bundle: Bundle): string {
  return JSON.stringify(bundle, undefined, 2) + "\n";
}
