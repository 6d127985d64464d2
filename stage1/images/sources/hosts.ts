/**
 * What the administrator says about single servers: `hosts.yaml` in Kurma's
 * configuration folder. YAML, because the rest of Kurma's configuration is, and JSON is
 * YAML as well.
 *
 * ```yaml
 * hosts:
 *   docker.io:
 *     mirrors: [mirror.example.com/hub]       # tried first, in this order, for pulls
 *   registry.example.com:5000:
 *     ca: ca.pem                              # trusted besides the system's
 *     certificate: client.pem                 # shown to the server
 *     key: client.key
 *     tokenHosts: [login.example.org]         # may be sent this registry's password
 *   127.0.0.1:5000:
 *     plainHttp: true                         # without TLS
 * ```
 *
 * A host is meant with its port; files are found relative to `hosts.yaml`.
 *
 * @module
 */

import { dirname, resolve } from "node:path";
import { KurmaError } from "../../../ffi/errors.ts";
import { readTrusted } from "../trust/files.ts";
import { quote } from "./digest.ts";
import { isObject, type JsonObject } from "./json.ts";
import { parseHost, parseReference } from "./reference.ts";

/** What is configured for one host; for most, nothing. */
export interface HostConfig {
  /** `host[:port][/prefix]`: the repository is looked for below it. */
  readonly mirrors: readonly string[];
  /** Speak HTTP without TLS. */
  readonly plainHttp: boolean;
  /** Path of PEM certificates to trust besides the system's. */
  readonly ca?: string;
  /** Path of the client's certificate chain in PEM; `key` is there too. */
  readonly certificate?: string;
  readonly key?: string;
  /** Hosts outside the registry's own domain that may be sent its password. */
  readonly tokenHosts: readonly string[];
}

/** The settings of all hosts. */
export class Hosts {
  readonly #configs: ReadonlyMap<string, HostConfig>;

  constructor(configs: Iterable<readonly [string, HostConfig]> = []) {
    this.#configs = new Map(configs);
  }

  /** @param host `host[:port]` in lower case. */
  of(host: string): HostConfig {
    return this.#configs.get(host) ?? nothing;
  }

  /** Whether anything is configured for `host`. */
  has(host: string): boolean {
    return this.#configs.has(host);
  }
}

const nothing: HostConfig = { mirrors: [], plainHttp: false, tokenHosts: [] };

const maxConfigBytes = 1024 * 1024;

/**
 * Reads `hosts.yaml`; a file that is not there configures nothing.
 *
 * @throws {KurmaError} `invalid`, naming file, host and setting; `denied`: others may write it.
 */
export async function loadHosts(path: string): Promise<Hosts> {
  const bytes = await readTrusted(path, maxConfigBytes);
  return bytes ? await parseHosts(new TextDecoder().decode(bytes), path) : new Hosts();
}

/** @see {@linkcode loadHosts} */
export async function parseHosts(text: string, path: string): Promise<Hosts> {
  const { parseMapping } = await import("./yaml.ts");
  const document = parseMapping(text, (why) => wrong(path, why));
  onlyKeys(document, ["hosts"], path);
  const hosts = document.hosts ?? {};
  if (!isObject(hosts)) throw wrong(path, '"hosts" is not a mapping');
  return new Hosts(
    Object.entries(hosts).map(([name, settings]) => {
      const where = `${path}: ${name}`;
      return [parseHost(name, where), hostConfig(settings ?? {}, where, dirname(path))];
    }),
  );
}

function hostConfig(settings: unknown, where: string, folder: string): HostConfig {
  if (!isObject(settings)) throw wrong(where, "it is not a mapping");
  onlyKeys(settings, ["mirrors", "plainHttp", "ca", "certificate", "key", "tokenHosts"], where);
  const { plainHttp = false } = settings;
  if (typeof plainHttp !== "boolean") throw wrong(where, '"plainHttp" is not true or false');
  const file = (key: "ca" | "certificate" | "key") => {
    const path = settings[key];
    if (path === undefined) return {};
    if (typeof path !== "string" || path === "") throw wrong(where, `"${key}" is not a path`);
    return { [key]: resolve(folder, path) };
  };
  const config: HostConfig = {
    mirrors: list(settings, "mirrors", where).map((mirror) => checkMirror(mirror, where)),
    plainHttp,
    tokenHosts: list(settings, "tokenHosts", where).map((host) => parseHost(host, where)),
    ...file("ca"),
    ...file("certificate"),
    ...file("key"),
  };
  if ((config.certificate === undefined) !== (config.key === undefined)) {
    throw wrong(where, '"certificate" and "key" go together');
  }
  if (config.plainHttp && (config.ca ?? config.certificate) !== undefined) {
    throw wrong(where, '"plainHttp" leaves no use for "ca" and "certificate"');
  }
  return config;
}

function list(settings: JsonObject, key: string, where: string): string[] {
  const value = settings[key] ?? [];
  if (Array.isArray(value) && value.every((entry) => typeof entry === "string")) return value;
  throw wrong(where, `"${key}" is not a list of names`);
}

function checkMirror(mirror: string, where: string): string {
  const [host, ...prefix] = mirror.split("/");
  const checked = parseHost(host, where);
  parseReference(["docker://localhost", ...prefix, "x"].join("/")); // The prefix is of a repository.
  return [checked, ...prefix].join("/");
}

function onlyKeys(object: JsonObject, keys: readonly string[], where: string): void {
  const unknown = Object.keys(object).find((key) => !keys.includes(key));
  if (unknown === undefined) return;
  throw wrong(where, `${quote(unknown)} is not a setting`, `Use ${keys.join(", ")}`);
}

function wrong(where: string, why: string, fix?: string): KurmaError {
  return new KurmaError("invalid", `Cannot use ${quote(where)}: ${why}`, { fix });
}
