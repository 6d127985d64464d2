/**
 * kurma-api's own certificate authority, in a folder: a CA, the server's certificate, and
 * the list of what was given to clients.
 *
 * @module
 */

import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type KeyPair, makeCertificate } from "../../ffi/certificates.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { defaultPort } from "../api/hosts.ts";
import type { Bundle } from "./bundle.ts";
import {
  type Credential,
  Credentials,
  fingerprintOf,
  namePattern,
  roleUri,
} from "./credentials.ts";
import { makePrivateFolder, readSecret, writeSecret } from "./files.ts";
import type { Role } from "./roles.ts";

const day = 86_400;

/** How long they are good for, in seconds. */
const lifetimes = { ca: 3650 * day, server: 825 * day };

const hostName = /^(\*\.)?[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*$/;

/** What a client is made for. */
export interface ClientRequest {
  readonly name: string;
  readonly role: Role;
  readonly days: number;
}

export class Authority {
  readonly credentials: Credentials;

  /** @param folder Absolute. Nothing is read yet. */
  constructor(readonly folder: string) {
    this.credentials = new Credentials(folder);
  }

  /**
   * Makes a CA, a certificate of the server and an empty list.
   *
   * @param names What clients call the server by: host names and addresses, the first of
   *   them in the bundles that are made.
   * @throws {KurmaError} `state`: there is a CA; `invalid`: a name is none.
   */
  async create(names: readonly string[]): Promise<void> {
    altNames(names);
    makePrivateFolder(this.folder);
    if (readSecret(`${this.folder}/ca.key`) !== undefined) {
      throw new KurmaError("state", `There is a CA in "${this.folder}" already`, {
        fix: "Make more clients with kurma api client; remove the folder to begin anew",
      });
    }
    const ca = await makeCertificate({
      commonName: `Kurma CA ${crypto.randomUUID().slice(0, 8)}`,
      lifetime: lifetimes.ca,
      use: "ca",
      altNames: [],
    });
    await this.#makeServer(names, ca);
    this.credentials.create();
    writeSecret(`${this.folder}/ca.crt`, ca.certificate);
    writeSecret(`${this.folder}/ca.key`, ca.key); // The last one: with it, all is there.
  }

  /**
   * Makes another certificate of the server. Who serves has to be started again.
   *
   * @param names As for {@linkcode create}; those of the certificate there is, if there are none.
   */
  async renew(names: readonly string[]): Promise<readonly string[]> {
    const kept = names.length > 0 ? names : this.names();
    await this.#makeServer(kept, this.#pair("ca"));
    return kept;
  }

  /** What the server's certificate calls it. */
  names(): readonly string[] {
    const { subjectAltName = "" } = new X509Certificate(this.#pair("server").certificate);
    return subjectAltName.split(", ").map((each) => each.replace(/^(DNS|IP Address):/, ""));
  }

  /** Until when the server's certificate is good. */
  serverExpires(): Date {
    return new Date(new X509Certificate(this.#pair("server").certificate).validTo);
  }

  /** What a server serves with; all PEM. */
  serverFiles(): KeyPair & { readonly ca: string } {
    this.credentials.all();
    return { ...this.#pair("server"), ca: this.#text("ca.crt") };
  }

  /**
   * Makes a certificate for a client and puts it on the list.
   *
   * @returns What the client needs, and it alone: the key is kept nowhere else.
   */
  async client({ name, role, days }: ClientRequest): Promise<Bundle & { credential: Credential }> {
    checkName(name);
    const ca = this.#pair("ca");
    const [host] = this.names();
    const { certificate, key } = await makeCertificate({
      commonName: name,
      lifetime: days * day,
      use: "client",
      altNames: [`URI:${roleUri(role)}`],
      issuer: ca,
    });
    const { raw, validTo } = new X509Certificate(certificate);
    const credential = {
      kind: "certificate" as const,
      name,
      role,
      fingerprint: fingerprintOf(raw),
      issued: new Date().toISOString(),
      expires: new Date(validTo).toISOString(),
    };
    await this.credentials.add(credential);
    return { host: addressOf(host), ca: ca.certificate, certificate, key, credential };
  }

  /**
   * Makes a token and puts its hash on the list.
   *
   * @returns What the client needs; the token itself is kept nowhere else.
   */
  async token({ name, role, days }: ClientRequest): Promise<Bundle & { credential: Credential }> {
    checkName(name);
    const [host] = this.names();
    const random = crypto.getRandomValues(new Uint8Array(32));
    const token = `kurma_${random.toBase64({ alphabet: "base64url", omitPadding: true })}`;
    const now = Date.now();
    const credential = {
      kind: "token" as const,
      name,
      role,
      fingerprint: fingerprintOf(token),
      issued: new Date(now).toISOString(),
      expires: new Date(now + days * day * 1000).toISOString(),
    };
    await this.credentials.add(credential);
    return { host: addressOf(host), ca: this.#text("ca.crt"), token, credential };
  }

  async #makeServer(names: readonly string[], issuer: KeyPair): Promise<void> {
    const { certificate, key } = await makeCertificate({
      commonName: "kurma-api",
      lifetime: lifetimes.server,
      use: "server",
      altNames: altNames(names),
      issuer,
    });
    // One file: a crash between two would leave a certificate with another's key.
    writeSecret(`${this.folder}/server.pem`, certificate + key);
  }

  #pair(name: "ca" | "server"): KeyPair {
    if (name === "ca") return { certificate: this.#text("ca.crt"), key: this.#text("ca.key") };
    const both = this.#text("server.pem");
    const end = both.indexOf("-----BEGIN PRIVATE KEY-----");
    return { certificate: both.slice(0, end), key: both.slice(end) };
  }

  #text(file: string): string {
    const text = readSecret(`${this.folder}/${file}`);
    if (text !== undefined) return text;
    throw new KurmaError("missing", `There is no "${file}" in "${this.folder}"`, {
      fix: "Make certificates with kurma api init, or name their folder with --dir",
    });
  }
}

/** The address of a server by a name of its. */
function addressOf(name: string): string {
  return `tcp://${isIP(name) === 6 ? `[${name}]` : name}:${defaultPort}`;
}

function checkName(name: string): void {
  if (namePattern.test(name)) return;
  throw new KurmaError("invalid", `Cannot call a client "${name}"`, {
    fix:
      "Names have letters, digits and any of @ . _ - and begin with a letter or digit; 63 at most",
  });
}

/** Names as a certificate has them. */
function altNames(names: readonly string[]): string[] {
  return [...new Set(names)].map((name) => {
    if (isIP(name) !== 0) return `IP:${name}`;
    if (name.length <= 253 && hostName.test(name)) {
      return `DNS:${name}`;
    }
    throw new KurmaError("invalid", `Cannot name the server "${name}": no host name or address`, {
      fix: "Write it as clients do, without a port: host.example.com or 192.0.2.1",
    });
  });
}
