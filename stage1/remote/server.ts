/**
 * kurma-api's door: accepts connections, knows who they are, and lets nobody stay whose
 * certificate or token no longer counts.
 *
 * @module
 */

import { isIP } from "node:net";
import { TlsContext, TlsError } from "../../ffi/openssl.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { isBroken } from "../api/http2/broken.ts";
import {
  type Connection,
  type Handler,
  type Peer,
  piecesOf,
  type Request,
  type Response,
} from "../api/http2/exchange.ts";
import { HttpServer } from "../api/http2/server.ts";
import type { Log } from "../operation/log.ts";
import type { Authority } from "./authority.ts";
import { brokerLimits } from "./broker.ts";
import { fingerprintOf } from "./credentials.ts";
import { TlsConnection } from "./tls.ts";

/** How somebody shows who it is. */
export type Access =
  /** By a certificate, always. */
  | "certificates"
  /** By a certificate, or by a token with each call. */
  | "tokens"
  /** By a token with each call, without TLS: only for callers of this machine. */
  | "loopback";

export interface RemoteOptions {
  readonly hostname: string;
  /** 0 for any that is free. */
  readonly port: number;
  readonly access: Access;
  readonly authority: Authority;
  /** Answers calls; their peer is always one of kind `tls`. */
  readonly handler: Handler;
  readonly log: Log["write"];
  /** Default: {@linkcode doorLimits}. */
  readonly limits?: Partial<DoorLimits>;
}

/** What all clients together may cost before anybody knows them, and afterwards. */
export interface DoorLimits {
  /** Connections at once, those included that are on their way in or out. */
  readonly connections: number;
  /** Of these from one address. */
  readonly perAddress: number;
  /** Connections that shake hands. */
  readonly handshakes: number;
  readonly handshakesPerAddress: number;
  readonly handshakeMs: number;
  /** A connection without a certificate that makes no call. */
  readonly anonymousIdleMs: number;
}

export const doorLimits: DoorLimits = {
  connections: brokerLimits.connections,
  perAddress: 64,
  handshakes: 128,
  handshakesPerAddress: 32,
  handshakeMs: 10_000,
  anonymousIdleMs: 30_000,
};

/** How often credentials are looked at that may have expired; and where nothing tells of a change. */
const sweepMs = { watched: 10_000, unwatched: 1_000 };

/** What is taken of a request that is refused: bytes, and milliseconds. */
const maxDrained = 64 * 1024;
const drainMs = 1_000;

/** A client that showed a certificate, or a token. */
type Known = Peer & { readonly kind: "tls" };

/** A connection that is served. */
interface Guest {
  readonly duplex: Connection;
  readonly address: string;
  /** Undefined for one that shows tokens. */
  readonly known: Known | undefined;
  /** Calls that run, by tokens. */
  readonly calls: Set<{ readonly known: Known; readonly leave: AbortController }>;
}

export class RemoteServer {
  readonly #options: RemoteOptions;
  readonly #limits: DoorLimits;
  readonly #context: TlsContext | undefined;
  readonly #server: HttpServer;
  readonly #listener: Deno.TcpListener;
  readonly #watcher: Deno.FsWatcher | undefined;
  readonly #clock: number;
  readonly #guests = new Map<Peer, Guest>();
  readonly #visits = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  /** Connections by their network, and of these the ones that shake hands. */
  readonly #open = new Counts();
  readonly #greeting = new Counts();

  /**
   * Listens and serves.
   *
   * @throws {KurmaError} `missing`: no certificates, or no OpenSSL; `state`: the address
   *   cannot be had; `invalid`: loopback is asked for and the address is none.
   */
  static start(options: RemoteOptions): RemoteServer {
    return new RemoteServer(options);
  }

