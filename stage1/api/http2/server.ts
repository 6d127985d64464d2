/**
 * The server: connections of any listener, HTTP/2 by prior knowledge and HTTP/1.1 beside
 * each other.
 *
 * @module
 */

import { isBroken } from "./broken.ts";
import { Http2Connection } from "./connection.ts";
import type { Connection, Duplex, Handler, Peer } from "./exchange.ts";
import { preface } from "./frames.ts";
import { Http1Connection } from "./http1.ts";
import { Budget, defaultLimits, type Limits } from "./limits.ts";
import { ReadBuffer } from "./read_buffer.ts";

/** What a server is given. */
export interface ServerOptions {
  readonly handler: Handler;
  /** What clients may cost. Default: {@linkcode defaultLimits}. */
  readonly limits?: Partial<Limits>;
  /** Told of errors that are bugs, of a handler or of the server. */
  readonly onBug: (error: unknown) => void;
}

/** Something that a connection is at one time: not yet known, HTTP/1.1, or HTTP/2. */
interface Session {
  readonly isIdle: boolean;
  readonly lastBusy: number;
  tick(now: number): void;
  shutdown(): void;
  abort(reason: string): void;
}

/** What waits for new descriptors when there are none. */
const exhaustedMs = 100;

export class HttpServer {
  readonly #handler: Handler;
  readonly #onBug: (error: unknown) => void;
  readonly #limits: Limits;
  readonly #budget: Budget;
  readonly #sessions = new Set<{ current: Session }>();
  readonly #listeners = new Set<Deno.Listener>();
  readonly #served = new Set<Promise<void>>();
  #clock: number | undefined;
  #stopping = false;

  constructor({ handler, limits, onBug }: ServerOptions) {
    this.#handler = handler;
    this.#onBug = onBug;
    this.#limits = { ...defaultLimits, ...limits };
    this.#budget = new Budget(this.#limits.buffered);
  }

  /** Connections there are now. */
  get connections(): number {
    return this.#sessions.size;
  }

  /** Request bytes that came and were not read, of all connections. */
  get buffered(): number {
    return this.#budget.used;
  }

