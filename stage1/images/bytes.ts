/**
 * Streams of bytes as the image code passes them on: async iterables of chunks, pulled
 * by whoever is last.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Algorithm, type Digest, digester } from "./sources/digest.ts";

export type Chunk = Uint8Array<ArrayBuffer>;

/** Something that can be read from its start. */
export interface Content {
  /** Bytes, if they are known before the end. */
  readonly size?: number;
  /** Each chunk is the reader's until it asks for the next, which may take its place. */
  chunks(): AsyncIterable<Chunk>;
}

/** Reads are this long: fewer, larger ones make inflating no faster. */
const readSize = 256 * 1024;

/** The bytes of a file, or `size` of them from `offset`. The path is the host's. */
export function fileContent(path: string, offset: number, size: number): Content {
  return {
    size,
    async *chunks() {
      using file = await Deno.open(path);
      await file.seek(offset, Deno.SeekMode.Start);
      const buffer = new Uint8Array(Math.min(readSize, size));
      let left = size;
      while (left > 0) {
        const length = await file.read(buffer.subarray(0, left));
        if (length === null) throw truncated(path);
        left -= length;
        yield buffer.subarray(0, length);
      }
    },
  };
}

export function memoryContent(bytes: Chunk): Content & { readonly size: number } {
  return {
    size: bytes.length,
    chunks: async function* () {
      yield bytes;
    },
  };
}

function truncated(path: string): KurmaError {
  return new KurmaError("invalid", `Cannot read "${path}": it became shorter meanwhile`, {
    fix: "Wait until the file is complete, then try again",
  });
}

/** What is known of bytes before they come. */
export interface Expectation {
  /** Names them in messages. */
  readonly what: string;
  readonly digest?: Digest;
  /** What the digest is taken by where none is expected. Default: sha256. */
  readonly algorithm?: Algorithm;
  readonly size?: number;
}

/**
 * Bytes on their way through: counted, hashed, shown to `onChunk`. {@linkcode finish}
 * says whether they were the expected ones, also if the reader stopped before the end.
 */
export class Passage {
  #source: AsyncIterator<Chunk>;
  #digester;
  #done = false;
  #count = 0;

  constructor(
    source: AsyncIterable<Chunk>,
    readonly expected: Expectation,
    readonly onChunk: (chunk: Chunk, count: number) => void | Promise<void> = () => {},
  ) {
    this.#source = source[Symbol.asyncIterator]();
    this.#digester = digester(expected.digest ?? expected.algorithm);
  }

  /** Bytes that came so far. */
  get count(): number {
    return this.#count;
  }

  /** The bytes, once. */
  async *chunks(): AsyncGenerator<Chunk> {
    for (let chunk = await this.#next(); chunk; chunk = await this.#next()) yield chunk;
  }

  /**
   * Reads what is left and checks the whole.
   *
   * @returns The digest.
   * @throws {KurmaError} `invalid`: it is not what was expected.
   */
  async finish(): Promise<Digest> {
    while (await this.#next()) { /* Hashed and counted there. */ }
    const { what, size } = this.expected;
    if (size !== undefined && this.#count !== size) {
      throw unexpected(what, `it has ${this.#count} bytes, not ${size}`);
    }
    const digest = this.#digester.digest();
    if (this.expected.digest !== undefined && digest !== this.expected.digest) {
      throw unexpected(what, `its digest is ${digest}, not ${this.expected.digest}`);
    }
    return digest;
  }

  /** Lets go of the source before its end. */
  async cancel(): Promise<void> {
    if (!this.#done) await this.#source.return?.();
    this.#done = true;
  }

  async #next(): Promise<Chunk | undefined> {
    if (this.#done) return undefined;
    const { value, done } = await this.#source.next();
    if (done) {
      this.#done = true;
      return undefined;
    }
    this.#count += value.length;
    if (this.#count > (this.expected.size ?? Infinity)) {
      throw unexpected(this.expected.what, `it has more than ${this.expected.size} bytes`);
    }
    this.#digester.update(value);
    await this.onChunk(value, this.#count);
    return value;
  }
}

function unexpected(what: string, why: string): KurmaError {
  return new KurmaError("invalid", `Cannot use ${what}: ${why}`, {
    fix: "Fetch or save the image again: its bytes were changed",
  });
}

/**
 * All bytes of a small source.
 *
 * @param task In messages, for example `read "index.json"`.
 * @throws {KurmaError} `invalid`: more than `limit` bytes.
 */
export async function collect(
  source: AsyncIterable<Chunk>,
  task: string,
  limit: number,
): Promise<Chunk> {
  const chunks: Chunk[] = [];
  let length = 0;
  for await (const chunk of source) {
    length += chunk.length;
    if (length > limit) {
      throw new KurmaError("invalid", `Cannot ${task}: it is larger than ${limit} bytes`);
    }
    chunks.push(new Uint8Array(chunk)); // A Buffer's slice() would share its memory.
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
