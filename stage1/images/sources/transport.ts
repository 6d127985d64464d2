/**
 * One HTTP exchange with a server that may be broken or hostile: TLS unless the
 * administrator said otherwise, redirects that do not carry credentials away, and an
 * end to every wait.
 *
 * @module
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { collect } from "../bytes.ts";
import { quote } from "./digest.ts";
import type { Hosts } from "./hosts.ts";
import { isObject } from "./json.ts";
import { type Reach, remoteAddresses } from "./reach.ts";
import { defaultTiming, PeerError, retryAfter, retrying, type Timing } from "./timing.ts";
import { Watchdog } from "./watchdog.ts";

/** What to ask a server. */
export interface Ask {
  /** The exchange in messages, for example `fetch manifest "1.0" of "example.com/app"`. */
  readonly task: string;
  readonly url: URL;
  readonly method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent to the host of `url` only. */
  readonly authorization?: string;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** HTTP without TLS is fine, because the user wrote `http://` and pinned the content. */
  readonly allowPlainHttp?: boolean;
  /** For the whole exchange; none by default. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
}

/** The head of an answer; its body is read once, or discarded. */
export interface Answer extends AsyncDisposable {
  readonly status: number;
  readonly headers: Headers;
  /** Where it came from, after redirects. */
  readonly url: URL;
  /** The body's bytes as they come. @throws {PeerError} it stops, drips or breaks off. */
  body(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>;
  /** All of the body. @throws {KurmaError} `invalid`: more than `limit` bytes. */
  bytes(limit: number): Promise<Uint8Array<ArrayBuffer>>;
}

const maxRedirects = 5;
const maxErrorBytes = 16 * 1024;

/** Sends requests; holds the connections, one pool for each host with settings of its own. */
export class Transport implements Disposable {
  readonly timing: Timing;
  readonly hosts: Hosts;
  readonly #reach: Reach;
  readonly #clients = new Map<string, Promise<Deno.HttpClient>>();

  /** @param reach `remoteRegistries`: whom it never asks. */
  constructor(hosts: Hosts, timing: Partial<Timing> = {}, reach: Reach = {}) {
    this.hosts = hosts;
    this.#reach = reach;
    this.timing = { ...defaultTiming, ...timing };
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients.values()) {
      client.then((client) => client.close(), () => {}); // One that failed has nothing to close.
    }
    this.#clients.clear();
  }

