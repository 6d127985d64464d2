/**
 * Makes X.509 certificates, by OpenSSL.
 *
 * @module
 * @see x509v3_config(5), RFC 5280
 */

import { Certificate, openSsl, present, PrivateKey, reason, TlsError, written } from "./openssl.ts";

/** A certificate and what it proves: PEM both. */
export interface KeyPair {
  readonly certificate: string;
  readonly key: string;
}

/** What a certificate is to say. */
export interface CertificateRequest {
  readonly commonName: string;
  /** From now on, in seconds. */
  readonly lifetime: number;
  /** What it is good for: to sign others, to serve, or to call. */
  readonly use: "ca" | "server" | "client";
  /** As in `DNS:example.com`, `IP:192.0.2.1` and `URI:kurma:role:admin`; may be empty. */
  readonly altNames: readonly string[];
  /** Who signs it; itself if left out. */
  readonly issuer?: KeyPair;
}

/** Clocks of others may go a little wrong. */
const leeway = 300;

const curve = { name: "ECDSA", namedCurve: "P-256" };

/** Extensions by their numbers in obj_mac.h. */
const extension = {
  keyUsage: 83,
  altNames: 85,
  constraints: 87,
  subject: 82,
  issuer: 90,
  use: 126,
};

const uses = {
  ca: [
    [extension.constraints, "critical,CA:TRUE,pathlen:0"],
    [extension.keyUsage, "critical,keyCertSign"],
  ],
  server: [
    [extension.constraints, "critical,CA:FALSE"],
    [extension.keyUsage, "critical,digitalSignature"],
    [extension.use, "serverAuth"],
  ],
  client: [
    [extension.constraints, "critical,CA:FALSE"],
    [extension.keyUsage, "critical,digitalSignature"],
    [extension.use, "clientAuth"],
  ],
} as const;

/** The size of an X509V3_CTX, and room for what later versions of it have. */
const contextSize = 256;

/**
 * Makes a key (ECDSA, P-256) and a certificate of it.
 *
 * @throws {TlsError} OpenSSL cannot make it of what it says.
 */
export async function makeCertificate(request: CertificateRequest): Promise<KeyPair> {
  const { privateKey } = await crypto.subtle.generateKey(curve, true, ["sign"]);
  const bytes = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
  const key = pem("PRIVATE KEY", bytes);
  return { certificate: signed(request, key), key };
}

function signed({ commonName, lifetime, use, altNames, issuer }: CertificateRequest, key: string) {
  const { crypto: lib } = openSsl();
  const pointer = present(lib.X509_new(), "X509_new");
  try {
    using own = new PrivateKey(key);
    using signer = issuer === undefined ? undefined : new Certificate(issuer.certificate);
    using signerKey = new PrivateKey(issuer?.key ?? key);
    const by = signer?.pointer ?? pointer;
    const [serial] = crypto.getRandomValues(new BigUint64Array(1));
    const name = new TextEncoder().encode(commonName);
    done(lib.X509_set_version(pointer, 2n)); // Which is version 3.
    done(lib.ASN1_INTEGER_set_uint64(lib.X509_get_serialNumber(pointer), serial >> 1n | 1n));
    lib.X509_gmtime_adj(lib.X509_getm_notBefore(pointer), BigInt(-leeway));
    lib.X509_gmtime_adj(lib.X509_getm_notAfter(pointer), BigInt(lifetime));
    const subject = lib.X509_get_subject_name(pointer);
    done(lib.X509_NAME_add_entry_by_txt(subject, cString("CN"), 0x1000, name, name.length, -1, 0));
    done(lib.X509_set_issuer_name(pointer, lib.X509_get_subject_name(by)));
    done(lib.X509_set_pubkey(pointer, own.pointer));
    const context = new Uint8Array(contextSize);
    lib.X509V3_set_ctx(context, by, pointer, null, null, 0);
    const extensions: (readonly [number, string])[] = [
      ...uses[use],
      [extension.subject, "hash"],
      ...(signer === undefined ? [] : [[extension.issuer, "keyid:always"] as const]),
      ...(altNames.length === 0 ? [] : [[extension.altNames, altNames.join(",")] as const]),
    ];
    for (const [id, value] of extensions) {
      const made = lib.X509V3_EXT_conf_nid(null, context, id, cString(value));
      if (made === null) throw new TlsError(`${reason(lib)}: "${value}"`);
      lib.X509_add_ext(pointer, made, -1);
      lib.X509_EXTENSION_free(made);
    }
    if (lib.X509_sign(pointer, signerKey.pointer, lib.EVP_sha256()) <= 0) {
      throw new TlsError(reason(lib));
    }
    return new TextDecoder().decode(written((bio) => lib.PEM_write_bio_X509(bio, pointer)));
  } finally {
    lib.X509_free(pointer);
  }
}

function done(result: number): void {
  if (result !== 1) throw new TlsError(reason(openSsl().crypto));
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

function pem(what: string, bytes: Uint8Array): string {
  const lines = bytes.toBase64().match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${what}-----`, ...lines, `-----END ${what}-----`, ""].join("\n");
}
