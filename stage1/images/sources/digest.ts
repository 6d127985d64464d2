/**
 * Content digests in the OCI grammar, `algorithm:hex`. A digest that came through
 * {@linkcode parseDigest} is safe as a file name; nothing else is.
 *
 * @module
 * @see OCI image-spec 1.1, descriptor.md, "Digests"
 */

import { createHash } from "node:crypto";
import { KurmaError } from "../../../ffi/errors.ts";

declare const checked: unique symbol;

/** `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits. */
export type Digest = string & { readonly [checked]: true };

/** The algorithms the image-spec registers, with their digits. */
const digits = { sha256: 64, sha512: 128 } as const;

export type Algorithm = keyof typeof digits;

const grammar = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Whether `text` is a digest that Kurma computes itself. */
export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && text.length <= 135 && grammar.test(text);
}

/**
 * Checks a digest that came from outside.
 *
 * @throws {KurmaError} `invalid`: another algorithm, upper case, a wrong length, a path.
 */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  throw new KurmaError("invalid", `Cannot use digest ${quote(text)}: ${complaint(text)}`, {
    fix: 'Write "sha256:" and 64 lower-case hexadecimal digits',
  });
}

function complaint(text: string): string {
  const colon = text.indexOf(":");
  if (colon < 0) return 'it has no "algorithm:" in front';
  const algorithm = text.slice(0, colon);
  if (!Object.hasOwn(digits, algorithm)) {
    return `algorithm ${quote(algorithm)} is not sha256 or sha512`;
  }
  const hex = text.slice(colon + 1);
  if (!/^[0-9a-f]*$/.test(hex)) return "its value is not lower-case hexadecimal";
  return `its value has ${hex.length} digits, not ${digits[algorithm as Algorithm]}`;
}

/** Outside text as it may stand in a message: quoted, printable, at most 80 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
    .replace(/[\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, "?");
}

/** A digest in the making: bytes go in, in order. */
export interface Digester {
  update(chunk: Uint8Array): void;
  /** The digest of all that went in; ends the digester. */
  digest(): Digest;
}

/** Starts a digest by the algorithm of `like`, or by sha256. */
export function digester(like?: Digest | Algorithm): Digester {
  const algorithm = like?.startsWith("sha512") ? "sha512" : "sha256";
  const hash = createHash(algorithm);
  return {
    update: (chunk) => void hash.update(chunk),
    digest: () => `${algorithm}:${hash.digest("hex")}` as Digest,
  };
}

/** The digest of bytes in memory, by the algorithm of `like`, or by sha256. */
export function digestOf(bytes: Uint8Array, like?: Digest | Algorithm): Digest {
  const whole = digester(like);
  whole.update(bytes);
  return whole.digest();
}
