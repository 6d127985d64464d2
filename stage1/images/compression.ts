/**
 * What compresses an archive, told by its first bytes, and the bytes without it.
 *
 * @module
 * @see docs/decisions/012-decompression.md
 */

import { Readable } from "node:stream";
import * as zlib from "node:zlib";
import { KurmaError } from "../../ffi/errors.ts";
import type { Chunk } from "./bytes.ts";

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

/**
 * The first bytes of a source, and the source still from its start.
 *
 * @param want As many as there are, up to this.
 */
export async function peek(
  source: AsyncIterable<Chunk>,
  want: number,
): Promise<{ head: Uint8Array; whole: AsyncGenerator<Chunk> }> {
  const iterator = source[Symbol.asyncIterator]();
  const first: Chunk[] = [];
  let length = 0;
  while (length < want) {
    const { value, done } = await iterator.next();
    if (done) break;
    first.push(value);
    length += value.length;
  }
  const head = new Uint8Array(Math.min(want, length));
  let at = 0;
  for (const chunk of first) {
    if (at === head.length) break;
    const part = chunk.subarray(0, head.length - at);
    head.set(part, at);
    at += part.length;
  }
  async function* whole(): AsyncGenerator<Chunk> {
    try {
      yield* first;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { head, whole: whole() };
}

/**
 * The bytes behind whatever compression `source` has.
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
  const pieces = await engines[kind](watched());
  try {
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
  zstd: (source) => through(source, zlib.createZstdDecompress({ chunkSize })),
  async xz(source) {
    const library = await import("xz-decompress");
    const { XzReadableStream } = commonJs(library);
    return readAll(new XzReadableStream(ReadableStream.from(source)));
  },
  async bzip2(source) {
    const { default: unbzip2 } = await import("unbzip2-stream");
    const stream = through(source, unbzip2());
    // A stream of node's first kind: it can neither be iterated nor slowed down by itself.
    return new Readable().wrap(stream) as unknown as AsyncIterable<Chunk>;
  },
};

/** The chunks of a stream. Its end is not waited for when the reader stops before it:
 * the library's `cancel` comes back only once its source has said something. */
async function* readAll(stream: ReadableStream<Uint8Array>): AsyncGenerator<Chunk> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value as Chunk;
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** A CommonJS module's exports: Deno has them under `default`, the bundler does not. */
function commonJs<Module extends object>(module: Module): Module {
  return "default" in module ? module.default as Module : module;
}

function through<Engine extends NodeJS.ReadWriteStream>(
  source: AsyncIterable<Chunk>,
  engine: Engine,
): Engine & AsyncIterable<Chunk> {
  const input = Readable.from(source);
  input.on("error", (error) => engine.emit("error", error));
  return input.pipe(engine) as Engine & AsyncIterable<Chunk>;
}
