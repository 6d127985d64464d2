/**
 * The other side of an HTTP/2 connection for tests: it sends frames as they are told,
 * right or wrong, and collects what comes back.
 *
 * @module
 */

import type { Handler, Peer, Request, Response } from "./exchange.ts";
import { frame, FrameType, preface, readFrameHeader, settingsFrame, uint32 } from "./frames.ts";
import { Decoder, encode, type Field } from "./hpack.ts";
import type { Limits } from "./limits.ts";
import { HttpServer } from "./server.ts";

/** A frame that the server sent, readable. */
export interface Answer {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array;
  /** Of HEADERS. */
  readonly fields?: Record<string, string>;
  /** Of RST_STREAM and GOAWAY. */
  readonly code?: number;
}

export const requestFields: readonly Field[] = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/echo"],
  [":authority", "kurma"],
];

/** Echoes bodies at /echo; the rest is for the tests that ask for it. */
export const echo: Handler = async (request: Request): Promise<Response> => {
  if (request.path === "/never") {
    await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    return { status: 204 };
  }
  if (request.path === "/endless") return { status: 200, body: endless() };
  if (request.path === "/unread") {
    await new Promise((resolve) => setTimeout(resolve, 50));
    return { status: 200 };
  }
  if (request.path === "/bug") throw new Error("deliberate");
  return {
    status: 200,
    header: new Headers({ "x-http": request.httpVersion }),
    body: request.body,
    trailer: new Headers({ "x-end": "1" }),
  };
};

async function* endless() {
  while (true) yield await Promise.resolve(new Uint8Array(32_768));
}

export const nobody: Peer = { kind: "unix", pid: 1, uid: 0, gid: 0 };

/** A server in this process, with connections to it that live in memory or a socket. */
export class TestServer implements AsyncDisposable {
  readonly bugs: unknown[] = [];
  readonly server: HttpServer;
  readonly #listener: Deno.Listener;
  readonly path: string;

  constructor(limits: Partial<Limits> = {}, handler: Handler = echo) {
    this.path = Deno.makeTempFileSync({ prefix: "kurma-http-" });
    Deno.removeSync(this.path);
    this.#listener = Deno.listen({ transport: "unix", path: this.path });
    this.server = new HttpServer({ handler, limits, onBug: (error) => this.bugs.push(error) });
    this.server.listen(this.#listener, () => nobody);
  }

  /** A raw connection. */
  async connect(): Promise<Deno.UnixConn> {
    return await Deno.connect({ transport: "unix", path: this.path });
  }

  /** An HTTP/2 connection that has said the preface and `settings`, but acknowledges nothing. */
  async client(settings: readonly (readonly [number, number])[] = []): Promise<TestClient> {
    const client = new TestClient(await this.connect());
    await client.send(preface, settingsFrame(settings));
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop(0);
    if (this.bugs.length > 0) throw new AggregateError(this.bugs, "bugs of the server");
  }
}

export class TestClient implements Disposable {
  readonly #connection: Deno.UnixConn;
  readonly #decoder = new Decoder();
  #bytes = new Uint8Array(0);
  #closed = false;

  constructor(connection: Deno.UnixConn) {
    this.#connection = connection;
  }

  async send(...frames: readonly Uint8Array[]): Promise<void> {
    const length = frames.reduce((sum, { length }) => sum + length, 0);
    const bytes = new Uint8Array(length);
    frames.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
    for (let at = 0; at < length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /** The next frame; null at the end of the connection. */
  async next(): Promise<Answer | null> {
    while (true) {
      if (this.#bytes.length >= 9) {
        const { length, type, flags, stream } = readFrameHeader(this.#bytes, 0);
        if (this.#bytes.length >= 9 + length) {
          const payload = this.#bytes.slice(9, 9 + length);
          this.#bytes = this.#bytes.slice(9 + length);
          return {
            ...{ type, flags, stream, payload },
            ...(type === FrameType.headers
              ? { fields: Object.fromEntries(this.#decoder.decode(payload).fields) }
              : {}),
            ...(type === FrameType.resetStream ? { code: uint32(payload, 0) } : {}),
            ...(type === FrameType.goAway ? { code: uint32(payload, 4) } : {}),
          };
        }
      }
      const buffer = new Uint8Array(65_536);
      const count = await this.#connection.read(buffer).catch((error) => {
        if (error instanceof Deno.errors.ConnectionReset) return null;
        throw error;
      });
      if (count === null) return null;
      const joined = new Uint8Array(this.#bytes.length + count);
      joined.set(this.#bytes);
      joined.set(buffer.subarray(0, count), this.#bytes.length);
      this.#bytes = joined;
    }
  }

  /** The first frame that fits, past all others; null if the connection ends before. */
  async find(fits: (answer: Answer) => boolean): Promise<Answer | null> {
    while (true) {
      const answer = await this.next();
      if (answer === null || fits(answer)) return answer;
    }
  }

  close(): void {
    if (!this.#closed) this.#connection.close();
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** HEADERS of a request; `flags` 5 ends stream and block, 4 only the block. */
export function headers(
  stream: number,
  flags = 5,
  fields: readonly Field[] = requestFields,
): Uint8Array {
  return frame(FrameType.headers, flags, stream, encode(fields));
}

export function data(stream: number, payload: string | Uint8Array, flags = 0): Uint8Array {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  return frame(FrameType.data, flags, stream, bytes);
}

/** Waits for `is`, 5 s at most. */
export async function until(what: string, is: () => boolean): Promise<void> {
  for (const end = performance.now() + 5000; !is();) {
    if (performance.now() >= end) throw new Error(`${what} did not come to be`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
