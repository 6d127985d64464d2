/**
 * The sending half of an HTTP/2 connection: answers, as fast as the client's windows and
 * the connection take them.
 *
 * @module
 * @see RFC 9113, sections 5.2, 6.9 and 8.1
 */

import type { Response } from "./exchange.ts";
import { defaultWindow, Flag, frame, frameHeader, FrameType, minFrameSize } from "./frames.ts";
import { encode, type Field } from "./hpack.ts";
import type { Output } from "./output.ts";
import type { Stream } from "./stream.ts";

export class Sender {
  readonly #output: Output;
  readonly #onData: () => void;
  /** What the client takes on all streams together, in bytes. */
  window = defaultWindow;
  /** The largest payload of a frame that the client takes. */
  frameSize = minFrameSize;

  /** @param onData Told of each DATA frame with content. */
  constructor(output: Output, onData: () => void) {
    this.#output = output;
    this.#onData = onData;
  }

  /**
   * Sends an answer to its end.
   *
   * @returns Whether it is complete; otherwise the stream was closed meanwhile, and
   *   whoever makes the answer was told.
   */
  async respond(stream: Stream, { status, header, body, trailer }: Response): Promise<boolean> {
    const isWhole = body instanceof Uint8Array;
    const iterator = isWhole ? undefined : body?.[Symbol.asyncIterator]();
    try {
      if (this.#output.isFull) await this.#output.room();
      if (stream.closed) return false;
      const fields: Field[] = [[":status", String(status)], ...(header ?? [])];
      this.#block(stream, fields, body === undefined);
      if (isWhole) {
        await this.#data(stream, body);
        return this.#end(stream, trailer);
      }
      if (iterator === undefined) return true;
      while (!stream.closed) {
        const { done, value } = await iterator.next();
        if (done) return this.#end(stream, trailer);
        await this.#data(stream, value);
      }
      return false;
    } finally {
      if (stream.closed) await iterator?.return?.();
    }
  }

  /** Sends bytes as the windows allow; returns early if the stream is closed. */
  async #data(stream: Stream, bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      if (this.#output.isFull) await this.#output.room();
      if (stream.closed) return;
      const size = Math.min(bytes.length - at, this.frameSize, this.window, stream.sendWindow);
      if (size <= 0) {
        await stream.woken();
        continue;
      }
      stream.sendWindow -= size;
      this.window -= size;
      this.#onData();
      this.#output.push(frameHeader(size, FrameType.data, 0, stream.id));
      this.#output.push(bytes.subarray(at, at + size));
      at += size;
    }
  }

  #end(stream: Stream, trailer: Headers | undefined): boolean {
    if (stream.closed) return false;
    const fields = [...(trailer ?? [])];
    if (fields.length > 0) this.#block(stream, fields, true);
    else this.#output.push(frameHeader(0, FrameType.data, Flag.endStream, stream.id));
    return true;
  }

  #block(stream: Stream, fields: readonly Field[], endStream: boolean): void {
    const block = encode(fields);
    let type: number = FrameType.headers;
    let flags: number = endStream ? Flag.endStream : 0;
    for (let at = 0; at < block.length;) {
      const part = block.subarray(at, at + this.frameSize);
      at += part.length;
      if (at === block.length) flags |= Flag.endHeaders;
      this.#output.push(frame(type, flags, stream.id, part));
      type = FrameType.continuation;
      flags = 0;
    }
  }
}