  /**
   * Accepts connections until the server stops or the listener is closed.
   *
   * @param identify Who made a connection that was just accepted; one of whom it cannot
   *   be told is closed. No other connection is accepted meanwhile.
   */
  async listen(
    listener: Deno.Listener,
    identify: (connection: Deno.Conn) => Peer,
    limits: Partial<Limits> = {},
  ): Promise<void> {
    this.#listeners.add(listener);
    while (!this.#stopping) {
      let connection: Deno.Conn;
      try {
        connection = await listener.accept();
      } catch (error) {
        // A listener that was closed is the end; a client that has gone again is not.
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          break;
        }
        if (isExhausted(error)) await new Promise((resolve) => setTimeout(resolve, exhaustedMs));
        else if (!isBroken(error)) this.#onBug(error);
        continue;
      }
      const peer = await this.#identified(connection, identify);
      if (peer === undefined) connection.close();
      else this.serve(connection, peer, limits);
    }
    this.#listeners.delete(listener);
  }

  /** Who made it; undefined if that cannot be told. Looking takes descriptors as well. */
  async #identified(
    connection: Deno.Conn,
    identify: (connection: Deno.Conn) => Peer,
  ): Promise<Peer | undefined> {
    while (!this.#stopping) {
      try {
        return identify(connection);
      } catch (error) {
        if (!isExhausted(error)) {
          this.#onBug(error);
          return undefined;
        }
        await new Promise((resolve) => setTimeout(resolve, exhaustedMs));
      }
    }
    return undefined;
  }

  /** Serves one connection; settles when it is over. Does not reject. */
  serve(duplex: Connection, peer: Peer, limits: Partial<Limits> = {}): Promise<void> {
    const once = closedOnce(duplex);
    if (this.#stopping || !this.#makeRoom()) {
      once.close();
      return Promise.resolve();
    }
    const served = this.#serve(once, peer, { ...this.#limits, ...limits });
    this.#served.add(served);
    this.#clock ??= setInterval(() => this.#tick(), 1000);
    return served.finally(() => this.#served.delete(served));
  }

  /**
   * Stops: no new connections, no new calls; calls that run have `graceMs` to end, then
   * they are cancelled.
   */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    for (const listener of this.#listeners) listener.close();
    this.#listeners.clear();
    for (const { current } of this.#sessions) current.shutdown();
    const timer = setTimeout(() => {
      for (const { current } of this.#sessions) current.abort("The server stops");
    }, graceMs);
    await Promise.all(this.#served);
    clearTimeout(timer);
    this.#stopClock();
  }

  async #serve(duplex: Connection, peer: Peer, limits: Limits): Promise<void> {
    const buffer = new ReadBuffer();
    const session: { current: Session } = { current: new Greeting(duplex, limits.handshakeMs) };
    this.#sessions.add(session);
    try {
      const isHttp2 = await speaksHttp2(buffer, duplex);
      if (isHttp2 === undefined || this.#stopping) return;
      const handler = this.#handler;
      const options = { duplex, peer, handler, limits, budget: this.#budget, onBug: this.#onBug };
      if (isHttp2) {
        const connection = new Http2Connection(options);
        session.current = connection;
        await connection.serve(buffer);
      } else {
        const connection = new Http1Connection(options, buffer);
        session.current = connection;
        await connection.serve();
      }
    } catch (error) {
      if (!isBroken(error)) this.#onBug(error);
    } finally {
      duplex.close();
      this.#sessions.delete(session);
    }
  }

  /** @returns Whether one more connection may come; the one idle longest goes for it. */
  #makeRoom(): boolean {
    if (this.#sessions.size < this.#limits.connections) return true;
    let longest: Session | undefined;
    for (const { current } of this.#sessions) {
      if (current.isIdle && current.lastBusy < (longest?.lastBusy ?? Infinity)) longest = current;
    }
    longest?.abort("Others need the connection");
    return longest !== undefined;
  }

  /** It stands still while there is no connection, but not between one and the next. */
  #tick(): void {
    if (this.#sessions.size === 0) this.#stopClock();
    const now = performance.now();
    for (const { current } of this.#sessions) current.tick(now);
  }

  #stopClock(): void {
    clearInterval(this.#clock);
    this.#clock = undefined;
  }
}

/** A connection that has not said yet what it speaks. */
class Greeting implements Session {
  readonly isIdle = true;
  readonly lastBusy = performance.now();

  constructor(readonly duplex: Duplex, readonly limitMs: number) {}

  tick(now: number): void {
    if (now - this.lastBusy > this.limitMs) this.abort();
  }

  shutdown(): void {
    this.abort();
  }

  abort(): void {
    this.duplex.close();
  }
}

/** Reads until it is clear; undefined if the connection ends before. */
async function speaksHttp2(buffer: ReadBuffer, duplex: Duplex): Promise<boolean | undefined> {
  for (let at = 0; at < preface.length; at++) {
    while (buffer.length <= at) if (!await buffer.fill(duplex)) return undefined;
    if (buffer.bytes[buffer.start + at] !== preface[at]) return false;
  }
  return true;
}

/** The same stream, which may be closed twice. */
function closedOnce(duplex: Connection): Connection {
  let isClosed = false;
  return {
    read: (into) => duplex.read(into),
    write: (bytes) => duplex.write(bytes),
    closeWrite: () => duplex.closeWrite(),
    close() {
      if (isClosed) return;
      isClosed = true;
      duplex.close();
    },
  };
}

/** EMFILE, ENFILE, ENOMEM and ENOBUFS: what others release helps. accept(2) */
function isExhausted(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  // Deno has the errno as `code`, our own errors as `errno`.
  const errno = "errno" in error ? error.errno : "code" in error ? error.code : "";
  return ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS"].includes(String(errno));
}
