/**
 * The door to OpenSSL 3: the host's own libssl and libcrypto, opened when TLS is to be
 * served or a certificate made, and never else. A session reads and writes memory; whose
 * socket the bytes come from is not known here.
 *
 * @module
 * @see ssl(7), SSL_CTX_set_verify(3), SSL_CTX_set_alpn_select_cb(3), BIO_s_mem(3)
 */

import { KurmaError } from "./errors.ts";

type Pointer = Deno.PointerValue;
type Bytes = Uint8Array<ArrayBuffer>;

const sslSymbols = {
  TLS_server_method: { parameters: [], result: "pointer" },
  SSL_CTX_new: { parameters: ["pointer"], result: "pointer" },
  SSL_CTX_free: { parameters: ["pointer"], result: "void" },
  SSL_CTX_ctrl: { parameters: ["pointer", "i32", "i64", "pointer"], result: "i64" },
  SSL_CTX_set_options: { parameters: ["pointer", "u64"], result: "u64" },
  SSL_CTX_set_num_tickets: { parameters: ["pointer", "usize"], result: "i32" },
  SSL_CTX_set_verify: { parameters: ["pointer", "i32", "function"], result: "void" },
  SSL_CTX_set_verify_depth: { parameters: ["pointer", "i32"], result: "void" },
  SSL_CTX_set_alpn_select_cb: { parameters: ["pointer", "function", "pointer"], result: "void" },
  SSL_CTX_use_certificate: { parameters: ["pointer", "pointer"], result: "i32" },
  SSL_CTX_use_PrivateKey: { parameters: ["pointer", "pointer"], result: "i32" },
  SSL_CTX_get_cert_store: { parameters: ["pointer"], result: "pointer" },
  SSL_CTX_add_client_CA: { parameters: ["pointer", "pointer"], result: "i32" },
  SSL_new: { parameters: ["pointer"], result: "pointer" },
  SSL_free: { parameters: ["pointer"], result: "void" },
  SSL_set_accept_state: { parameters: ["pointer"], result: "void" },
  SSL_set_bio: { parameters: ["pointer", "pointer", "pointer"], result: "void" },
  SSL_do_handshake: { parameters: ["pointer"], result: "i32" },
  SSL_read: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  SSL_write: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  SSL_shutdown: { parameters: ["pointer"], result: "i32" },
  SSL_get_error: { parameters: ["pointer", "i32"], result: "i32" },
  SSL_get_verify_result: { parameters: ["pointer"], result: "i64" },
  SSL_get1_peer_certificate: { parameters: ["pointer"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

const cryptoSymbols = {
  BIO_s_mem: { parameters: [], result: "pointer" },
  BIO_new: { parameters: ["pointer"], result: "pointer" },
  BIO_free: { parameters: ["pointer"], result: "i32" },
  BIO_read: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  BIO_write: { parameters: ["pointer", "buffer", "i32"], result: "i32" },
  BIO_ctrl_pending: { parameters: ["pointer"], result: "usize" },
  ERR_clear_error: { parameters: [], result: "void" },
  ERR_get_error: { parameters: [], result: "u64" },
  ERR_reason_error_string: { parameters: ["u64"], result: "pointer" },
  PEM_read_bio_X509: { parameters: ["pointer", "pointer", "pointer", "buffer"], result: "pointer" },
  PEM_read_bio_PrivateKey: {
    parameters: ["pointer", "pointer", "pointer", "buffer"],
    result: "pointer",
  },
  PEM_write_bio_X509: { parameters: ["pointer", "pointer"], result: "i32" },
  EVP_PKEY_free: { parameters: ["pointer"], result: "void" },
  EVP_sha256: { parameters: [], result: "pointer" },
  i2d_X509_bio: { parameters: ["pointer", "pointer"], result: "i32" },
  X509_new: { parameters: [], result: "pointer" },
  X509_free: { parameters: ["pointer"], result: "void" },
  X509_set_version: { parameters: ["pointer", "i64"], result: "i32" },
  X509_get_serialNumber: { parameters: ["pointer"], result: "pointer" },
  ASN1_INTEGER_set_uint64: { parameters: ["pointer", "u64"], result: "i32" },
  X509_getm_notBefore: { parameters: ["pointer"], result: "pointer" },
  X509_getm_notAfter: { parameters: ["pointer"], result: "pointer" },
  X509_gmtime_adj: { parameters: ["pointer", "i64"], result: "pointer" },
  X509_get_subject_name: { parameters: ["pointer"], result: "pointer" },
  X509_set_issuer_name: { parameters: ["pointer", "pointer"], result: "i32" },
  X509_NAME_add_entry_by_txt: {
    parameters: ["pointer", "buffer", "i32", "buffer", "i32", "i32", "i32"],
    result: "i32",
  },
  X509_set_pubkey: { parameters: ["pointer", "pointer"], result: "i32" },
  X509V3_set_ctx: {
    parameters: ["buffer", "pointer", "pointer", "pointer", "pointer", "i32"],
    result: "void",
  },
  X509V3_EXT_conf_nid: { parameters: ["pointer", "buffer", "i32", "buffer"], result: "pointer" },
  X509_EXTENSION_free: { parameters: ["pointer"], result: "void" },
  X509_add_ext: { parameters: ["pointer", "pointer", "i32"], result: "i32" },
  X509_sign: { parameters: ["pointer", "pointer", "pointer"], result: "i32" },
  X509_STORE_add_cert: { parameters: ["pointer", "pointer"], result: "i32" },
  X509_STORE_CTX_get_current_cert: { parameters: ["pointer"], result: "pointer" },
  X509_STORE_CTX_get_error_depth: { parameters: ["pointer"], result: "i32" },
  X509_STORE_CTX_set_error: { parameters: ["pointer", "i32"], result: "void" },
  X509_get_extension_flags: { parameters: ["pointer"], result: "u32" },
  X509_get_extended_key_usage: { parameters: ["pointer"], result: "u32" },
  X509_verify_cert_error_string: { parameters: ["i64"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** The two libraries. */
export interface OpenSsl {
  readonly ssl: Deno.DynamicLibrary<typeof sslSymbols>["symbols"];
  readonly crypto: Deno.DynamicLibrary<typeof cryptoSymbols>["symbols"];
}

let opened: OpenSsl | undefined;

/**
 * OpenSSL, opened at the first call.
 *
 * @throws {KurmaError} `missing`: this machine has none, or not version 3.
 */
export function openSsl(): OpenSsl {
  try {
    return opened ??= {
      crypto: Deno.dlopen("libcrypto.so.3", cryptoSymbols).symbols,
      ssl: Deno.dlopen("libssl.so.3", sslSymbols).symbols,
    };
  } catch (cause) {
    throw new KurmaError("missing", "Cannot use TLS: this machine has no OpenSSL 3", {
      cause,
      fix: "Install libssl.so.3 (Debian: apt-get install libssl3), or come in by ssh://",
    });
  }
}

/** TLS that cannot go on: what is wrong, in OpenSSL's words or in ours. */
export class TlsError extends Error {
  override name = "TlsError";
}

/** A certificate that a client shows, after all that OpenSSL has to say against it. */
export interface ShownCertificate {
  /** X.509 in DER. */
  readonly der: Uint8Array;
  /** Whether its extended key usage names clients. */
  readonly isForClients: boolean;
}

/** Our own verdict on a certificate; each but the first is an alert that the client gets. */
export type Verdict = "good" | "revoked" | "unknown" | "unfit";

/** X509_V_OK, CERT_REVOKED, CERT_REJECTED, INVALID_PURPOSE: x509_vfy.h. */
const verdictNumbers: Record<Verdict, number> = { good: 0, revoked: 23, unknown: 28, unfit: 26 };

/** What a server's side of TLS is made of. All texts are PEM. */
export interface TlsOptions {
  readonly certificate: string;
  readonly key: string;
  /** Who signs the certificates of clients. */
  readonly ca: string;
  /** Whether a client without a certificate is sent away; else it is let in without one. */
  readonly requireCertificate: boolean;
  /** Called in the middle of a handshake. One that throws refuses. */
  readonly judge: (certificate: ShownCertificate) => Verdict;
}

// ssl.h
const ctrlMode = 33;
const ctrlSessionCacheMode = 44;
const ctrlMinVersion = 123;
const tls13 = 0x0304n;
const modes = 0x01n | 0x02n | 0x10n; // PARTIAL_WRITE, MOVING_WRITE_BUFFER, RELEASE_BUFFERS
const noTicket = 1n << 14n;
const noRenegotiation = 1n << 30n;
const verifyPeer = 1;
const failWithoutCertificate = 2;
const errorWantRead = 2;
const errorZeroReturn = 6;
const alpnOk = 0;
const alpnFatal = 2;
// x509v3.h
const hasExtendedUsage = 0x4;
const usageClient = 0x2;

/** The protocols that a client may ask for, the one we like best first. RFC 7301 */
const protocols = ["h2", "http/1.1"];

/** A server's certificate, key and rules: what each of its sessions goes by. */
export class TlsContext implements Disposable {
  readonly #lib = openSsl();
  readonly #context: Pointer;
  readonly #callbacks: { close(): void }[] = [];

  /** @throws {KurmaError} `invalid`: a certificate or the key cannot be used. */
  constructor({ certificate, key, ca, requireCertificate, judge }: TlsOptions) {
    const { ssl, crypto } = this.#lib;
    using server = new Certificate(certificate);
    using signer = new Certificate(ca);
    using secret = new PrivateKey(key);
    this.#context = present(ssl.SSL_CTX_new(ssl.TLS_server_method()), "SSL_CTX_new");
    const context = this.#context;
    if (ssl.SSL_CTX_ctrl(context, ctrlMinVersion, tls13, null) !== 1n) {
      throw new TlsError("this OpenSSL has no TLS 1.3");
    }
    ssl.SSL_CTX_ctrl(context, ctrlMode, modes, null);
    // Nothing of a session outlives it: no tickets, no cache, and without both no early data.
    ssl.SSL_CTX_ctrl(context, ctrlSessionCacheMode, 0n, null);
    ssl.SSL_CTX_set_num_tickets(context, 0n);
    ssl.SSL_CTX_set_options(context, noTicket | noRenegotiation);
    if (
      ssl.SSL_CTX_use_certificate(context, server.pointer) !== 1 ||
      ssl.SSL_CTX_use_PrivateKey(context, secret.pointer) !== 1
    ) {
      ssl.SSL_CTX_free(context);
      throw new KurmaError("invalid", `Cannot serve with this certificate: ${reason(crypto)}`, {
        fix: "Make another with kurma api renew",
      });
    }
    crypto.X509_STORE_add_cert(ssl.SSL_CTX_get_cert_store(context), signer.pointer);
    ssl.SSL_CTX_add_client_CA(context, signer.pointer);
    const verify = new Deno.UnsafeCallback(
      { parameters: ["i32", "pointer"], result: "i32" },
      (isGood, store) => isGood === 1 && this.#isAdmitted(store, judge) ? 1 : 0,
    );
    const choose = new Deno.UnsafeCallback({
      parameters: ["pointer", "pointer", "pointer", "pointer", "u32", "pointer"],
      result: "i32",
    }, (_ssl, out, length, offered, size) => chooseProtocol(out, length, offered, size));
    this.#callbacks.push(verify, choose);
    const mode = verifyPeer | (requireCertificate ? failWithoutCertificate : 0);
    ssl.SSL_CTX_set_verify(context, mode, verify.pointer);
    ssl.SSL_CTX_set_verify_depth(context, 1);
    ssl.SSL_CTX_set_alpn_select_cb(context, choose.pointer, null);
  }

  /** The server's side of one connection. */
  session(): TlsSession {
    return new TlsSession(this.#lib, this.#context);
  }

  /** Sessions that are open must be disposed of first. */
  [Symbol.dispose](): void {
    this.#lib.ssl.SSL_CTX_free(this.#context);
    for (const callback of this.#callbacks) callback.close();
  }

  /** Called for each certificate of a chain that OpenSSL finds right, the client's own last. */
  #isAdmitted(store: Pointer, judge: TlsOptions["judge"]): boolean {
    const { crypto } = this.#lib;
    if (crypto.X509_STORE_CTX_get_error_depth(store) !== 0) return true;
    let verdict: Verdict = "unknown";
    try {
      verdict = judge(shown(crypto, crypto.X509_STORE_CTX_get_current_cert(store)));
    } catch {
      // An exception cannot pass through OpenSSL, and whoever cannot be judged stays out.
      verdict = "unknown";
    }
    if (verdict !== "good") crypto.X509_STORE_CTX_set_error(store, verdictNumbers[verdict]);
    return verdict === "good";
  }
}

/** A client may offer 8 KiB of names; ours are two. SSL_CTX_set_alpn_select_cb(3) */
function chooseProtocol(out: Pointer, length: Pointer, offered: Pointer, size: number): number {
  if (out === null || length === null || offered === null) return alpnFatal;
  const list = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(offered, size));
  for (const name of protocols) {
    for (let at = 0; at < size; at += 1 + list[at]) {
      const text = String.fromCharCode(...list.subarray(at + 1, at + 1 + list[at]));
      if (text !== name) continue;
      const found = Deno.UnsafePointer.value(offered) + BigInt(at + 1);
      new DataView(Deno.UnsafePointerView.getArrayBuffer(out, 8)).setBigUint64(0, found, true);
      new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(length, 1))[0] = list[at];
      return alpnOk;
    }
  }
  return alpnFatal;
}

/** One connection's TLS, between two heaps of bytes: what came, and what is to go. */
export class TlsSession implements Disposable {
  readonly #lib: OpenSsl;
  readonly #ssl: Pointer;
  readonly #incoming: Pointer;
  readonly #outgoing: Pointer;
  #isOver = false;

  constructor(lib: OpenSsl, context: Pointer) {
    const { ssl, crypto } = lib;
    this.#lib = lib;
    this.#ssl = present(ssl.SSL_new(context), "SSL_new");
    this.#incoming = present(crypto.BIO_new(crypto.BIO_s_mem()), "BIO_new");
    this.#outgoing = present(crypto.BIO_new(crypto.BIO_s_mem()), "BIO_new");
    ssl.SSL_set_bio(this.#ssl, this.#incoming, this.#outgoing); // Which frees them with itself.
    ssl.SSL_set_accept_state(this.#ssl);
  }

  /** Takes bytes that came from the client. */
  feed(bytes: Uint8Array): void {
    if (this.#isOver) return;
    this.#lib.crypto.BIO_write(this.#incoming, bytes as Bytes, bytes.length);
  }

  /** How many bytes are to go to the client. */
  get pending(): number {
    return this.#isOver ? 0 : Number(this.#lib.crypto.BIO_ctrl_pending(this.#outgoing));
  }

  /** Takes bytes out that are to go to the client; as many as `into` has room for. */
  drain(into: Uint8Array): number {
    if (this.#isOver) return 0;
    return Math.max(0, this.#lib.crypto.BIO_read(this.#outgoing, into as Bytes, into.length));
  }

  /**
   * Goes on with the handshake.
   *
   * @returns Whether it is done; else it wants more bytes of the client's.
   * @throws {TlsError} The alert that says so waits to be drained.
   */
  handshake(): boolean {
    this.#assertOpen();
    this.#lib.crypto.ERR_clear_error();
    const result = this.#lib.ssl.SSL_do_handshake(this.#ssl);
    if (result === 1) return true;
    if (this.#lib.ssl.SSL_get_error(this.#ssl, result) === errorWantRead) return false;
    throw this.#failure();
  }

  /** What the client has shown that was found good; undefined if it showed nothing. */
  certificate(): ShownCertificate | undefined {
    this.#assertOpen();
    const { ssl, crypto } = this.#lib;
    const pointer = ssl.SSL_get1_peer_certificate(this.#ssl);
    if (pointer === null) return undefined;
    try {
      return shown(crypto, pointer);
    } finally {
      crypto.X509_free(pointer);
    }
  }

  /**
   * Decrypts at least one byte.
   *
   * @returns How many; null at the end; undefined if more bytes of the client's are wanted.
   * @throws {TlsError}
   */
  read(into: Uint8Array): number | null | undefined {
    if (this.#isOver) return null;
    const { ssl, crypto } = this.#lib;
    crypto.ERR_clear_error();
    const count = ssl.SSL_read(this.#ssl, into as Bytes, into.length);
    if (count > 0) return count;
    const error = ssl.SSL_get_error(this.#ssl, count);
    if (error === errorWantRead) return undefined;
    if (error === errorZeroReturn) return null;
    throw this.#failure();
  }

  /**
   * Encrypts at least one byte.
   *
   * @returns How many.
   * @throws {TlsError}
   */
  write(bytes: Uint8Array): number {
    this.#assertOpen();
    const { ssl, crypto } = this.#lib;
    crypto.ERR_clear_error();
    const count = ssl.SSL_write(this.#ssl, bytes as Bytes, bytes.length);
    if (count > 0) return count;
    throw this.#failure();
  }

  /** Says goodbye, which is to be drained. */
  end(): void {
    if (this.#isOver) return;
    this.#lib.crypto.ERR_clear_error();
    this.#lib.ssl.SSL_shutdown(this.#ssl);
  }

  [Symbol.dispose](): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#lib.ssl.SSL_free(this.#ssl);
  }

  #assertOpen(): void {
    if (this.#isOver) throw new TlsError("the connection is closed");
  }

  #failure(): TlsError {
    const { ssl, crypto } = this.#lib;
    const verdict = ssl.SSL_get_verify_result(this.#ssl);
    if (verdict === 0n) return new TlsError(reason(crypto));
    return new TlsError(text(crypto.X509_verify_cert_error_string(verdict)));
  }
}

/** A certificate in OpenSSL's memory. */
export class Certificate implements Disposable {
  readonly pointer: Pointer;

  /** @throws {KurmaError} `invalid`: it is none. */
  constructor(pem: string) {
    const { crypto } = openSsl();
    this.pointer = fromPem(pem, (bio) => crypto.PEM_read_bio_X509(bio, null, null, noPassword));
    if (this.pointer === null) throw unusable("certificate", crypto);
  }

  [Symbol.dispose](): void {
    openSsl().crypto.X509_free(this.pointer);
  }
}

/** A private key in OpenSSL's memory. */
export class PrivateKey implements Disposable {
  readonly pointer: Pointer;

  /** @throws {KurmaError} `invalid`: it is none. */
  constructor(pem: string) {
    const { crypto } = openSsl();
    this.pointer = fromPem(
      pem,
      (bio) => crypto.PEM_read_bio_PrivateKey(bio, null, null, noPassword),
    );
    if (this.pointer === null) throw unusable("key", crypto);
  }

  [Symbol.dispose](): void {
    openSsl().crypto.EVP_PKEY_free(this.pointer);
  }
}

/** Without a password of ours OpenSSL would ask for one on the terminal. */
const noPassword = new Uint8Array(1);

function fromPem(pem: string, read: (bio: Pointer) => Pointer): Pointer {
  const { crypto } = openSsl();
  crypto.ERR_clear_error();
  const bio = present(crypto.BIO_new(crypto.BIO_s_mem()), "BIO_new");
  try {
    const bytes = new TextEncoder().encode(pem);
    crypto.BIO_write(bio, bytes, bytes.length);
    return read(bio);
  } finally {
    crypto.BIO_free(bio);
  }
}

/** What `write` puts into a heap of bytes. */
export function written(write: (bio: Pointer) => number): Bytes {
  const { crypto } = openSsl();
  const bio = present(crypto.BIO_new(crypto.BIO_s_mem()), "BIO_new");
  try {
    if (write(bio) !== 1) throw new TlsError(reason(crypto));
    const bytes = new Uint8Array(Number(crypto.BIO_ctrl_pending(bio)));
    crypto.BIO_read(bio, bytes, bytes.length);
    return bytes;
  } finally {
    crypto.BIO_free(bio);
  }
}

function shown(crypto: OpenSsl["crypto"], certificate: Pointer): ShownCertificate {
  // Without the extension, the usage reads as all there are.
  const isForClients = (crypto.X509_get_extension_flags(certificate) & hasExtendedUsage) !== 0 &&
    (crypto.X509_get_extended_key_usage(certificate) & usageClient) !== 0;
  return { der: written((bio) => crypto.i2d_X509_bio(bio, certificate)), isForClients };
}

/** Why the last call failed. */
export function reason(crypto: OpenSsl["crypto"]): string {
  const number = crypto.ERR_get_error();
  if (number === 0n) return "the connection ended";
  return text(crypto.ERR_reason_error_string(number)) || `error ${number.toString(16)}`;
}

function text(pointer: Pointer): string {
  return pointer === null ? "" : Deno.UnsafePointerView.getCString(pointer);
}

/** Memory that OpenSSL did not get is the end of the process anyway. */
export function present(pointer: Pointer, what: string): Pointer {
  if (pointer === null) throw new TlsError(`${what} failed`);
  return pointer;
}

function unusable(what: string, crypto: OpenSsl["crypto"]): KurmaError {
  return new KurmaError("invalid", `Cannot read a ${what} as PEM: ${reason(crypto)}`);
}
