/**
 * A request and its answer, whatever version of HTTP carries them. The shapes are those
 * that `@connectrpc/connect` calls universal.
 *
 * @module
 */

import type { Role } from "../../remote/roles.ts";

/** Whatever bytes go through both ways: a connection, or TLS over one. */
export interface Duplex {
  /** Reads at least one byte; null at the end. */
  read(into: Uint8Array): Promise<number | null>;
  /**
   * Writes at least one byte. None on a unix socket writes nothing, and rejects if nobody is at
   * the other end any more.
   */
  write(bytes: Uint8Array): Promise<number>;
  /** Ends both ways; what waits rejects. */
  close(): void;
}

/** The server's end of a connection. */
export interface Connection extends Duplex {
  /** Ends what is written, and settles when that is on its way; reading goes on. */
  closeWrite(): Promise<void>;
}

/** Who is at the other end. */
export type Peer =
  | {
    readonly kind: "unix";
    readonly pid: number;
    readonly uid: number;
    readonly gid: number;
    /** What may be done over the socket; left out: everything. */
    readonly role?: Role;
  }
  | { readonly kind: "tcp"; readonly address: string }
  | {
    readonly kind: "tls";
    readonly address: string;
    /** Whom the certificate or the token was made for. */
    readonly name: string;
    readonly role: Role;
    readonly credential: "certificate" | "token";
    /** SHA-256 of the certificate or of the token, in hexadecimal. */
    readonly fingerprint: string;
  };

/** What a client asks. */
export interface Request {
  readonly httpVersion: "1.1" | "2";
  readonly method: string;
  /** Absolute. Its host is always `kurma`: what a client calls us decides nothing. */
  readonly url: string;
  /** The path without the query. */
  readonly path: string;
  readonly header: Headers;
  /** Read at the pace of whoever reads it; rejects when the client is gone. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
  /** Aborts the signal for another reason. The client still waits, for an answer that says so. */
  cancel(reason: unknown): void;
  readonly peer: Peer;
}

/** What it is answered. */
export interface Response {
  readonly status: number;
  readonly header?: Headers;
  /** All of it, or what is read at the pace of the client. */
  readonly body?: Uint8Array | AsyncIterable<Uint8Array>;
  /** Read when `body` is at its end. */
  readonly trailer?: Headers;
}

/** A body in pieces, whatever it is. */
export async function* piecesOf(body: NonNullable<Response["body"]>): AsyncGenerator<Uint8Array> {
  if (body instanceof Uint8Array) yield body;
  else yield* body;
}

/** Answers one request. One that throws is a bug: the client gets status 500. */
export type Handler = (request: Request) => Promise<Response>;

/** Why the body of a request ends early. */
export class ClientGone extends Error {
  override name = "ClientGone";

  constructor(message = "The client is gone") {
    super(message);
  }
}

/** A response that is only text. */
export function textResponse(status: number, text: string): Response {
  const header = new Headers({ "content-type": "text/plain; charset=utf-8" });
  return { status, header, body: new TextEncoder().encode(`${text}\n`) };
}
