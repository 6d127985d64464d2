/**
 * Answers a registry's demand for a password or a token, and takes care where the
 * password goes: to the registry itself, or to a token server that belongs to it.
 *
 * @module
 * @see distribution "Token Authentication Specification" and "OAuth2 Token Authentication"
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { type Challenge, parseChallenges } from "./challenge.ts";
import type { Credential, Credentials } from "./credentials.ts";
import { quote } from "./digest.ts";
import { optionalText, parseJsonObject } from "./json.ts";
import { type Ask, complaint, type Transport } from "./transport.ts";

/** What is to be done with a repository. */
export interface Access {
  /** Where the demand came from. */
  readonly url: URL;
  /** The registry that credentials are kept for: `docker.io`, not its API's host. */
  readonly registry: string;
  readonly repository: string;
  /** For example `repository:library/busybox:pull`. */
  readonly scopes: readonly string[];
}

const maxTokenBytes = 64 * 1024;
const tokenGrammar = /^[\x21-\x7e]+$/;
const defaultLifetimeMs = 60_000; // By the specification.
const marginMs = 10_000;

/** Keeps what registries accepted, for as long as it is good. */
export class Authorizer {
  readonly #transport: Transport;
  readonly #credentials: Credentials;
  /** `until`: by a clock that nobody sets. */
  readonly #accepted = new Map<string, { header: string; until: number }>();

  constructor(transport: Transport, credentials: Credentials) {
    this.#transport = transport;
    this.#credentials = credentials;
  }

  /** The `Authorization` header for this access, if one is known. */
  header(access: Access): string | undefined {
    const known = this.#accepted.get(keyOf(access));
    return known && known.until > performance.now() ? known.header : undefined;
  }

  /**
   * Finds the header that a 401 asks for; {@linkcode Authorizer.header} has it then.
   *
   * @param demand The `WWW-Authenticate` header.
   * @throws {KurmaError} `denied`: nothing fits, or the password may not go there.
   */
  async answer(
    demand: string | null,
    access: Access,
    ask: Pick<Ask, "task" | "signal">,
  ): Promise<void> {
    const challenges = parseChallenges(demand);
    const bearer = challenges.find(({ scheme }) => scheme === "bearer");
    const { registry, repository } = access;
    const credential = await this.#credentials.find(registry, repository, ask.signal);
    if (credential?.kind === "access") {
      this.#accept(access, `Bearer ${checkToken(credential.token, ask.task)}`, Infinity);
    } else if (bearer) {
      const { token, lifetimeMs } = await this.#token(bearer, credential, access, ask);
      this.#accept(access, `Bearer ${token}`, performance.now() + lifetimeMs - marginMs);
    } else if (challenges.some(({ scheme }) => scheme === "basic")) {
      if (credential?.kind !== "password") throw refused(access, ask.task, "wants a password");
      this.#accept(access, basic(credential), Infinity);
    } else throw refused(access, ask.task, `wants ${quote(challenges[0]?.scheme ?? "something")}`);
  }

  /** Forgets a header that is not accepted any more. */
  forget(access: Access): void {
    this.#accepted.delete(keyOf(access));
  }