  private constructor(options: RemoteOptions) {
    this.#options = options;
    this.#limits = { ...doorLimits, ...options.limits };
    const { authority, access, hostname, port, handler, log } = options;
    const { credentials, folder } = authority;
    if (access === "loopback") {
      assertLoopback(hostname);
      credentials.all();
    } else {
      this.#context = new TlsContext({
        ...authority.serverFiles(),
        requireCertificate: access === "certificates",
        judge: (certificate) => this.#read(() => credentials.judge(certificate)) ?? "unknown",
      });
    }
    this.#server = new HttpServer({
      handler: (request) => this.#answer(request, handler),
      limits: { ...brokerLimits, connections: this.#limits.connections },
      onBug: (error) => log("error", "A mistake of Kurma's; please report it", { error }),
    });
    try {
      this.#listener = Deno.listen({ hostname, port });
    } catch (cause) {
      throw new KurmaError("state", `Cannot listen on "${hostname}", port ${port}`, {
        cause,
        fix: "Name an address of this machine and a port that is free, with --listen",
      });
    }
    this.#watcher = watcherOf(folder, log);
    const pause = this.#watcher === undefined ? sweepMs.unwatched : sweepMs.watched;
    this.#clock = setInterval(() => this.#sweep(), pause);
    this.#watch();
    this.#accept();
  }

  /** Where it listens, with the port that was chosen for port 0. */
  get address(): Deno.NetAddr {
    return this.#listener.addr as Deno.NetAddr;
  }

  /** Stops: calls that run have `graceMs` to end, then they are cancelled. */
  async stop(graceMs: number): Promise<void> {
    this.#listener.close();
    clearInterval(this.#clock);
    this.#watcher?.close();
    this.#stopping.abort();
    await this.#server.stop(graceMs);
    await Promise.all(this.#visits);
    this.#context?.[Symbol.dispose]();
  }

  async #accept(): Promise<void> {
    const { log } = this.#options;
    while (true) {
      let socket: Deno.TcpConn;
      try {
        socket = await this.#listener.accept();
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return;
        }
        // Without descriptors there is nothing to accept with: let others be closed first.
        if (!isBroken(error)) {
          log("warn", "Cannot accept a connection", { error });
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
        continue;
      }
      const visit: Promise<void> = this.#welcome(socket).catch((error) => {
        if (error instanceof TlsError || isBroken(error)) return;
        log("error", "A mistake of Kurma's; please report it", { error });
      }).finally(() => this.#visits.delete(visit));
      this.#visits.add(visit);
    }
  }

  /** Serves one connection to its end. */
  async #welcome(socket: Deno.TcpConn): Promise<void> {
    const { hostname, port } = socket.remoteAddr as Deno.NetAddr;
    const limits = this.#limits;
    const network = networkOf(hostname);
    const isRoom = this.#open.total < limits.connections &&
      this.#open.of(network) < limits.perAddress &&
      this.#greeting.total < limits.handshakes &&
      this.#greeting.of(network) < limits.handshakesPerAddress;
    if (!isRoom) {
      socket.close();
      this.#options.log("warn", "Sent a caller away: too many connections", { address: hostname });
      return;
    }
    const address = isIP(hostname) === 6 ? `[${hostname}]:${port}` : `${hostname}:${port}`;
    using _open = this.#open.one(network);
    socket.setNoDelay();
    if (this.#context === undefined) return await this.#serve(socket, address, undefined);
    let connection: TlsConnection;
    {
      using _greeting = this.#greeting.one(network);
      try {
        connection = await TlsConnection.accept(
          socket,
          this.#context,
          limits.handshakeMs,
          this.#stopping.signal,
        );
      } catch (error) {
        const cause = error instanceof Error ? error.message : String(error);
        this.#options.log("info", "Refused a caller", { address, cause });
        throw error;
      }
    }
    const shown = connection.certificate();
    const known = shown && this.#knownBy("certificate", fingerprintOf(shown.der), address);
    if (shown !== undefined && known === undefined) connection.close(); // Revoked just now.
    else await this.#serve(connection, address, known);
    await connection.ended;
  }

  async #serve(duplex: Connection, address: string, known: Known | undefined): Promise<void> {
    const peer: Peer = known ?? { kind: "tcp", address };
    this.#guests.set(peer, { duplex, address, known, calls: new Set() });
    try {
      const idle = known === undefined ? { idleMs: this.#limits.anonymousIdleMs } : {};
      await this.#server.serve(duplex, peer, idle);
    } finally {
      this.#guests.delete(peer);
    }
  }

  /** What the list says; undefined if it cannot be read, so that nobody is let in. */
  #read<Value>(read: () => Value): Value | undefined {
    try {
      return read();
    } catch (error) {
      this.#options.log("error", "Cannot read who may come in: nobody may", { error });
      return undefined;
    }
  }

  /** Who has that credential, if it counts. */
  #knownBy(kind: "certificate" | "token", fingerprint: string, address: string) {
    const { credentials } = this.#options.authority;
    const found = this.#read(() =>
      credentials.standing(kind, fingerprint) === "good"
        ? credentials.all().get(fingerprint)
        : undefined
    );
    if (found === undefined) return undefined;
    const { name, role } = found;
    return { kind: "tls", address, name, role, credential: kind, fingerprint } as const;
  }

  /** Answers a call of somebody whose credential counts now. */
  async #answer(request: Request, handler: Handler): Promise<Response> {
    const guest = this.#guests.get(request.peer);
    if (guest === undefined) return unauthenticated("The connection is closed");
    if (guest.known !== undefined) {
      const { fingerprint, address } = guest.known;
      const still = this.#knownBy("certificate", fingerprint, address);
      if (still !== undefined) return await handler(request);
      guest.duplex.close();
      return unauthenticated("The certificate counts no longer");
    }
    const [, token] = /^Bearer +(\S+)$/i.exec(request.header.get("authorization") ?? "") ?? [];
    if (token === undefined) {
      await drained(request);
      return unauthenticated("Cannot let you in without a token");
    }
    const found = this.#read(() => this.#options.authority.credentials.bearer(token));
    const known = found && this.#knownBy("token", found.fingerprint, guest.address);
    if (known === undefined) {
      await drained(request);
      return unauthenticated("Cannot let you in: the token does not count");
    }
    const header = new Headers(request.header);
    header.delete("authorization"); // It is nobody else's to see.
    const call = { known, leave: new AbortController() };
    guest.calls.add(call);
    const signal = AbortSignal.any([request.signal, call.leave.signal]);
    const over = () => void guest.calls.delete(call);
    try {
      return during(await handler({ ...request, header, peer: known, signal }), signal, over);
    } catch (error) {
      over();
      throw error;
    }
  }

  async #watch(): Promise<void> {
    for await (const { paths } of this.#watcher ?? []) {
      if (paths.some((path) => path.endsWith("/credentials.json"))) this.#sweep();
    }
  }

  /** Ends the connections and calls of those whose credentials no longer count. */
  #sweep(): void {
    const { log, authority: { credentials } } = this.#options;
    const stands = ({ credential, fingerprint }: Known) =>
      this.#read(() => credentials.standing(credential, fingerprint)) ?? "unknown";
    for (const { duplex, known, calls, address } of this.#guests.values()) {
      const standing = known === undefined ? "good" : stands(known);
      if (standing !== "good") {
        log("info", "Closed a connection", { address, name: known?.name, cause: standing });
        duplex.close();
      }
      for (const { known, leave } of calls) {
        if (stands(known) !== "good") leave.abort();
      }
    }
  }
}

