/**
 * The list of those who may come in: each certificate that was made and each token, by
 * fingerprint. What is not on it stays out, whoever signed it, so what is lost with the
 * list lets nobody in.
 *
 * @module
 */

import { createHash, timingSafeEqual, X509Certificate } from "node:crypto";
import { KurmaError } from "../../ffi/errors.ts";
import type { ShownCertificate, Verdict } from "../../ffi/openssl.ts";
import { check, listOf, object, optional, pattern, type Schema, word } from "../schema.ts";
import { readSecret, writeSecret } from "./files.ts";
import { type Role, roleOrder } from "./roles.ts";

/** A certificate or a token that was given to somebody. */
export interface Credential {
  readonly kind: "certificate" | "token";
  /** Who has it. Several may have one name: the old one and the new one. */
  readonly name: string;
  readonly role: Role;
  /** SHA-256 of the certificate's DER or of the token, in hexadecimal. */
  readonly fingerprint: string;
  /** Moments, as ISO 8601 has them in UTC. */
  readonly issued: string;
  readonly expires: string;
  readonly revoked?: string | undefined;
}

/** What names look like, in certificates and in lists. */
export const namePattern = /^[A-Za-z0-9][A-Za-z0-9@._-]{0,62}$/;

const moment = pattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z$/, "a moment in UTC");

const schema: Schema<{ readonly credentials: readonly Credential[] }> = object({
  credentials: listOf(
    object<Credential>({
      kind: word("certificate", "token"),
      name: pattern(namePattern, "a name"),
      role: word(...roleOrder),
      fingerprint: pattern(/^[0-9a-f]{64}$/, "64 hexadecimal digits"),
      issued: moment,
      expires: moment,
      revoked: optional(moment),
    }),
    10_000,
  ),
});

/** What somebody with a credential does with it: it counts, or why it does not. */
export type Standing = "good" | "expired" | "revoked" | "unknown";

/** The list on disk, read again when it has changed. */
export class Credentials {
  readonly #path: string;
  readonly #folder: string;
  #version = "";
  #known: ReadonlyMap<string, Credential> = new Map();

  /** @param folder The state folder of kurma-api. */
  constructor(folder: string) {
    this.#folder = folder;
    this.#path = `${folder}/credentials.json`;
  }

  /**
   * All that were ever given, by fingerprint.
   *
   * @throws {KurmaError} `missing`: there is no list; `invalid`; `denied`.
   */
  all(): ReadonlyMap<string, Credential> {
    const version = this.#look();
    if (version !== this.#version) {
      this.#known = new Map(this.#read().map((each) => [each.fingerprint, each]));
      this.#version = version;
    }
    return this.#known;
  }

  /** How it stands with a credential now. */
  standing(kind: Credential["kind"], fingerprint: string, now: number = Date.now()): Standing {
    const found = this.all().get(fingerprint);
    if (found === undefined || found.kind !== kind) return "unknown";
    if (found.revoked !== undefined) return "revoked";
    return Date.parse(found.expires) <= now ? "expired" : "good";
  }

  /** What TLS is to do with a certificate that our CA has signed and that is of this time. */
  judge({ der, isForClients }: ShownCertificate): Verdict {
    if (!isForClients) return "unfit";
    const fingerprint = fingerprintOf(der);
    const standing = this.standing("certificate", fingerprint);
    if (standing !== "good") return standing === "revoked" ? "revoked" : "unknown";
    const { name, role } = this.all().get(fingerprint) as Credential;
    const { subject, subjectAltName } = new X509Certificate(der);
    // Each has one form. What says more than that, or another role than the list, is not ours.
    return subject === `CN=${name}` && subjectAltName === `URI:${roleUri(role)}` ? "good" : "unfit";
  }

