/**
 * kurma-api as a process, and what clients show to it.
 *
 * @module
 */

import { fingerprintOf } from "../../stage1/remote/credentials.ts";
import { assertEquals } from "../assert.ts";
import { binary, mustRun, Running } from "../harness.ts";
import { within } from "../stage2/served.ts";
import { hostAddress } from "./wire.ts";

/** What openssl and curl take: paths. */
export interface Files {
  readonly certificate: string;
  readonly key: string;
}

/** A certificate as openssl makes it. */
interface Wanted {
  readonly name: string;
  /** Lines of x509v3_config(5). */
  readonly extensions: readonly string[];
  readonly from?: string;
  readonly to?: string;
  /** Who signs it; our own CA by default. */
  readonly issuer?: Files;
}

const openSslConfig = `
[ca]
default_ca = all
[all]
rand_serial = yes
default_md = sha256
policy = names
unique_subject = no
copy_extensions = none
[names]
commonName = supplied
`;

/** The folder of kurma-api's certificates, and what else there is of certificates. */
export class Papers {
  readonly api: string;
  #count = 0;

  private constructor(readonly dir: string) {
    this.api = `${dir}/api`;
  }

  static async make(dir: string): Promise<Papers> {
    const papers = new Papers(dir);
    await papers.kurma(
      "init",
      "--name",
      "host.test",
      "--address",
      hostAddress,
      "-f",
      `${dir}/admin.json`,
    );
    await Deno.writeTextFile(
      `${dir}/openssl.cnf`,
      openSslConfig.replace("[all]", `[all]\ndatabase = ${dir}/index.txt\nnew_certs_dir = ${dir}`),
    );
    await Deno.writeTextFile(`${dir}/index.txt`, "");
    return papers;
  }

  get ca(): Files {
    return { certificate: `${this.api}/ca.crt`, key: `${this.api}/ca.key` };
  }

  /** `kurma api WORDS` on these papers. */
  async kurma(...words: string[]): Promise<string> {
    return await mustRun([binary, "api", ...words, "--dir", this.api]);
  }

  /** A client of ours; the path of its bundle. */
  async client(name: string, role: string): Promise<string> {
    const path = `${this.dir}/${name}.json`;
    await this.kurma("client", name, "--role", role, "-f", path);
    return path;
  }

  /** The parts of a bundle as files. */
  async files(bundle: string): Promise<Files> {
    const { certificate, key } = JSON.parse(await Deno.readTextFile(bundle));
    const files = { certificate: `${bundle}.crt`, key: `${bundle}.key` };
    await Deno.writeTextFile(files.certificate, certificate);
    await Deno.writeTextFile(files.key, key, { mode: 0o600 });
    return files;
  }

  /** A certificate of openssl's making. */
  async foreign({ name, extensions, from, to, issuer = this.ca }: Wanted): Promise<Files> {
    const path = `${this.dir}/foreign-${this.#count++}`;
    const files = { certificate: `${path}.crt`, key: `${path}.key` };
    await mustRun([
      ...["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
      ...["-nodes", "-keyout", files.key, "-out", `${path}.csr`, "-subj", `/CN=${name}`],
    ]);
    await Deno.writeTextFile(`${path}.ext`, extensions.join("\n") + "\n");
    await mustRun([
      ...["openssl", "ca", "-batch", "-notext", "-config", `${this.dir}/openssl.cnf`],
      ...["-cert", issuer.certificate, "-keyfile", issuer.key],
      ...["-in", `${path}.csr`, "-out", files.certificate, "-extfile", `${path}.ext`],
      ...["-startdate", from ?? "20200101000000Z", "-enddate", to ?? "20990101000000Z"],
    ]);
    return files;
  }

  /** A certificate that signs itself. */
  async selfSigned(name: string, extensions: readonly string[]): Promise<Files> {
    const path = `${this.dir}/foreign-${this.#count++}`;
    const files = { certificate: `${path}.crt`, key: `${path}.key` };
    await mustRun([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
      ...["-nodes", "-keyout", files.key, "-out", files.certificate, "-subj", `/CN=${name}`],
      ...extensions.flatMap((line) => ["-addext", line]),
    ]);
    return files;
  }

  /** Puts a certificate on the list, as if kurma-api had made it. */
  async list({ certificate }: Files, name: string, role: string): Promise<void> {
    const pem = await Deno.readTextFile(certificate);
    const der = Uint8Array.fromBase64(pem.replace(/-----[^-]+-----|\n/g, ""));
    const path = `${this.api}/credentials.json`;
    const { credentials } = JSON.parse(await Deno.readTextFile(path));
    credentials.push({
      ...{ kind: "certificate", name, role, fingerprint: fingerprintOf(der) },
      ...{ issued: "2020-01-01T00:00:00Z", expires: "2099-01-01T00:00:00Z" },
    });
    const fresh = `${path}.new`;
    await Deno.writeTextFile(fresh, JSON.stringify({ credentials }), { mode: 0o600 });
    await Deno.rename(fresh, path);
  }
}

/** kurma-api, which serves. */
export class Broker implements AsyncDisposable {
  readonly #process: Running;

  private constructor(papers: Papers, socket: string, readonly port: number, flags: string[]) {
    this.#process = new Running([
      ...["sh", "-c", 'exec "$@" 2>&1', "sh"], // The log is what we wait for.
      ...[binary, "api", "serve", "--dir", papers.api, "--socket", socket],
      ...["--listen", `0.0.0.0:${port}`, ...flags],
    ], { limitMs: 600_000 });
  }

  static async start(
    papers: Papers,
    socket: string,
    port: number,
    ...flags: string[]
  ): Promise<Broker> {
    const broker = new Broker(papers, socket, port, flags);
    await broker.says(/kurma-api serves/);
    return broker;
  }

  /** Waits until its log matches. */
  says(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#process.says(pattern);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.signal("SIGTERM");
    const { status, stdout } = await within("kurma-api's end", this.#process.output);
    assertEquals([status, /mistake of Kurma/.test(stdout)], [0, false], stdout);
  }
}