/** The response, which ends with `signal`; `over` is called at its end. */
function during(response: Response, signal: AbortSignal, over: () => void): Response {
  const { body } = response;
  if (body === undefined) {
    over();
    return response;
  }
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("The token counts no longer")));
  });
  aborted.catch(() => undefined); // It matters only to a body that is being read.
  async function* until(whole: NonNullable<Response["body"]>) {
    const iterator = piecesOf(whole);
    try {
      while (true) {
        const { done, value } = await Promise.race([iterator.next(), aborted]);
        if (done) return;
        yield value;
      }
    } finally {
      over();
      await iterator.return(undefined);
    }
  }
  return { ...response, body: until(body) };
}

/** Takes what comes of a small request: some clients see no answer before they have sent it all. */
async function drained({ body }: Request): Promise<void> {
  let size = 0;
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, drainMs);
  const read = async () => {
    for await (const chunk of body) if ((size += chunk.length) > maxDrained) return;
  };
  await Promise.race([read(), late.promise]).finally(() => clearTimeout(timer));
}

/** What a caller is told that is not let in, as Connect has it and gRPC understands by the status. */
function unauthenticated(message: string): Response {
  const fix = "Make a token with kurma api token create, or a certificate with kurma api client";
  const debug = { code: "denied", message, causes: [], fix };
  const error = {
    code: "unauthenticated",
    message,
    details: [{ type: "kurma.v1.ErrorDetail", value: "", debug }],
  };
  const bytes = new TextEncoder().encode(JSON.stringify(error));
  return {
    status: 401,
    header: new Headers({
      "content-type": "application/json",
      "content-length": String(bytes.length),
      "www-authenticate": "Bearer",
    }),
    body: (async function* () {
      yield await Promise.resolve(bytes);
    })(),
  };
}

/** What tells of changes; undefined on a machine where others have all the watches there are. */
function watcherOf(folder: string, log: Log["write"]): Deno.FsWatcher | undefined {
  try {
    return Deno.watchFs(folder, { recursive: false });
  } catch (error) {
    log("warn", "Cannot watch who may come in: it is looked up each second", { error });
    return undefined;
  }
}

/** @throws {KurmaError} `invalid`: others could reach it as well. */
function assertLoopback(hostname: string): void {
  if (hostname === "localhost" || hostname === "::1" || /^127(\.\d+){3}$/.test(hostname)) return;
  throw new KurmaError("invalid", `Cannot listen on "${hostname}" without TLS`, {
    fix: "With --insecure-loopback, --listen is an address of loopback, as 127.0.0.1:12312",
  });
}

/**
 * Whose an address is, as far as limits go: of IPv6, a machine has 2^64 and may call from each.
 *
 * @param address As Deno writes it.
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6 || address.startsWith("::ffff:")) return address;
  const [head, tail = []] = address.split("::").map((part) => part.split(":").filter(Boolean));
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => "0");
  return [...head, ...zeros, ...tail].slice(0, 4).join(":");
}

/** How many there are, all together and by address. */
class Counts {
  readonly #of = new Map<string, number>();
  total = 0;

  of(address: string): number {
    return this.#of.get(address) ?? 0;
  }

  /** One more, until it is disposed of. */
  one(address: string): Disposable {
    this.total++;
    this.#of.set(address, this.of(address) + 1);
    return {
      [Symbol.dispose]: () => {
        this.total--;
        const left = this.of(address) - 1;
        if (left > 0) this.#of.set(address, left);
        else this.#of.delete(address);
      },
    };
  }
}