  /**
   * Sends once. GET and HEAD follow redirects.
   *
   * @returns Any answer but 408, 429 and 5xx.
   * @throws {PeerError} Not reached, refused by TLS, or one of these answers.
   * @throws {KurmaError} `denied`: HTTP without TLS, or a link-local address, unasked.
   */
  async send(ask: Ask): Promise<Answer> {
    const watchdog = new Watchdog(ask.task, this.timing, ask.signal, ask.deadlineMs);
    try {
      const { response, url } = await this.#follow(ask, watchdog);
      watchdog.headArrived();
      const answer = new HttpAnswer(response, url, watchdog, ask.task);
      const { status } = response;
      if (status !== 408 && status !== 429 && status < 500) return answer;
      throw new PeerError(await answer.complaint(), {
        transient: status !== 501 && status !== 505,
        retryAfterMs: retryAfter(response.headers.get("retry-after")),
      });
    } catch (error) {
      watchdog[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Fetches something small as a whole, with retries.
   *
   * @param limit Bytes at most.
   * @returns Any status but 408, 429 and 5xx; the caller looks at it.
   */
  document(
    ask: Ask,
    limit: number,
    attempts = this.timing.attempts,
  ): Promise<{ status: number; headers: Headers; url: URL; bytes: Uint8Array<ArrayBuffer> }> {
    const deadlineMs = this.timing.documentMs;
    return retrying(this.timing, ask.signal, async () => {
      await using answer = await this.send({ deadlineMs, ...ask });
      const { status, headers, url } = answer;
      return { status, headers, url, bytes: await answer.bytes(limit) };
    }, attempts);
  }

  async #follow(ask: Ask, watchdog: Watchdog): Promise<{ response: Response; url: URL }> {
    const method = ask.method ?? "GET";
    let { url, authorization } = ask;
    for (let redirects = 0;; redirects++) {
      this.#checkUrl(url, ask);
      const headers = new Headers(ask.headers);
      headers.set("accept-encoding", "identity"); // Digests are of the bytes as stored.
      headers.set("user-agent", "kurma");
      if (authorization !== undefined) headers.set("authorization", authorization);
      const response = await this.#fetch(
        url,
        {
          method,
          headers,
          body: ask.body,
          redirect: "manual",
          signal: watchdog.signal,
        },
        ask.task,
        watchdog,
      );
      if (![301, 302, 303, 307, 308].includes(response.status)) return { response, url };

      const location = response.headers.get("location") ?? "";
      await response.body?.cancel();
      const next = URL.parse(location, url);
      const refusal = method !== "GET" && method !== "HEAD"
        ? "sends an upload elsewhere"
        : redirects >= maxRedirects
        ? `redirects more than ${maxRedirects} times`
        : next === null
        ? `redirects to ${quote(location)}, which is no URL`
        : url.protocol === "https:" && next.protocol !== "https:"
        ? `redirects from https to ${quote(next.protocol)}`
        : undefined;
      if (refusal !== undefined || next === null) {
        throw new PeerError(`Cannot ${ask.task}: ${url.host} ${refusal}`, { transient: false });
      }
      // A password is for the host it was given for, not for where that host points.
      if (next.origin !== url.origin) authorization = undefined;
      url = next;
    }
  }

  async #fetch(
    url: URL,
    init: RequestInit,
    task: string,
    watchdog: Watchdog,
  ): Promise<Response> {
    const client = await this.#client(url, await this.#addressFor(url, task, watchdog));
    try {
      return await watchdog.wait(fetch(url, { ...init, client }));
    } catch (cause) {
      if (watchdog.signal.aborted) throw watchdog.signal.reason;
      const why = cause instanceof Error ? reword(cause.message) : String(cause);
      const certificate = /certificate/i.test(why);
      const plain = /InvalidContentType/.test(why);
      const unknown = /Name or service not known/.test(why);
      throw new PeerError(`Cannot ${task}: ${url.host}: ${why}`, {
        transient: !certificate && !plain && !unknown,
        fix: certificate
          ? `Set "ca" of ${quote(url.host)} in hosts.yaml to the authority that signed it`
          : plain
          ? `If it speaks HTTP without TLS, set "plainHttp" of ${quote(url.host)} in hosts.yaml`
          : "Check the name and the network, then try again",
      });
    }
  }

  #checkUrl(url: URL, ask: Ask): void {
    if (url.protocol === "http:") {
      if (ask.allowPlainHttp || this.hosts.of(url.host).plainHttp) {
        return this.#checkAddress(url, ask);
      }
      throw new KurmaError("denied", `Cannot ${ask.task}: ${url.host} would be asked without TLS`, {
        fix: `Use https, or set "plainHttp" of ${quote(url.host)} in hosts.yaml`,
      });
    }
    if (url.protocol !== "https:") {
      throw new KurmaError("invalid", `Cannot ${ask.task}: ${quote(url.protocol)} is not https`);
    }
    this.#checkAddress(url, ask);
  }

  /**
   * Cloud metadata services hand out keys to whoever asks from the right machine. Seen is
   * the address as it is written; what a name resolves to is only known to fetch().
   */
  #checkAddress(url: URL, ask: Ask): void {
    const linkLocal = /^169\.254\.|^\[(?:fe[89ab][0-9a-f]:|::ffff:a9fe:|fd00:ec2:)/.test(
      url.hostname,
    );
    if (!linkLocal || this.hosts.has(url.host)) return;
    throw new KurmaError("denied", `Cannot ${ask.task}: ${url.host} is a link-local address`, {
      fix: `If it serves images, list ${quote(url.host)} in hosts.yaml`,
    });
  }

  /**
   * The one address to connect to, looked up and found to be another machine's; undefined
   * where any will do. With TLS any will: whoever the name leads to by then has to have its
   * certificate. A proxy of the machine's looks names up itself.
   */
  async #addressFor(url: URL, task: string, watchdog: Watchdog): Promise<string | undefined> {
    if (!this.#reach.remoteRegistries || this.hosts.has(url.host)) return undefined;
    const [address] = await watchdog.wait(remoteAddresses(url.hostname, task));
    return url.protocol === "https:" || usesProxy() ? undefined : address;
  }

  /** @param address Where to connect to instead of looking the host up; without TLS only. */
  #client({ host, port }: URL, address?: string): Promise<Deno.HttpClient> {
    const { ca, certificate, key } = this.hosts.of(host);
    const own = (ca ?? certificate) === undefined ? "" : host;
    const proxy = address === undefined ? undefined : {
      transport: "tcp" as const,
      hostname: address,
      port: Number(port || 80),
    };
    const pool = proxy ? `${host} ${address}` : own;
    let client = this.#clients.get(pool);
    if (client === undefined) {
      client = openClient(ca, certificate, key, proxy);
      this.#clients.set(pool, client);
    }
    return client;
  }
}

