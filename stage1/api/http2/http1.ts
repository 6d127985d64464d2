/**
 * The server's side of an HTTP/1.1 connection: one request after the other, bodies with a
 * length or in chunks, both ways. For clients such as curl that speak JSON.
 *
 * @module
 * @see RFC 9112
 */

import { setImmediate } from "node:timers";
import { isBroken } from "./broken.ts";
import type { ConnectionOptions } from "./connection.ts";
import { ClientGone, type Request, type Response, textResponse } from "./exchange.ts";
import { contentLength, urlOf } from "./head.ts";
import { Output } from "./output.ts";
import type { ReadBuffer } from "./read_buffer.ts";

/** A request that breaks the rules; the connection ends behind its answer. */
class BadRequest extends Error {
  override name = "BadRequest";

  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** A request whose body has not been read. */
interface Head {
  readonly method: string;
  readonly target: string;
  readonly header: Headers;
  readonly length: number | "chunked";
  /** Whether the client sends its body only when it is asked to. */
  readonly expects: boolean;
  readonly keepAlive: boolean;
}

const cr = 0x0d;
const lf = 0x0a;
/** Of a chunk's size, with extensions. */
const maxChunkLine = 256;

export class Http1Connection {
  readonly #options: ConnectionOptions;
  readonly #output: Output;
  readonly #buffer: ReadBuffer;
  #stopping = false;
  #over = false;
  #busy = false;
  #lastBusy = performance.now();
  /** When the head of a request that is not whole began to come. */
  #headSince: number | undefined = performance.now();
  /** The read that is under way: there is one at a time, and who waits for more shares it. */
  #reading: Promise<boolean> | undefined;
  /** Whether the client has ended what it sends. */
  #inputEnded = false;
  /** When it was answered for the last time, though it may have more to send. */
  #lingersSince: number | undefined;
  #abort: AbortController | undefined;

  constructor(options: ConnectionOptions, buffer: ReadBuffer) {
    this.#options = options;
    this.#buffer = buffer;
    this.#output = new Output(options.duplex, () => this.abort("The client takes no more"));
  }

  get isIdle(): boolean {
    return !this.#busy;
  }

  get lastBusy(): number {
    return this.#lastBusy;
  }

  /** Serves until either side ends the connection. Does not reject. */
  async serve(): Promise<void> {
    try {
      const isAllRead = await this.#exchanges();
      await this.#output.drained();
      if (!isAllRead && !this.#over) await this.#linger();
    } catch (error) {
      if (!this.#over && !isBroken(error) && !(error instanceof ClientGone)) {
        this.#options.onBug(error);
      }
    }
    this.abort("The connection ends");
  }

  /** @returns Whether all that the client sent, or will send, was read. */
  async #exchanges(): Promise<boolean> {
    try {
      while (!this.#over && !this.#stopping) {
        const head = await this.#head();
        if (head === undefined) break;
        this.#busy = true;
        const { isAllRead, goOn } = await this.#exchange(head);
        this.#rest();
        if (!isAllRead) return false;
        if (!goOn) break;
      }
      return this.#buffer.length === 0;
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
      this.#rest();
      await this.#respond(textResponse(error.status, error.message), false, false);
      return false;
    }
  }

  /** Nothing is left to be answered. */
  #rest(): void {
    this.#busy = false;
    this.#lastBusy = performance.now();
  }

