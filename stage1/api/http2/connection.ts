/**
 * The server's side of an HTTP/2 connection over any duplex stream.
 *
 * @module
 * @see RFC 9113
 */

import { isBroken } from "./broken.ts";
import { type Connection, type Handler, type Peer, textResponse } from "./exchange.ts";
import {
  ConnectionError,
  defaultWindow,
  ErrorCode,
  Flag,
  type Frame,
  frame,
  frameHeaderSize,
  FrameType,
  goAwayFrame,
  maxFrameSize,
  maxWindow,
  minFrameSize,
  preface,
  readFrameHeader,
  resetFrame,
  Setting,
  settingsFrame,
  StreamError,
  uint32,
  windowUpdateFrame,
  withoutPadding,
} from "./frames.ts";
import { type Head, requestHead, trailerProblem } from "./head.ts";
import { Decoder, type Field, HpackError } from "./hpack.ts";
import { type Budget, type Limits, Patience } from "./limits.ts";
import { Output } from "./output.ts";
import { ReadBuffer } from "./read_buffer.ts";
import { Sender } from "./sender.ts";
import { Stream } from "./stream.ts";

/** What a connection is given. */
export interface ConnectionOptions {
  readonly duplex: Connection;
  readonly peer: Peer;
  readonly handler: Handler;
  readonly limits: Limits;
  /** Shared with all connections of the server. */
  readonly budget: Budget;
  /** A bug: an error that a handler threw. */
  readonly onBug: (error: unknown) => void;
}

/** Of our own side. RFC 9113, 6.5.2 */
const ownFrameSize = 65_536;

/** A header block in as many frames as it likes, so far. */
interface OpenBlock {
  readonly stream: number;
  readonly endStream: boolean;
  readonly parts: Uint8Array[];
  bytes: number;
}

/** How many closed streams are remembered, to tell late frames from mistakes. */
const remembered = 1024;

export class Http2Connection {
  readonly #options: ConnectionOptions;
  readonly #output: Output;
  readonly #sender: Sender;
  readonly #decoder: Decoder;
  readonly #patience: Patience;
  readonly #streams = new Map<number, Stream>();
  /** Streams that were closed last: by us, so that frames on the way are no mistake, or not. */
  readonly #closed = new Map<number, "reset" | "ended">();
  #lastStream = 0;
  /** Handlers that have not returned, also of streams that are closed. */
  #running = 0;
  #block: OpenBlock | undefined;
  #receiveWindow: number;
  /** Bytes the client may send again, of which it does not know. */
  #credit = 0;
  /** Bytes it may not send again before they are read, since the server holds too many. */
  #withheld = 0;
  #peerWindow = defaultWindow;
  #greeted = false;
  #goingAway = false;
  #over = false;
  #lastHeard: number;
  #lastBusy: number;
  #pinged: number | undefined;

  constructor(options: ConnectionOptions) {
    const { limits, duplex } = options;
    this.#options = options;
    this.#lastHeard = this.#lastBusy = performance.now();
    this.#output = new Output(duplex, () => this.#finish("The client takes no more"));
    this.#sender = new Sender(this.#output, () => this.#patience.earn(2));
    this.#decoder = new Decoder(4096, limits.headerList);
    this.#receiveWindow = 2 * limits.streamWindow;
    this.#patience = new Patience(limits.idleFrames, limits.idleFramesPerSecond, this.#lastHeard);
  }

  /** Whether no call is under way. */
  get isIdle(): boolean {
    return this.#streams.size === 0 && this.#running === 0;
  }

  /** When the last call began or ended, by the monotonic clock. */
  get lastBusy(): number {
    return this.#lastBusy;
  }