  /** Whose token it is; undefined if it is nobody's, or no longer counts. */
  bearer(token: string): Credential | undefined {
    const shown = createHash("sha256").update(token).digest();
    let found: Credential | undefined;
    // All are compared, each in constant time: how long it takes tells nothing of any.
    for (const each of this.all().values()) {
      if (each.kind !== "token") continue;
      if (timingSafeEqual(shown, Uint8Array.fromHex(each.fingerprint))) found = each;
    }
    const counts = found && this.standing("token", found.fingerprint) === "good";
    return counts ? found : undefined;
  }

  /** Begins an empty list. */
  create(): void {
    this.#write([]);
  }

  /** Adds one that was just made. */
  async add(credential: Credential): Promise<void> {
    await this.#change((known) => [...known, credential]);
  }

  /**
   * Ends what `reference` names: a name, or the first eight or more digits of a fingerprint.
   *
   * @returns What has been revoked, now or earlier.
   * @throws {KurmaError} `missing`: there is none; `invalid`: several begin so.
   */
  async revoke(kind: Credential["kind"], reference: string): Promise<readonly Credential[]> {
    let found: readonly Credential[] = [];
    await this.#change((known) => {
      const ours = known.filter((each) => each.kind === kind);
      const named = ours.filter(({ name }) => name === reference);
      const digits = reference.toLowerCase().replaceAll(":", "");
      const begun = /^[0-9a-f]{8,64}$/.test(digits)
        ? ours.filter(({ fingerprint }) => fingerprint.startsWith(digits))
        : [];
      if (named.length === 0 && begun.length > 1) {
        throw new KurmaError("invalid", `Cannot revoke "${reference}": several begin so`, {
          fix: "Write more digits of its fingerprint",
        });
      }
      const meant = named.length > 0 ? named : begun;
      if (meant.length === 0) {
        const list = kind === "token" ? "kurma api token list" : "kurma api list";
        throw new KurmaError("missing", `There is no ${kind} "${reference}"`, {
          fix: `Names and fingerprints are in ${list}`,
        });
      }
      const now = new Date().toISOString();
      const ended = (each: Credential) => ({ ...each, revoked: each.revoked ?? now });
      found = meant.map(ended);
      return known.map((each) => meant.includes(each) ? ended(each) : each);
    });
    return found;
  }

  /** Reads, changes and writes; no other process changes it meanwhile. */
  async #change(change: (known: readonly Credential[]) => readonly Credential[]): Promise<void> {
    this.all(); // That there is a list is said before a lock is left beside none.
    using lock = await Deno.open(`${this.#folder}/lock`, {
      write: true,
      create: true,
      mode: 0o600,
    });
    await lock.lock(true);
    this.#write(change(this.#read()));
  }

  #write(credentials: readonly Credential[]): void {
    writeSecret(this.#path, JSON.stringify({ credentials }, undefined, 2) + "\n");
  }

  #read(): readonly Credential[] {
    const text = readSecret(this.#path);
    if (text === undefined) throw this.#missing();
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (cause) {
      throw new KurmaError("invalid", `Cannot read "${this.#path}": it is not JSON`, { cause });
    }
    return check(schema, value, `"${this.#path}"`).credentials;
  }

  /** What tells this state of the file from every other: a new one takes its place. */
  #look(): string {
    try {
      const { ino, mtime, ctime, size } = Deno.statSync(this.#path);
      return `${ino} ${mtime?.getTime()} ${ctime?.getTime()} ${size}`;
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) throw this.#missing();
      throw new KurmaError("denied", `Cannot read "${this.#path}"`, {
        cause,
        fix: "Run it as who owns the folder",
      });
    }
  }

  #missing(): KurmaError {
    return new KurmaError("missing", `There are no certificates in "${this.#folder}"`, {
      fix: "Make them with kurma api init, or name their folder with --dir",
    });
  }
}

/** SHA-256 in hexadecimal. */
export function fingerprintOf(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** How a certificate names a role. */
export function roleUri(role: Role): string {
  return `kurma:role:${role}`;
}