  /**
   * Takes what a client that was answered early still sends, until it goes. One that writes to a
   * connection that is closed fails, and may do so before it has read its answer.
   *
   * @see RFC 9112, 9.6
   */
  async #linger(): Promise<void> {
    this.#lingersSince = performance.now();
    await this.#options.duplex.closeWrite();
    do this.#buffer.skip(this.#buffer.length); while (!this.#over && await this.#fill());
  }

  /** Takes no more requests; one that runs is answered, then the connection ends. */
  shutdown(): void {
    this.#stopping = true;
    if (!this.#busy) this.abort("The server stops");
  }

  /** Ends the connection now. */
  abort(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#abort?.abort(new ClientGone(reason));
    this.#output.close();
    this.#options.duplex.close();
  }

  /** Looks whether a time is up; called about once a second. */
  tick(now: number): void {
    const { handshakeMs, idleMs, lingerMs } = this.#options.limits;
    if (this.#busy) {
      if (this.#inputEnded) this.#findClient();
      return;
    }
    if (this.#lingersSince !== undefined && now - this.#lingersSince > lingerMs) {
      this.abort("It goes on though it was answered");
    } else if (this.#headSince !== undefined && now - this.#headSince > handshakeMs) {
      this.abort("No request came");
    } else if (now - this.#lastBusy > idleMs) this.shutdown();
  }

  async #exchange(head: Head): Promise<{ isAllRead: boolean; goOn: boolean }> {
    const { peer, handler, onBug } = this.#options;
    const abort = this.#abort = new AbortController();
    const body = this.#body(head);
    const request: Request = {
      httpVersion: "1.1",
      method: head.method,
      url: urlOf(head.target),
      path: head.target.split("?", 1)[0],
      header: head.header,
      body: body.bytes,
      signal: abort.signal,
      cancel: (reason) => abort.abort(reason),
      peer,
    };
    if (head.length === 0) this.#watchSoon();
    let response: Response;
    try {
      response = await handler(request);
    } catch (error) {
      if (error instanceof BadRequest) throw error;
      if (!this.#over) onBug(error);
      response = textResponse(500, "A bug in Kurma");
    }
    // Behind the head of the answer it would be no answer.
    if (response.status < 400) body.ask();
    // What is left of a body that nobody wanted would be taken for the next request; an answer
    // that is made while it goes out may still read it.
    const goOn = head.keepAlive && !this.#stopping && (body.isRead() || !isWhole(response.body));
    await this.#respond(response, head.method === "HEAD", goOn);
    this.#abort = undefined; // It is answered: nothing is left to be told.
    return { isAllRead: body.isRead(), goOn };
  }

  async #respond(response: Response, headOnly: boolean, keepAlive: boolean): Promise<void> {
    const { status, header, trailer } = response;
    const length = isWhole(response.body)
      ? String(response.body?.length ?? 0)
      : header?.get("content-length") ?? undefined;
    const chunked = length === undefined;
    let lines = chunked ? "transfer-encoding: chunked\r\n" : `content-length: ${length}\r\n`;
    if (!keepAlive) lines += "connection: close\r\n";
    for (const [name, value] of header ?? []) {
      const isSaid = name === "content-length" || (name === "connection" && !keepAlive);
      if (!isSaid) lines += `${name}: ${value}\r\n`;
    }
    const first = latin1(`HTTP/1.1 ${status} \r\n${lines}\r\n`);
    if (response.body instanceof Uint8Array) {
      this.#output.send(headOnly ? [first] : [first, response.body]);
      return;
    }
    this.#output.push(first);
    const { body } = response;
    const iterator = body?.[Symbol.asyncIterator]();
    try {
      while (iterator && !headOnly && !this.#over) {
        const { done, value } = await iterator.next();
        if (done) break;
        if (value.length === 0) continue;
        if (chunked) this.#output.push(latin1(`${value.length.toString(16)}\r\n`));
        this.#output.push(value);
        if (chunked) this.#output.push(latin1("\r\n"));
        await this.#output.room();
      }
    } catch (error) {
      if (!this.#over) this.#options.onBug(error);
      this.abort("A bug in Kurma");
      return;
    } finally {
      if (this.#over || headOnly) await iterator?.return?.();
    }
    if (chunked && !headOnly) {
      const fields = [...(trailer ?? [])].map(([name, value]) => `${name}: ${value}\r\n`).join("");
      this.#output.push(latin1(`0\r\n${fields}\r\n`));
    }
    this.#output.flush();
  }

  /**
   * The body of a request, read from the connection at the pace of whoever reads it. A client that
   * waits to be asked for it is asked when it is read, so one that is refused before sends nothing.
   */
  #body(head: Head): { bytes: AsyncIterable<Uint8Array>; isRead(): boolean; ask(): void } {
    let isRead = head.length === 0;
    let isAwaited = head.expects && !isRead;
    const ask = () => {
      if (!isAwaited) return;
      isAwaited = false;
      this.#output.send([latin1("HTTP/1.1 100 Continue\r\n\r\n")]);
    };
    const over = () => {
      isRead = true;
      this.#watchSoon();
    };
    const pieces = head.length === "chunked" ? this.#chunks(over) : this.#bytes(head.length, over);
    const bytes = {
      [Symbol.asyncIterator]() {
        ask();
        return pieces;
      },
    };
    return { bytes, isRead: () => isRead, ask };
  }

  async *#bytes(length: number, over?: () => void): AsyncGenerator<Uint8Array> {
    for (let left = length; left > 0;) {
      await this.#atLeast(1);
      const piece = this.#take(Math.min(left, this.#buffer.length));
      left -= piece.length;
      yield piece;
    }
    over?.();
  }

  async *#chunks(over: () => void): AsyncGenerator<Uint8Array> {
    while (true) {
      const line = await this.#line(maxChunkLine);
      const size = /^([0-9a-f]{1,8})(?:[ \t]*;.*)?$/i.exec(line)?.[1];
      if (size === undefined) throw new BadRequest(400, "A chunk without a size");
      const length = parseInt(size, 16);
      if (length === 0) break;
      yield* this.#bytes(length);
      if (await this.#line(2) !== "") throw new BadRequest(400, "A chunk longer than its size");
    }
    // Trailers mean nothing to us; they count as a head.
    for (let left = maxHead; (await this.#line(left)) !== "";) left -= 128;
    over();
  }

  /** The next head; undefined if the client is done. */
  async #head(): Promise<Head | undefined> {
    if (this.#buffer.length > 0) this.#headSince = performance.now();
    while (true) {
      const end = this.#find("\r\n\r\n");
      if ((end < 0 ? this.#buffer.length : end) > maxHead) {
        throw new BadRequest(431, "The head is too large");
      }
      if (end >= 0) {
        const text = textOf(this.#take(end + 4).subarray(0, end));
        this.#headSince = undefined;
        return parseHead(text);
      }
      if (this.#buffer.length > 0) this.#headSince ??= performance.now();
      if (!await this.#fill()) return undefined;
    }
  }

  /** A line without its end. */
  async #line(limit: number): Promise<string> {
    while (true) {
      const end = this.#find("\r\n");
      if (end > limit || (end < 0 && this.#buffer.length > limit + 2)) {
        throw new BadRequest(400, "A line that is too long");
      }
      if (end >= 0) return textOf(this.#take(end + 2).subarray(0, end));
      if (!await this.#fill()) throw new ClientGone();
    }
  }

  async #atLeast(bytes: number): Promise<void> {
    while (this.#buffer.length < bytes) if (!await this.#fill()) throw new ClientGone();
  }

  /** A copy of the next bytes, which are then gone from the buffer. */
  #take(length: number): Uint8Array {
    const bytes = this.#buffer.view(0, length).slice();
    this.#buffer.skip(length);
    return bytes;
  }

  /** Where line ends stand in the buffer, from its start; -1 if they do not. */
  #find(ends: "\r\n" | "\r\n\r\n"): number {
    const { bytes, start, end } = this.#buffer;
    const last = end - ends.length;
    for (let at = bytes.indexOf(cr, start); at >= 0 && at <= last; at = bytes.indexOf(cr, at + 1)) {
      if (bytes[at + 1] !== lf) continue;
      if (ends.length === 2 || (bytes[at + 2] === cr && bytes[at + 3] === lf)) return at - start;
    }
    return -1;
  }

  /** @returns Whether more came. */
  #fill(): Promise<boolean> {
    return this.#reading ??= this.#buffer.fill(this.#options.duplex)
      .finally(() => this.#reading = undefined);
  }

  /** Looks after the client once the answer has to be waited for: most are there at once. */
  #watchSoon(): void {
    const exchange = this.#abort;
    setImmediate(() => {
      if (this.#abort === exchange && !this.#over) this.#watchClient();
    });
  }

  /** Reads ahead while a request is answered: a client that goes away ends its request. */
  #watchClient(): void {
    if (this.#reading !== undefined || this.#buffer.length > 0) return;
    this.#buffer.shrink();
    this.#fill().then((more) => {
      if (more) return;
      this.#inputEnded = true;
      this.#findClient();
    }, (error) => this.#lose(error));
  }

  /**
   * Ends the request of a client that is gone, not of one that has only ended what it sends, by
   * shutdown(2). On a unix socket a write of nothing fails for the one and not for the other.
   * TCP does not tell them apart: there the end of what it sends is taken for that of the client.
   *
   * @see unix(7), write(2): EPIPE
   */
  #findClient(): void {
    const { duplex, peer } = this.#options;
    if (peer.kind !== "unix") this.#lose();
    // While something waits to be written, that tells.
    else if (this.#output.queued === 0) {
      duplex.write(new Uint8Array()).catch((error) => this.#lose(error));
    }
  }

  /** The client is gone. */
  #lose(error?: unknown): void {
    if (error !== undefined && !this.#over && !isBroken(error)) this.#options.onBug(error);
    if (this.#busy) this.abort("The client is gone");
  }
}

const maxHead = 32 * 1024;

/** Whether the body of an answer is all there before the answer begins. */
function isWhole(body: Response["body"]): body is Uint8Array | undefined {
  return body === undefined || body instanceof Uint8Array;
}

/**
 * The head of a request.
 *
 * @throws {BadRequest}
 */
function parseHead(text: string): Head {
  const [first, ...lines] = text.replace(/^(\r\n)+/, "").split("\r\n");
  const [, method, target, version] = /^([A-Z]{1,20}) (\S+) HTTP\/(\d\.\d)$/.exec(first) ?? [];
  if (method === undefined) throw new BadRequest(400, "This is no HTTP request");
  if (version !== "1.1") throw new BadRequest(505, "Only HTTP/1.1 and HTTP/2 are spoken here");
  const path = target.replace(/^https?:\/\/[^/?]*/, "");
  if (!/^\/[\x21-\x7e]*$/.test(path)) throw new BadRequest(400, "The request has no path");
  const header = new Headers();
  for (const line of lines) {
    const [, name, value] = linePattern.exec(line) ?? [];
    if (name === undefined) throw new BadRequest(400, "A header field is malformed");
    header.append(name, value);
  }
  if (!header.has("host")) throw new BadRequest(400, "The request names no host");
  const coding = header.get("transfer-encoding");
  const length = contentLength(header);
  if (length === null || (coding !== null && length !== undefined)) {
    throw new BadRequest(400, "The length of the body is not certain");
  }
  if (coding !== null && coding.toLowerCase() !== "chunked") {
    throw new BadRequest(501, "Bodies are sent plain or in chunks");
  }
  return {
    method,
    target: path,
    header,
    length: coding === null ? length ?? 0 : "chunked",
    expects: header.get("expect")?.toLowerCase() === "100-continue",
    keepAlive: !/\bclose\b/i.test(header.get("connection") ?? ""),
  };
}

// deno-lint-ignore no-control-regex -- RFC 9110, 5.5 has no other control characters.
const linePattern = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*$/;

const decoder = new TextDecoder("latin1");

function textOf(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

function latin1(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}