  #accept(access: Access, header: string, until: number): void {
    this.#accepted.set(keyOf(access), { header, until });
  }

  async #token(
    { parameters }: Challenge,
    credential: Credential | undefined,
    access: Access,
    { task, signal }: Pick<Ask, "task" | "signal">,
  ): Promise<{ token: string; lifetimeMs: number }> {
    const realm = this.#realm(parameters.get("realm"), access, task);
    const own = belongsTo(realm, access.url) || this.#listed(realm, access);
    const service = parameters.get("service");
    const scopes = [...new Set([...access.scopes, ...(parameters.get("scope")?.split(" ") ?? [])])];
    const form = new URLSearchParams(service ? { service } : {});
    const ask: Ask = { task: `get a token to ${task}`, url: realm, signal };

    let request: Ask;
    if (credential?.kind === "identity" && own) {
      form.set("grant_type", "refresh_token");
      form.set("client_id", "kurma");
      form.set("refresh_token", credential.token);
      form.set("scope", scopes.join(" "));
      request = {
        ...ask,
        method: "POST",
        headers: { "content-type": "application/x-www-form-urlencoded" },
        body: new TextEncoder().encode(form.toString()),
      };
    } else {
      for (const scope of scopes) form.append("scope", scope);
      for (const [name, value] of form) realm.searchParams.append(name, value);
      request = {
        ...ask,
        ...(credential?.kind === "password" && own ? { authorization: basic(credential) } : {}),
      };
    }
    const { status, bytes } = await this.#transport.document(request, maxTokenBytes);
    if (status !== 200) {
      throw new KurmaError("denied", complaint(ask.task, realm, { status }, bytes), {
        fix: credential === undefined
          ? logIn(access)
          : own
          ? `Check the password: ${logIn(access)}`
          : `It was not sent the password of ${access.registry}; if it may have it, list ` +
            `${quote(realm.host)} in "tokenHosts" of ${quote(access.url.host)} in hosts.yaml`,
      });
    }
    const answer = parseJsonObject(bytes, `token for ${quote(access.registry)}`);
    const token = optionalText(answer, "token", "token") ??
      optionalText(answer, "access_token", "token") ?? "";
    const { expires_in: seconds } = answer;
    return {
      token: checkToken(token, task),
      lifetimeMs: typeof seconds === "number" && seconds > 60 ? seconds * 1000 : defaultLifetimeMs,
    };
  }

  #realm(text: string | undefined, access: Access, task: string): URL {
    const realm = URL.parse(text ?? "");
    if (realm === null || realm.username !== "" || realm.password !== "") {
      throw refused(access, task, `names ${quote(text ?? "")} as its token server`);
    }
    realm.hash = "";
    const plain = realm.protocol === "http:" && this.#transport.hosts.of(realm.host).plainHttp;
    if (realm.protocol !== "https:" && !plain) {
      throw new KurmaError(
        "denied",
        `Cannot ${task}: ${access.url.host} sends for a token to ${realm.host} without TLS`,
        { fix: `Set "plainHttp" of ${quote(realm.host)} in hosts.yaml if you trust the network` },
      );
    }
    return realm;
  }

  #listed(realm: URL, access: Access): boolean {
    return [access.url.host, access.registry].some((host) =>
      this.#transport.hosts.of(host).tokenHosts.includes(realm.host)
    );
  }
}

/**
 * Whether a token server may be sent the registry's password unasked: the same host and
 * port, or another name of the same domain on the standard port.
 */
export function belongsTo(realm: URL, registry: URL): boolean {
  if (realm.host === registry.host) return realm.protocol === registry.protocol;
  if (realm.port !== "") return false;
  const domain = domainOf(realm.hostname);
  return domain !== undefined && domain === domainOf(registry.hostname);
}

/**
 * What is registered of a host name: two labels, or three where the first of two is a
 * registry's category, as in `example.co.uk`. undefined for addresses and bare names.
 */
function domainOf(hostname: string): string | undefined {
  const labels = hostname.split(".");
  if (labels.length < 2 || /^[0-9.]+$|:/.test(hostname)) return undefined;
  const [second, top] = labels.slice(-2);
  const category = top.length === 2 && second.length <= 3;
  if (category && labels.length < 3) return undefined;
  return labels.slice(category ? -3 : -2).join(".");
}

function basic({ username, password }: { username: string; password: string }): string {
  return `Basic ${new TextEncoder().encode(`${username}:${password}`).toBase64()}`;
}

/** A token goes into a header as it is. */
function checkToken(token: string, task: string): string {
  if (tokenGrammar.test(token)) return token;
  throw new KurmaError("denied", `Cannot ${task}: the token is empty or not printable`);
}

function refused(access: Access, task: string, why: string): KurmaError {
  return new KurmaError("denied", `Cannot ${task}: ${access.url.host} ${why}`, {
    fix: logIn(access),
  });
}

function logIn({ registry }: Access): string {
  return `Log in with "podman login ${registry}" or "docker login ${registry}"`;
}

function keyOf({ url, scopes }: Access): string {
  return [url.origin, ...scopes].join(" ");
}
