/**
 * What a client has to know of a server: its address, whom to trust, and what to show. It
 * is the same text as a file that kurma-api gives away and as a context of the command line.
 *
 * @module
 */

import { createPrivateKey, X509Certificate } from "node:crypto";
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
  const { certificate, key } = bundle;
  if ((certificate === undefined) !== (key === undefined)) {
    throw new KurmaError("invalid", `Cannot use ${what}: it has a certificate or a key alone`, {
      fix: "Both belong together",
    });
  }
  if (certificate !== undefined && key !== undefined) checkPair(certificate, key, what);
  return bundle;
}

/** Deno takes these for granted: it ends the process where they are not what they should be. */
function checkPair(certificate: string, key: string, what: string): void {
  const wrong = (why: string, cause?: unknown) =>
    new KurmaError("invalid", `Cannot use ${what}: ${why}`, {
      cause,
      fix: "Take the certificate and the key as they were made, in PEM, the key without a password",
    });
  let isPair: boolean;
  try {
    const end = "-----END CERTIFICATE-----";
    const [own] = certificate.split(end).slice(0, -1)
      .map((block) => new X509Certificate(block.slice(block.indexOf("-----BEGIN")) + end + "\n"));
    if (own === undefined) throw wrong("its certificate is not PEM");
    isPair = own.checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    if (cause instanceof KurmaError) throw cause;
    throw wrong("its certificate or its key cannot be read", cause);
  }
  if (!isPair) throw wrong("its key is that of another certificate");
}

/** A bundle as a file has it. */
export function bundleText(bundle: Bundle): string {
  return JSON.stringify(bundle, undefined, 2) + "\n";
}