class HttpAnswer implements Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly #response: Response;
  readonly #watchdog: Watchdog;
  readonly #task: string;

  constructor(response: Response, readonly url: URL, watchdog: Watchdog, task: string) {
    this.status = response.status;
    this.headers = response.headers;
    this.#response = response;
    this.#watchdog = watchdog;
    this.#task = task;
  }

  async *body(): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    if (this.#response.body === null) return;
    const reader = this.#response.body.getReader();
    try {
      while (true) {
        const { done, value } = await this.#watchdog.wait(reader.read()).catch(this.#broken);
        if (done) return;
        this.#watchdog.received(value.length);
        yield value;
      }
    } finally {
      await reader.cancel().catch(() => {}); // It has failed already, or nobody reads on.
      this.#watchdog[Symbol.dispose]();
    }
  }

  bytes(limit: number): Promise<Uint8Array<ArrayBuffer>> {
    return collect(this.body(), this.#task, limit);
  }

  /** The message for an answer that is an error. */
  async complaint(): Promise<string> {
    const said = await this.bytes(maxErrorBytes).catch(() => new Uint8Array()); // The status will do.
    return complaint(this.#task, this.url, this.#response, said);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#response.body?.locked === false) await this.#response.body.cancel().catch(() => {});
    this.#watchdog[Symbol.dispose]();
  }

  readonly #broken = (cause: unknown): never => {
    if (this.#watchdog.signal.aborted) throw this.#watchdog.signal.reason;
    const message = `Cannot ${this.#task}: ${this.url.host} broke off`;
    throw new PeerError(message, { cause, transient: true });
  };
}

/**
 * The message for an answer that is an error, with what the server says about it.
 *
 * @see distribution-spec 1.1, "Error Codes"
 */
export function complaint(
  task: string,
  url: URL,
  { status, statusText = "" }: { status: number; statusText?: string },
  body: Uint8Array,
): string {
  let said = "";
  try {
    const { errors } = JSON.parse(new TextDecoder().decode(body));
    const [first] = Array.isArray(errors) ? errors : [];
    if (isObject(first)) {
      said = [first.code, first.message].filter((text) => typeof text === "string").join(": ");
    }
  } catch {
    said = ""; // A page for people; the status says enough.
  }
  const about = said === "" ? "" : ` (${quote(said).slice(1, -1)})`;
  return `Cannot ${task}: ${url.host} answered ${status} ${statusText}`.trimEnd() + about;
}

async function openClient(
  ca: string | undefined,
  certificate: string | undefined,
  key: string | undefined,
  proxy: Deno.Proxy | undefined,
): Promise<Deno.HttpClient> {
  const system = await systemAuthorities();
  const caCerts = [...(system ? [system] : []), ...(ca ? [await readPem(ca)] : [])];
  return Deno.createHttpClient({
    caCerts,
    ...(proxy ? { proxy } : {}),
    ...(certificate && key ? { cert: await readPem(certificate), key: await readPem(key) } : {}),
  });
}

/** Whether fetch() goes through a proxy, as it does by these variables. */
function usesProxy(): boolean {
  const names = ["https_proxy", "http_proxy", "all_proxy"];
  return names.some((name) => Deno.env.get(name) || Deno.env.get(name.toUpperCase()));
}

/** The authorities that this machine's administrator trusts; Deno brings only Mozilla's. */
async function systemAuthorities(): Promise<string | undefined> {
  const places = [
    Deno.env.get("SSL_CERT_FILE"),
    "/etc/ssl/certs/ca-certificates.crt", // Debian, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt", // Fedora, RHEL
    "/etc/ssl/ca-bundle.pem", // openSUSE
    "/etc/ssl/cert.pem", // Alpine
  ];
  for (const place of places) {
    if (!place) continue;
    try {
      return await Deno.readTextFile(place);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
  return undefined;
}

async function readPem(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new KurmaError("invalid", `Cannot read ${quote(path)} named in hosts.yaml`, { cause });
  }
}

/** The part of a client error that tells something: the end of the chain. */
function reword(message: string): string {
  return message.replace(/^error sending request for url \([^)]*\):? ?/, "").replace(
    /^client error \(\w+\): /,
    "",
  ) || "cannot be reached";
}
