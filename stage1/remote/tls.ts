/**
 * The server's side of TLS over a TCP connection, as a stream of bytes.
 *
 * @module
 */

import {
  type ShownCertificate,
  type TlsContext,
  TlsError,
  type TlsSession,
} from "../../ffi/openssl.ts";
import type { Connection } from "../api/http2/exchange.ts";

/** What is encrypted or decrypted in one go: four of the largest records of TLS. RFC 8446, 5.1 */
const batchSize = 64 * 1024;

/** The same with what surrounds each record. */
const wireSize = batchSize + 4 * 256;

/** Answers to a client's own messages of TLS that it does not read, in bytes. */
const maxUnread = 64 * 1024;

/** For a client that was told goodbye to go, in milliseconds. */
const lingerMs = 1_000;

/** What a client sends after it was told goodbye, in bytes. */
const maxLate = 256 * 1024;

/** A connection whose client has shown who it is, if it has anything to show. */
export class TlsConnection implements Connection {
  readonly #socket: Deno.TcpConn;
  readonly #session: TlsSession;
  readonly #received = new Uint8Array(wireSize);
  readonly #sent = new Uint8Array(wireSize);
  #flushing: Promise<void> | undefined;
  #isClosed = false;
  readonly #ended = Promise.withResolvers<void>();

  private constructor(socket: Deno.TcpConn, session: TlsSession) {
    this.#socket = socket;
    this.#session = session;
  }

  /**
   * Shakes hands.
   *
   * @param limitMs After which a client that has not is sent away.
   * @param signal Ends it early.
   * @throws {TlsError} The client was refused, and was told why. The connection is closed.
   */
  static async accept(
    socket: Deno.TcpConn,
    context: TlsContext,
    limitMs: number,
    signal: AbortSignal,
  ): Promise<TlsConnection> {
    const connection = new TlsConnection(socket, context.session());
    let why: string | undefined;
    const end = (reason: string) => {
      why = reason;
      connection.#abandon();
    };
    const stop = () => end("the server stops");
    const timer = setTimeout(() => end(`no handshake within ${limitMs / 1000} s`), limitMs);
    signal.addEventListener("abort", stop);
    try {
      await connection.#handshake();
      return connection;
    } catch (error) {
      if (why !== undefined) throw new TlsError(why);
      await connection.#leave(false);
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    }
  }

  /** What the client has shown; undefined if nothing. */
  certificate(): ShownCertificate | undefined {
    return this.#session.certificate();
  }

  /** Settles when the connection is no more. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  async read(into: Uint8Array): Promise<number | null> {
    while (true) {
      if (this.#isClosed) throw new Deno.errors.Interrupted("The connection is closed");
      const count = this.#session.read(into);
      // A client may make TLS itself answer. It is not waited for, unless it makes a heap of that.
      const { pending } = this.#session;
      if (pending > 0) {
        const flushed = this.#flush();
        if (pending > maxUnread) await flushed;
        else flushed.catch(ignored);
      }
      if (count !== undefined) return count;
      if (!await this.#receive()) return null;
    }
  }

  async write(bytes: Uint8Array): Promise<number> {
    if (this.#isClosed) throw new Deno.errors.BrokenPipe("The connection is closed");
    const batch = bytes.subarray(0, batchSize);
    for (let at = 0; at < batch.length;) at += this.#session.write(batch.subarray(at));
    await this.#flush();
    return batch.length;
  }

  async closeWrite(): Promise<void> {
    if (this.#isClosed) throw new Deno.errors.BrokenPipe("The connection is closed");
    await this.#endOutput(true);
  }

  close(): void {
    this.#leave(true).catch(ignored);
  }

  async #handshake(): Promise<void> {
    while (true) {
      let isDone: boolean;
      try {
        isDone = this.#session.handshake();
      } finally {
        await this.#flush(); // An alert as well.
      }
      if (isDone) return;
      if (!await this.#receive()) throw new TlsError("the client went away in the handshake");
    }
  }

  /** @returns False at the end of what the client sends. */
  async #receive(): Promise<boolean> {
    const count = await this.#socket.read(this.#received);
    if (count === null) return false;
    this.#session.feed(this.#received.subarray(0, count));
    return true;
  }

  /** Sends what waits, in order; settles when nothing does. */
  #flush(): Promise<void> {
    return this.#flushing ??= this.#send().finally(() => this.#flushing = undefined);
  }

  async #send(): Promise<void> {
    for (let size = this.#session.drain(this.#sent); size > 0;) {
      for (let at = 0; at < size;) at += await this.#socket.write(this.#sent.subarray(at, size));
      size = this.#session.drain(this.#sent);
    }
  }

  /**
   * Says goodbye and lets the client go first: closing with something unread would reset the
   * connection, and take from the client what it was told.
   */
  async #leave(isPolite: boolean): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const timer = setTimeout(() => this.#abandon(), lingerMs);
    try {
      await this.#endOutput(isPolite);
      for (let late = 0; late < maxLate;) {
        const count = await this.#socket.read(this.#received);
        if (count === null) break;
        late += count;
      }
    } finally {
      clearTimeout(timer);
      this.#abandon();
    }
  }

  async #endOutput(isPolite: boolean): Promise<void> {
    if (isPolite) this.#session.end();
    await this.#flush();
    await this.#socket.closeWrite();
  }

  #abandon(): void {
    this.#isClosed = true;
    try {
      this.#socket.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error; // It was closed before.
    }
    this.#session[Symbol.dispose]();
    this.#ended.resolve();
  }
}

/** Of a connection that is over, whoever reads or writes is told. */
function ignored(): void {}
