/**
 * cosign's key signatures of registry images. The signature of the image with digest
 * `sha256:HEX` lies in the same repository under the tag `sha256-HEX.sig`: a manifest
 * whose layers are payloads, with the signature of each in an annotation.
 *
 * @module
 * @see sigstore/cosign specs/SIGNATURE_SPEC.md; containers-signature(5), "simple signing"
 */

import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { basename } from "node:path";
import { KurmaError } from "../../../ffi/errors.ts";
import { type Digest, digestOf, quote } from "../sources/digest.ts";
import { isObject, parseJsonObject } from "../sources/json.ts";
import type { RegistryReference } from "../sources/reference.ts";
import { type RegistryClient, repositoryOf } from "../sources/registry.ts";
import type { KeyFile } from "./files.ts";

/** What was signed, and the signature. */
export interface CosignSignature {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

const payloadType = "application/vnd.dev.cosign.simplesigning.v1+json";
const signatureAnnotation = "dev.cosignproject.cosign/signature";
const limits = { signatures: 32, payloadBytes: 64 * 1024 } as const;

/**
 * Fetches the signatures of `digest` from where the image is.
 *
 * @returns None if there is no signature tag.
 */
export async function fetchSignatures(
  client: RegistryClient,
  { digest: _digest, ...reference }: RegistryReference,
  digest: Digest,
  signal?: AbortSignal,
): Promise<CosignSignature[]> {
  const tag = `${digest.replace(":", "-")}.sig`;
  const document = await client.fetchDocument(reference, tag, { signal }).catch((error) => {
    if (error instanceof KurmaError && error.code === "missing") return undefined;
    throw error;
  });
  if (document === undefined) return [];
  if (document.parsed.kind !== "manifest") {
    throw new KurmaError(
      "invalid",
      `Cannot read ${quote(tag)} of ${quote(repositoryOf(reference))}`,
    );
  }
  const found: CosignSignature[] = [];
  for (const layer of document.parsed.layers.slice(0, limits.signatures)) {
    const signature = decode(layer.annotations?.[signatureAnnotation] ?? "");
    if (layer.mediaType !== payloadType || signature === undefined) continue;
    const payload = await client.fetchBlob(reference, layer, limits.payloadBytes, signal);
    found.push({ payload, signature });
  }
  return found;
}

/**
 * Looks for a signature of `digest` by one of `keys`.
 *
 * @param name The image's `registry/repository`; the payload has to say it too, so that
 *   one signed image cannot stand in for another.
 * @returns Who signed; or why none of the signatures counts, one line.
 * @throws {KurmaError} `invalid`: a key is none, or too weak.
 */
export function verifyCosign(
  signatures: readonly CosignSignature[],
  digest: Digest,
  name: string,
  keys: readonly KeyFile[],
): { signer: string } | { complaint: string } {
  const parsed = keys.map((file) => ({ file, key: parseKey(file) }));
  let complaint = signatures.length === 0 ? "it has no signature" : "no trusted key signed it";
  for (const { payload, signature } of signatures) {
    const by = parsed.find(({ key }) => signed(key, payload, signature));
    if (by === undefined) continue; // Only what a trusted key signed is worth reading.
    const why = disagreement(payload, digest, name);
    if (why === undefined) return { signer: `${basename(by.file.path)} (${fingerprint(by.key)})` };
    complaint = why;
  }
  return { complaint };
}

function signed(key: KeyObject, payload: Uint8Array, signature: Uint8Array): boolean {
  // cosign hashes with SHA-256 for every key; with P-384, newer ones take SHA-384.
  const hashes = key.asymmetricKeyType === "ed25519"
    ? [null]
    : key.asymmetricKeyDetails?.namedCurve === "secp384r1"
    ? ["sha256", "sha384"]
    : ["sha256"];
  return hashes.some((hash) => {
    try {
      return verify(hash, payload, key, signature);
    } catch {
      return false; // Bytes that are no signature of this kind of key.
    }
  });
}

/** Why a payload is not about this image; undefined if it is. */
function disagreement(payload: Uint8Array, digest: Digest, name: string): string | undefined {
  const { critical } = parseJsonObject(payload, "a signature's payload");
  if (!isObject(critical) || !isObject(critical.image) || !isObject(critical.identity)) {
    return "its signature does not say what was signed";
  }
  if (critical.type !== "cosign container image signature") {
    return `its signature is a ${quote(String(critical.type))}`;
  }
  if (critical.image["docker-manifest-digest"] !== digest) {
    return "its signature is of another image";
  }
  const said = String(critical.identity["docker-reference"] ?? "");
  const at = said.indexOf("@");
  const repository = (at < 0 ? said : said.slice(0, at)).replace(/:[^/:]*$/, "");
  const known = repository.replace(/^index\.docker\.io\//, "docker.io/");
  return known === name ? undefined : `it was signed as ${quote(said)}, not as ${quote(name)}`;
}

function parseKey({ path, bytes }: KeyFile): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new KurmaError("invalid", `Cannot use ${quote(path)}: it is no PEM public key`, {
      cause,
    });
  }
  const { namedCurve = "", modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const strong = key.asymmetricKeyType === "ed25519" ||
    (key.asymmetricKeyType === "rsa" && modulusLength >= 2048) ||
    (key.asymmetricKeyType === "ec" && ["prime256v1", "secp384r1"].includes(namedCurve));
  if (strong) return key;
  throw new KurmaError("invalid", `Cannot use ${quote(path)}: its kind of key is not supported`, {
    fix: "Use ECDSA P-256 or P-384, Ed25519, or RSA with 2048 bits or more",
  });
}

/** The digest of the key itself, as `openssl pkey -pubin -outform DER | sha256sum` shows it. */
function fingerprint(key: KeyObject): string {
  return digestOf(new Uint8Array(key.export({ type: "spki", format: "der" })));
}

function decode(base64: string): Uint8Array | undefined {
  try {
    return base64 === "" ? undefined : Uint8Array.fromBase64(base64);
  } catch {
    return undefined; // Not a signature, so there is one fewer.
  }
}
