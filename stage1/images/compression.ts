/**
 * What compresses an archive, told by its first bytes, and the bytes without it.
 *
 * @module
 * @see docs/decisions/062-decompression.md
 */

import type { Duplex } from "node:stream";
import * as zlib from "node:zlib";
import { KurmaError } from "../../ffi/errors.ts";
import type { Chunk } from "./bytes.ts";
import { FrameScanner } from "./zstd_frames.ts";

export type Compression = "none" | "gzip" | "bzip2" | "xz" | "zstd";

const magics: readonly [Compression, readonly number[]][] = [
  ["gzip", [0x1f, 0x8b]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
];

/** The compression of bytes that start with `head`. */
export function compressionOf(head: Uint8Array): Compression {
  return magics.find(([, magic]) => magic.every((byte, at) => head[at] === byte))?.[0] ?? "none";
}

/** What inflating may yield. */
export interface InflateLimits {
  /** Bytes out for each byte in, once there are 64 MiB out. Default 250; gzip ends at 1032. */
  readonly ratio?: number;
}

const defaultRatio = 250;
const ratioFrom = 64 * 1024 * 1024;

/** A source that can be let go of before, or after, its first chunk is taken. */
export interface Whole extends AsyncIterableIterator<Chunk> {
  return(): Promise<IteratorResult<Chunk>>;
}

/**
 * The first bytes of a source, and the source still from its start.
 *
 * @param want As many as there are, up to this.
 */
export async function peek(
  source: AsyncIterable<Chunk>,
  want: number,
): Promise<{ head: Uint8Array; whole: Whole }> {
  const iterator = source[Symbol.asyncIterator]();
  const first: Chunk[] = [];
  let length = 0;
  while (length < want) {
    const { value, done } = await iterator.next();
    if (done) break;
    // What is enough by itself is passed on as it is; else the next may take its place.
    const chunk = value.length >= want ? value : new Uint8Array(value);
    first.push(chunk);
    length += chunk.length;
  }
  const head = new Uint8Array(Math.min(want, length));
  let at = 0;
  for (const chunk of first) {
    if (at === head.length) break;
    const part = chunk.subarray(0, head.length - at);
    head.set(part, at);
    at += part.length;
  }
  // No generator: one that nobody has started yet runs no `finally` when it is returned.
  const whole: Whole = {
    [Symbol.asyncIterator]: () => whole,
    async next() {
      const chunk = first.shift();
      return chunk === undefined ? await iterator.next() : { value: chunk, done: false };
    },
    async return() {
      first.length = 0;
      await iterator.return?.();
      return { value: undefined, done: true };
    },
  };
  return { head, whole };
}

/**
 * The bytes behind whatever compression `source` has. Each chunk is the reader's until it
 * asks for the next; neither `source` nor its memory is held on to.
 *
 * @param what Names it in messages.
 * @throws {KurmaError} `invalid`: damaged or truncated, or a bomb by the limits.
 */
export async function* inflated(
  source: AsyncIterable<Chunk>,
  what: string,
  limits: InflateLimits = {},
): AsyncGenerator<Chunk> {
  const { head, whole } = await peek(source, 6);
  const kind = compressionOf(head);
  if (kind === "none") return yield* whole;

  const ratio = limits.ratio ?? defaultRatio;
  let into = 0;
  let out = 0;
  async function* counted() {
    for await (const chunk of whole) {
      into += chunk.length;
      yield chunk;
    }
  }
  // An error of the source itself is the one to report, not what inflating makes of it.
  let sourceError: unknown;
  async function* watched() {
    try {
      yield* counted();
    } catch (error) {
      sourceError = error;
      throw error;
    }
  }
  try {
    const pieces = await engines[kind](watched());
    for await (const chunk of pieces) {
      out += chunk.length;
      if (out > ratioFrom && out > into * ratio) throw bomb(what, ratio);
      yield chunk;
    }
  } catch (error) {
    if (sourceError !== undefined) throw sourceError;
    if (error instanceof KurmaError) throw error;
    throw new KurmaError(
      "invalid",
      `Cannot unpack ${what}: its ${kind} data is damaged or cut off`,
      {
        cause: error,
        fix: "Fetch or save the image again",
      },
    );
  } finally {
    await whole.return(); // An engine may stop before the end of its source.
  }
}

function bomb(what: string, ratio: number): KurmaError {
  return new KurmaError(
    "invalid",
    `Cannot unpack ${what}: it grows to more than ${ratio} times its size`,
    { fix: "Do not trust it; if you do, raise the ratio limit" },
  );
}

type Engine = (
  source: AsyncIterable<Chunk>,
) => AsyncIterable<Chunk> | Promise<AsyncIterable<Chunk>>;

/** Pieces this large keep the number of calls between JavaScript and zlib low. */
const chunkSize = 256 * 1024;

const engines: Readonly<Record<Exclude<Compression, "none">, Engine>> = {
  gzip: (source) => through(source, zlib.createGunzip({ chunkSize })),
  async *zstd(source) {
    const iterator = source[Symbol.asyncIterator]();
    const rest: Rest = { chunk: new Uint8Array(0) };
    try {
      while (await refill(iterator, rest, 4)) {
        const frame = frameOf(iterator, rest);
        if (FrameScanner.isSkippable(rest.chunk)) { for await (const _ of frame); }
        else yield* through(frame, zlib.createZstdDecompress({ chunkSize }));
      }
    } finally {
      await iterator.return?.();
    }
  },
  async xz(source) {
    const library = await import("xz-decompress");
    const { XzReadableStream } = commonJs(library);
    const feed: Feed = { source, abandoned: false };
    return readAll(new XzReadableStream(ReadableStream.from(endless(feed))), feed);
  },
  async *bzip2(source) {
    const { default: unbzip2 } = await import("unbzip2-stream");
    yield* unblocked(source, unbzip2());
  },
};

/** What came of the source and belongs to no frame yet. */
interface Rest {
  chunk: Chunk;
}

/** Sees to it that `rest` has so many bytes, or all that are left; false if there are none. */
async function refill(iterator: AsyncIterator<Chunk>, rest: Rest, want: number): Promise<boolean> {
  while (rest.chunk.length < want) {
    const before = new Uint8Array(rest.chunk); // The next chunk may take its place.
    const { value, done } = await iterator.next();
    rest.chunk = before.length === 0 && !done ? value : before;
    if (done) break;
    if (before.length === 0) continue;
    const joined = new Uint8Array(rest.chunk.length + value.length);
    joined.set(rest.chunk);
    joined.set(value, rest.chunk.length);
    rest.chunk = joined;
  }
  return rest.chunk.length > 0;
}

/** The bytes of the frame that `rest` starts with. */
async function* frameOf(iterator: AsyncIterator<Chunk>, rest: Rest): AsyncGenerator<Chunk> {
  const scanner = new FrameScanner();
  while (await refill(iterator, rest, 1)) {
    const { chunk } = rest;
    const end = scanner.scan(chunk) ?? chunk.length;
    rest.chunk = chunk.subarray(end);
    yield chunk.subarray(0, end);
    if (scanner.ended) return;
  }
  throw new Error("the data ends too early");
}

/**
 * Drives a stream of node's first kind, which answers each write at once with `data`
 * events and can be neither iterated nor slowed down.
 */
async function* unblocked(
  source: AsyncIterable<Chunk>,
  engine: NodeJS.ReadWriteStream,
): AsyncGenerator<Chunk> {
  let ready: Chunk[] = [];
  let into = 0;
  let waiting = 0;
  let failure: unknown;
  engine.on("data", (chunk: Chunk) => {
    waiting += chunk.length;
    // One write may yield gigabytes; what a block can honestly be is far below this.
    if (waiting > ratioFrom + into * defaultRatio) throw new Error("too much at once");
    ready.push(chunk);
  });
  engine.on("error", (error) => failure ??= error);
  const taken = function* () {
    if (failure !== undefined) throw failure;
    const chunks = ready;
    [ready, waiting] = [[], 0];
    yield* chunks;
  };
  for await (const chunk of source) {
    for (let at = 0; at < chunk.length; at += sliceSize) {
      const slice = new Uint8Array(chunk.subarray(at, at + sliceSize)); // It keeps what it has no block of yet.
      into += slice.length;
      engine.write(slice);
      yield* taken();
    }
  }
  engine.end();
  yield* taken();
}

/** Small enough that what comes out of one stays small. */
const sliceSize = 64 * 1024;

/** What the xz library is fed with, until nobody wants what comes out any more. */
interface Feed {
  readonly source: AsyncIterable<Chunk>;
  abandoned: boolean;
}

/**
 * The library asks on after the last byte: for as long as it has something left to give,
 * which is at most 2 MiB in pieces of 64 KiB, or for ever if the data is cut off.
 */
async function* endless(feed: Feed): AsyncGenerator<Chunk> {
  for await (const chunk of feed.source) {
    for (let at = 0; at < chunk.length; at += sliceSize) {
      if (feed.abandoned) throw new Error("nobody reads any more");
      yield chunk.subarray(at, at + sliceSize);
    }
  }
  for (let asked = 0; asked < 64; asked++) yield new Uint8Array(0);
  throw new Error("the data ends too early");
}

/**
 * The chunks of the library's stream. It is never cancelled, since that frees memory it
 * still works on: one that is not wanted any more is fed nothing and read to its end.
 */
async function* readAll(stream: ReadableStream<Uint8Array>, feed: Feed): AsyncGenerator<Chunk> {
  const reader = stream.getReader();
  let ended = false;
  const next = async () => {
    try {
      const { value, done } = await reader.read();
      ended = done;
      return value as Chunk | undefined;
    } catch (error) {
      ended = true;
      throw error;
    }
  };
  try {
    for (let chunk = await next(); chunk; chunk = await next()) yield chunk;
  } finally {
    feed.abandoned = true;
    while (!ended) await next().catch(() => undefined);
  }
}

/** A CommonJS module's exports: Deno has them under `default`, the bundler does not. */
function commonJs<Module extends object>(module: Module): Module {
  return "default" in module ? module.default as Module : module;
}

/**
 * Drives one of node's engines, one chunk at a time. What comes out is the reader's until
 * it asks for the next: the garbage collector does not see how much memory hangs on these
 * few objects, and would let tens of megabytes of them gather.
 */
async function* through(source: AsyncIterable<Chunk>, engine: Duplex): AsyncGenerator<Chunk> {
  const ready: Chunk[] = [];
  let ended = false;
  let failure: Error | undefined;
  let wake = () => {};
  // Events, since an iterator over the engine would copy what has gathered into one chunk.
  engine.on("data", (chunk: Chunk) => {
    engine.pause();
    ready.push(chunk);
    wake();
  });
  engine.on("error", (error) => failure ??= error);
  for (const name of ["end", "close"]) {
    engine.on(name, () => {
      ended = true;
      wake();
    });
  }
  const fed = feed(source, engine);
  try {
    for (;;) {
      const chunk = ready.shift();
      if (chunk !== undefined) {
        yield chunk;
        giveBack(chunk);
      } else if (failure !== undefined) throw failure;
      else if (ended) return;
      else {
        const woken = new Promise<void>((resolve) => wake = resolve);
        engine.resume();
        await woken;
      }
    }
  } finally {
    engine.destroy();
    await fed;
  }
}

/** The engine goes on filling a buffer until its end, and is then done with it. */
function giveBack({ buffer, byteOffset, length }: Chunk): void {
  const whole = buffer.byteLength === chunkSize; // No part of what small chunks share.
  if (whole && byteOffset + length === chunkSize) buffer.transfer(0);
}

/** Settles when the engine has all of `source`, or is gone; lets go of `source`. */
async function feed(source: AsyncIterable<Chunk>, engine: Duplex): Promise<void> {
  const gone = new Promise<void>((resolve) => engine.once("close", resolve));
  try {
    for await (const chunk of source) {
      const taken = new Promise<void>((resolve) => engine.write(chunk, () => resolve()));
      await Promise.race([taken, gone]);
      if (engine.destroyed) return;
    }
    engine.end();
  } catch (error) {
    engine.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}
