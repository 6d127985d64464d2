/**
 * Content by digest, as a stream that survives broken connections and never yields a
 * byte more than was promised.
 *
 * @module
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { type Digest, type Digester, digester, quote } from "./digest.ts";
import type { Answer } from "./transport.ts";
import { backOff, PeerError, type Timing } from "./timing.ts";

/** Where a blob's bytes go. What it holds already is kept across attempts and processes. */
export interface BlobSink {
  /** Bytes that it holds; grows by each write. */
  readonly offset: number;
  /** What it holds, from the first byte: the digest is taken over the whole. */
  replay(): AsyncIterable<Uint8Array>;
  /** Appends; the chunk is the sink's from then on. */
  write(chunk: Uint8Array): Promise<void>;
  /** Drops all it holds, because it is no part of this blob. */
  clear(): Promise<void>;
}

/** What a stream has to turn out to be. */
export interface Expected {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/** How to read a blob. */
export interface BlobOptions {
  /** The first byte wanted; 0 by default. */
  readonly offset?: number;
  /** Has taken the bytes before `offset`; without it, only a read from 0 is verified. */
  readonly digester?: Digester;
  /** Pass mirrors by. */
  readonly direct?: boolean;
  readonly signal?: AbortSignal;
}

/** Asks a server for the bytes from `offset` on; `failures` tries in a row went wrong. */
export type Open = (offset: number, failures: number) => Promise<Answer>;

/** So much has to come between two broken connections to count as progress. */
const progressBytes = 1024 * 1024;

/**
 * The bytes of a blob from `options.offset` on. Broken connections are taken up again
 * where they broke. The stream ends well only if size and, over the whole, digest agree.
 *
 * @param task In messages, for example `fetch sha256:… of "example.com/app"`.
 * @throws {PeerError} The server gives up too often.
 * @throws {KurmaError} `invalid`: another size, another digest, another range.
 */
export async function* readBlob(
  open: Open,
  expected: Expected,
  task: string,
  timing: Timing,
  { offset = 0, digester: given, signal }: BlobOptions = {},
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const { digest, size } = expected;
  const hash = given ?? (offset === 0 ? digester(digest) : undefined);
  let position = offset;
  let failures = 0;
  let mark = position;
  while (position < size) {
    signal?.throwIfAborted();
    try {
      await using answer = await open(position, failures);
      let skip = skipOf(answer, position, size, task);
      for await (const chunk of answer.body()) {
        const fresh = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - fresh.length;
        if (fresh.length === 0) continue;
        if (position + fresh.length > size) {
          throw lie(task, `it is longer than the ${size} bytes that were promised`);
        }
        hash?.update(fresh);
        position += fresh.length;
        yield fresh;
      }
      if (position < size) {
        const message = `Cannot ${task}: it ended after ${position} of ${size} bytes`;
        throw new PeerError(message, { transient: true });
      }
    } catch (error) {
      if (position - mark >= progressBytes) [failures, mark] = [0, position];
      if (!(error instanceof PeerError && error.transient)) throw error;
      if (++failures >= timing.attempts) throw error;
      await backOff(error, failures, timing, signal);
    }
  }
  const actual = hash?.digest();
  if (actual !== undefined && actual !== digest) {
    throw new DigestError(task, digest, actual);
  }
}

/** The bytes came, but they are others. */
export class DigestError extends KurmaError {
  constructor(task: string, expected: Digest, actual: Digest) {
    super("invalid", `Cannot ${task}: its digest is ${actual}, not ${expected}`, {
      fix: "Try again; if it stays so, the server's copy is damaged or somebody changed it",
    });
  }
}

/**
 * Brings a blob into `sink`, from where an earlier attempt stopped. If the whole turns
 * out to be something else, be it for that attempt or for a mirror, it is dropped and
 * fetched once more from the source itself.
 *
 * @param read Streams the blob, verified; see {@linkcode readBlob}.
 */
export async function copyBlob(
  read: (options: BlobOptions) => AsyncIterable<Uint8Array>,
  expected: Expected,
  sink: BlobSink,
  signal?: AbortSignal,
): Promise<void> {
  if (sink.offset > expected.size) await sink.clear();
  for (const direct of [false, true]) {
    const hash = digester(expected.digest);
    for await (const chunk of sink.replay()) hash.update(chunk);
    try {
      for await (const chunk of read({ offset: sink.offset, digester: hash, direct, signal })) {
        await sink.write(chunk);
      }
      return;
    } catch (error) {
      if (!(error instanceof DigestError)) throw error; // What came is good for the next attempt.
      await sink.clear();
      if (direct) throw error;
    }
  }
}

/**
 * Calls `work` for each item, at most `limit` at once. The first failure ends the others.
 *
 * @returns The results in the items' order.
 * @throws What failed first, once nothing runs any more.
 */
export async function inParallel<Item, Result>(
  items: readonly Item[],
  limit: number,
  work: (item: Item, signal: AbortSignal) => Promise<Result>,
  outer?: AbortSignal,
): Promise<Result[]> {
  const failed = new AbortController();
  const signal = outer ? AbortSignal.any([outer, failed.signal]) : failed.signal;
  const results = new Array<Result>(items.length);
  const queue = items.entries();
  const worker = async () => {
    for (const [at, item] of queue) { // Shared: each takes the next one.
      signal.throwIfAborted();
      try {
        results[at] = await work(item, signal);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }
  };
  const workers = Array.from({ length: Math.min(limit, items.length) }, worker);
  await Promise.allSettled(workers);
  signal.throwIfAborted();
  return results;
}

/** Bytes to drop from the front: a server may ignore the range and send everything. */
function skipOf(answer: Answer, position: number, size: number, task: string): number {
  const { status, headers } = answer;
  if (status !== 200 && status !== 206) {
    throw lie(task, `the server answered ${status} to a request for a part of it`);
  }
  const length = headers.get("content-length");
  if (status === 206) {
    const range = /^bytes ([0-9]+)-([0-9]+)\/([0-9]+|\*)$/.exec(headers.get("content-range") ?? "");
    if (range === null || Number(range[1]) !== position || Number(range[2]) >= size) {
      throw lie(task, `the server sent range ${quote(headers.get("content-range") ?? "")}`);
    }
    if (range[3] !== "*" && Number(range[3]) !== size) {
      throw lie(task, `the server says it has ${range[3]} bytes, not ${size}`);
    }
    return 0;
  }
  if (length !== null && Number(length) !== size) {
    throw lie(task, `the server says it has ${length} bytes, not ${size}`);
  }
  return position;
}

function lie(task: string, why: string): KurmaError {
  return new KurmaError("invalid", `Cannot ${task}: ${why}`);
}