  /**
   * Serves until either side ends the connection. Does not reject.
   *
   * @param buffer What was read of it already, the preface at its beginning.
   */
  async serve(buffer: ReadBuffer): Promise<void> {
    const { limits, duplex } = this.#options;
    this.#output.push(settingsFrame([
      [Setting.maxConcurrentStreams, limits.streams],
      [Setting.initialWindowSize, limits.streamWindow],
      [Setting.maxFrameSize, ownFrameSize],
      [Setting.maxHeaderListSize, limits.headerList],
    ]));
    this.#output.push(windowUpdateFrame(0, this.#receiveWindow - defaultWindow));
    buffer.skip(preface.length);
    try {
      while (!this.#over) {
        this.#frames(buffer);
        if (this.isIdle) buffer.shrink();
        if (!await buffer.fill(duplex)) break;
        this.#lastHeard = performance.now();
      }
    } catch (error) {
      if (error instanceof ConnectionError) await this.#fail(error);
      else if (!this.#over && !isBroken(error)) this.#options.onBug(error);
    }
    this.#finish("The client is gone");
  }

  /** Takes no more calls; those that run go on, then the connection ends. */
  shutdown(): void {
    if (this.#goingAway || this.#over) return;
    this.#goingAway = true;
    this.#output.push(goAwayFrame(this.#lastStream, ErrorCode.none, "The server stops"));
    this.#endIfDone();
  }

  /** Ends the connection now. */
  abort(reason: string): void {
    this.#finish(reason);
  }

  /** Looks whether a time is up; called about once a second. */
  tick(now: number): void {
    const { handshakeMs, idleMs, pingAfterMs, pingAnswerMs } = this.#options.limits;
    if (!this.#greeted) {
      if (now - this.#lastBusy > handshakeMs) this.#finish("No SETTINGS came");
      return;
    }
    if (this.isIdle) {
      if (now - this.#lastBusy > idleMs) this.shutdown();
      return;
    }
    if (this.#pinged !== undefined && now - this.#pinged > pingAnswerMs) {
      if (this.#lastHeard < this.#pinged) this.#finish("The client does not answer");
      this.#pinged = undefined;
    } else if (
      pingAfterMs > 0 && this.#pinged === undefined && now - this.#lastHeard > pingAfterMs
    ) {
      this.#pinged = now;
      this.#output.push(frame(FrameType.ping, 0, 0, new Uint8Array(8)));
    }
  }

  /** Handles all whole frames in the buffer. */
  #frames(buffer: ReadBuffer): void {
    while (buffer.length >= frameHeaderSize && !this.#over) {
      const { length, type, flags, stream } = readFrameHeader(buffer.bytes, buffer.start);
      if (length > ownFrameSize) {
        throw new ConnectionError(ErrorCode.frameSize, `A frame of ${length} bytes`);
      }
      if (buffer.length < frameHeaderSize + length) {
        buffer.reserve(frameHeaderSize + length);
        return;
      }
      const payload = buffer.view(frameHeaderSize, length);
      buffer.skip(frameHeaderSize + length);
      try {
        this.#frame({ type, flags, stream, payload });
      } catch (error) {
        if (!(error instanceof StreamError)) throw error;
        this.#spend(3, "Mistakes");
        this.#reset(error.stream, error.code, error.message);
      }
    }
  }

  #frame(received: Frame): void {
    const { type, stream } = received;
    if (!this.#greeted && type !== FrameType.settings) throw protocol("SETTINGS do not come first");
    if (this.#block && (type !== FrameType.continuation || stream !== this.#block.stream)) {
      throw protocol("A frame inside a header block");
    }
    switch (type) {
      case FrameType.data:
        return this.#onData(received);
      case FrameType.headers:
        return this.#onHeaders(received);
      case FrameType.priority:
        return this.#onPriority(received);
      case FrameType.resetStream:
        return this.#onReset(received);
      case FrameType.settings:
        return this.#onSettings(received);
      case FrameType.pushPromise:
        throw protocol("PUSH_PROMISE of a client");
      case FrameType.ping:
        return this.#onPing(received);
      case FrameType.goAway:
        return this.#onGoAway(received);
      case FrameType.windowUpdate:
        return this.#onWindowUpdate(received);
      case FrameType.continuation:
        return this.#onContinuation(received);
      default: // 5.5: unknown types are ignored
        return this.#spend(1, "Unknown frames");
    }
  }

  #onData(received: Frame): void {
    const { stream: id, flags, payload } = received;
    if (id === 0) throw protocol("DATA of no stream");
    if (payload.length > this.#receiveWindow) {
      throw new ConnectionError(ErrorCode.flowControl, "More DATA than the window");
    }
    this.#receiveWindow -= payload.length;
    const content = withoutPadding(received);
    if (content.length > 0) this.#patience.earn(1);
    else if ((flags & Flag.endStream) === 0) this.#spend(1, "Empty DATA");
    const stream = this.#streams.get(id);
    if (stream === undefined || stream.remoteEnded) {
      this.#giveCredit(payload.length);
      return this.#late(id, "DATA");
    }
    if (payload.length > stream.receiveWindow) {
      this.#giveCredit(payload.length);
      throw new StreamError(id, ErrorCode.flowControl, "More DATA than the window");
    }
    stream.receiveWindow -= payload.length;
    stream.received += content.length;
    const { budget } = this.#options;
    budget.take(payload.length);
    if (budget.isSpent) this.#withheld += payload.length;
    else this.#giveCredit(payload.length);
    stream.body.push(content);
    if (payload.length > content.length) this.#onRead(stream, payload.length - content.length);
    const ends = (flags & Flag.endStream) !== 0;
    const { length = stream.received, received: bytes } = stream;
    if (bytes > length || (ends && bytes < length)) {
      throw new StreamError(id, ErrorCode.protocol, "The body is not as long as it said");
    }
    if (ends) stream.endRemote();
  }

  #onHeaders(received: Frame): void {
    const { stream, flags } = received;
    if (stream % 2 === 0) throw protocol("HEADERS of a stream that no client opens");
    let part = withoutPadding(received);
    const weighted = (flags & Flag.priority) !== 0;
    if (weighted) {
      if (part.length < 5) throw new ConnectionError(ErrorCode.frameSize, "A short HEADERS");
      if ((uint32(part, 0) & maxWindow) === stream) {
        throw protocol("A stream that depends on itself");
      }
      part = part.subarray(5);
    }
    this.#block = {
      stream,
      endStream: (flags & Flag.endStream) !== 0,
      parts: [part.slice()],
      bytes: part.length,
    };
    if (flags & Flag.endHeaders) this.#onBlock();
  }

  #onContinuation({ flags, payload }: Frame): void {
    if (!this.#block) throw protocol("CONTINUATION of nothing");
    this.#spend(1, "CONTINUATION");
    this.#block.bytes += payload.length;
    this.#block.parts.push(payload.slice());
    if (this.#block.bytes > this.#options.limits.headerList) throw calm("An endless header block");
    if (flags & Flag.endHeaders) this.#onBlock();
  }

  #onBlock(): void {
    const { stream: id, endStream, parts, bytes } = this.#block!;
    this.#block = undefined;
    let block = parts[0];
    if (parts.length > 1) {
      block = new Uint8Array(bytes);
      parts.reduce((at, part) => (block.set(part, at), at + part.length), 0);
    }
    const { fields, tooLarge } = this.#decode(block);
    const stream = this.#streams.get(id);
    if (stream !== undefined) return this.#onTrailers(stream, fields, endStream);
    if (id <= this.#lastStream) return this.#late(id, "HEADERS");
    if (this.#goingAway) {
      this.#remember(id, "reset");
      return;
    }
    this.#lastStream = id;
    this.#patience.earn(1);
    const head = requestHead(fields);
    if (tooLarge) return this.#open(id, emptyHead, endStream, headersTooLarge);
    if (typeof head === "string") throw new StreamError(id, ErrorCode.protocol, head);
    if (endStream && head.length) {
      throw new StreamError(id, ErrorCode.protocol, "The body is not as long as it said");
    }
    if (this.#running >= this.#options.limits.streams) {
      throw new StreamError(id, ErrorCode.refusedStream, "Too many calls at once");
    }
    this.#open(id, head, endStream, this.#options.handler);
  }

  #decode(block: Uint8Array) {
    try {
      return this.#decoder.decode(block);
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      throw new ConnectionError(ErrorCode.compression, error.message);
    }
  }

  #onTrailers(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    const { id, remoteEnded, length = stream.received } = stream;
    if (remoteEnded) throw new StreamError(id, ErrorCode.streamClosed, "HEADERS behind the end");
    const problem = endStream ? trailerProblem(fields) : "HEADERS inside a body";
    if (problem) throw new StreamError(id, ErrorCode.protocol, problem);
    if (stream.received !== length) {
      throw new StreamError(id, ErrorCode.protocol, "The body is not as long as it said");
    }
    stream.endRemote();
  }

  #onPriority({ stream, payload }: Frame): void {
    if (stream === 0) throw protocol("PRIORITY of no stream");
    if (payload.length !== 5) throw new ConnectionError(ErrorCode.frameSize, "PRIORITY");
    if ((uint32(payload, 0) & maxWindow) === stream) {
      throw protocol("A stream that depends on itself");
    }
    this.#spend(1, "PRIORITY");
  }

  #onReset({ stream: id, payload }: Frame): void {
    if (id === 0 || id > this.#lastStream) throw protocol("RST_STREAM of no stream");
    if (payload.length !== 4) throw new ConnectionError(ErrorCode.frameSize, "RST_STREAM");
    this.#spend(3, "RST_STREAM");
    const stream = this.#streams.get(id);
    if (stream) this.#close(stream, "ended", "The client cancelled the call");
  }

  #onSettings({ stream, flags, payload }: Frame): void {
    if (stream !== 0) throw protocol("SETTINGS of a stream");
    const isAck = (flags & Flag.ack) !== 0;
    if (payload.length % 6 !== 0 || (isAck && payload.length > 0)) {
      throw new ConnectionError(ErrorCode.frameSize, "SETTINGS");
    }
    this.#greeted = true;
    if (isAck) return;
    this.#spend(1 + payload.length / 6, "SETTINGS");
    for (let at = 0; at < payload.length; at += 6) {
      this.#onSetting(payload[at] << 8 | payload[at + 1], uint32(payload, at + 2));
    }
    this.#output.push(frame(FrameType.settings, Flag.ack, 0, new Uint8Array()));
  }

  #onSetting(id: number, value: number): void {
    if (id === Setting.enablePush && value > 1) throw protocol("ENABLE_PUSH");
    if (id === Setting.maxFrameSize) {
      if (value < minFrameSize || value > maxFrameSize) throw protocol("MAX_FRAME_SIZE");
      this.#sender.frameSize = Math.min(value, ownFrameSize);
    }
    if (id === Setting.initialWindowSize) {
      if (value > maxWindow) {
        throw new ConnectionError(ErrorCode.flowControl, "INITIAL_WINDOW_SIZE");
      }
      for (const stream of this.#streams.values()) {
        stream.sendWindow += value - this.#peerWindow;
        if (stream.sendWindow > maxWindow) {
          throw new ConnectionError(ErrorCode.flowControl, "A window too large");
        }
        stream.wake();
      }
      this.#peerWindow = value;
    }
  }

  #onPing({ stream, flags, payload }: Frame): void {
    if (stream !== 0) throw protocol("PING of a stream");
    if (payload.length !== 8) throw new ConnectionError(ErrorCode.frameSize, "PING");
    if (flags & Flag.ack) return;
    this.#spend(1, "PING");
    this.#output.push(frame(FrameType.ping, Flag.ack, 0, payload));
  }

  #onGoAway({ stream, payload }: Frame): void {
    if (stream !== 0) throw protocol("GOAWAY of a stream");
    if (payload.length < 8) throw new ConnectionError(ErrorCode.frameSize, "GOAWAY");
    this.shutdown();
  }

  #onWindowUpdate({ stream: id, payload }: Frame): void {
    if (payload.length !== 4) throw new ConnectionError(ErrorCode.frameSize, "WINDOW_UPDATE");
    if (id > this.#lastStream) throw protocol("WINDOW_UPDATE of no stream");
    this.#spend(1, "WINDOW_UPDATE");
    const increment = uint32(payload, 0) & maxWindow;
    if (id === 0) {
      if (increment === 0) throw protocol("WINDOW_UPDATE by 0");
      this.#sender.window += increment;
      if (this.#sender.window > maxWindow) {
        throw new ConnectionError(ErrorCode.flowControl, "A window too large");
      }
      for (const stream of this.#streams.values()) stream.wake();
      return;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    if (increment === 0) throw new StreamError(id, ErrorCode.protocol, "WINDOW_UPDATE by 0");
    stream.sendWindow += increment;
    if (stream.sendWindow > maxWindow) {
      throw new StreamError(id, ErrorCode.flowControl, "A window too large");
    }
    stream.wake();
  }

  /** A frame of a stream that takes none: a mistake, unless we closed it a moment ago. */
  #late(id: number, what: string): void {
    if (id > this.#lastStream) throw protocol(`${what} of no stream`);
    if (this.#streams.has(id)) {
      throw new StreamError(id, ErrorCode.streamClosed, `${what} behind the end`);
    }
    const how = this.#closed.get(id);
    if (how === "reset") return this.#spend(1, what);
    if (how === undefined) throw protocol(`${what} of a stream that was passed over`);
    throw new ConnectionError(ErrorCode.streamClosed, `${what} of a closed stream`);
  }

  #open(id: number, head: Head, endStream: boolean, handler: Handler): void {
    this.#lastStream = id;
    const windows = { send: this.#peerWindow, receive: this.#options.limits.streamWindow };
    const onRead = (stream: Stream, bytes: number) => this.#onRead(stream, bytes);
    const stream = new Stream(id, windows, head.length, onRead);
    this.#streams.set(id, stream);
    this.#lastBusy = performance.now();
    this.#running++;
    if (endStream) stream.endRemote();
    this.#serveStream(stream, head, handler).catch(this.#options.onBug).finally(() => {
      this.#running--;
      this.#lastBusy = performance.now();
      this.#endIfDone();
    });
  }

  async #serveStream(stream: Stream, head: Head, handler: Handler): Promise<void> {
    const { peer, onBug } = this.#options;
    const { body, signal } = stream;
    const cancel = (reason: unknown) => stream.cancel(reason);
    const request = { httpVersion: "2", ...head, body, signal, cancel, peer } as const;
    let begun = false;
    try {
      const response = await handler(request);
      begun = true;
      if (await this.#sender.respond(stream, response)) this.#ended(stream);
    } catch (error) {
      if (stream.closed) return;
      onBug(error);
      const sorry = textResponse(500, "A bug in Kurma");
      if (begun) this.#reset(stream.id, ErrorCode.internal, "A bug in Kurma");
      else if (await this.#sender.respond(stream, sorry)) this.#ended(stream);
    }
  }

  /** The answer is complete. What still comes of the request is not wanted. */
  #ended(stream: Stream): void {
    if (!stream.remoteEnded) this.#output.push(resetFrame(stream.id, ErrorCode.none));
    this.#close(stream, stream.remoteEnded ? "ended" : "reset");
    this.#output.flush();
  }

  /** Bytes of a body are out of our hands: the client may send as many again. */
  #onRead(stream: Stream, bytes: number): void {
    this.#options.budget.give(bytes);
    const freed = Math.min(bytes, this.#withheld);
    this.#withheld -= freed;
    this.#giveCredit(freed);
    stream.credit += bytes;
    if (stream.closed || stream.remoteEnded) return;
    if (stream.credit < this.#options.limits.streamWindow / 2) return;
    stream.receiveWindow += stream.credit;
    this.#output.push(windowUpdateFrame(stream.id, stream.credit));
    stream.credit = 0;
  }

  #giveCredit(bytes: number): void {
    this.#credit += bytes;
    if (this.#credit < this.#options.limits.streamWindow || this.#over) return;
    this.#receiveWindow += this.#credit;
    this.#output.push(windowUpdateFrame(0, this.#credit));
    this.#credit = 0;
  }

  /** Ends a stream for a mistake of the client, or before it could begin. */
  #reset(id: number, code: number, reason: string): void {
    this.#output.push(resetFrame(id, code));
    const stream = this.#streams.get(id);
    if (stream) this.#close(stream, "reset", reason);
    else this.#remember(id, "reset");
  }

  #close(stream: Stream, how: "reset" | "ended", reason?: string): void {
    this.#streams.delete(stream.id);
    this.#remember(stream.id, how);
    stream.close(reason);
  }

  #remember(id: number, how: "reset" | "ended"): void {
    this.#closed.set(id, how);
    if (this.#closed.size > remembered) this.#closed.delete(this.#closed.keys().next().value!);
  }

  #spend(tokens: number, what: string): void {
    if (!this.#patience.spend(tokens, performance.now())) throw calm(`Too many: ${what}`);
    if (this.#output.queued > this.#options.limits.unreadAnswers + maxQueuedData) {
      throw calm("Answers are not read");
    }
  }

  #endIfDone(): void {
    if (this.#goingAway && this.isIdle) {
      this.#output.drained().then(() => this.#finish("The connection ends"));
    }
  }

  /** Says why, as far as the client listens, and ends. */
  async #fail({ code, message }: ConnectionError): Promise<void> {
    this.#output.push(goAwayFrame(this.#lastStream, code, message));
    this.#goingAway = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, farewellMs);
    await Promise.race([this.#output.drained(), promise]);
    clearTimeout(timer);
  }

  #finish(reason: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#output.close();
    for (const stream of [...this.#streams.values()]) this.#close(stream, "ended", reason);
    this.#options.duplex.close();
  }
}

/** For a client to read why it is cut off. */
const farewellMs = 1000;

/** What Output lets data queue up to. */
const maxQueuedData = 512 * 1024;

const emptyHead: Head = { method: "", url: "", path: "", header: new Headers(), length: undefined };

const headersTooLarge: Handler = () =>
  Promise.resolve(textResponse(431, "The header fields of the request are too large"));

function protocol(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.protocol, message);
}

function calm(message: string): ConnectionError {
  return new ConnectionError(ErrorCode.enhanceYourCalm, message);
}
