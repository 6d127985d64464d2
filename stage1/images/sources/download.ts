/**
 * A file from a web server, taken up again where an earlier attempt stopped if it is
 * certain to be the same file still.
 *
 * @module
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { type BlobSink, DigestError } from "./blob.ts";
import { type Digest, type Digester, digester, quote } from "./digest.ts";
import type { HttpReference } from "./reference.ts";
import { backOff, PeerError } from "./timing.ts";
import { type Answer, type Ask, complaint, type Transport } from "./transport.ts";

export interface DownloadOptions {
  /** What the sink holds belongs to the file that this named; from an earlier download. */
  readonly validator?: string;
  /** Bytes at most; 64 GiB by default. */
  readonly maxBytes?: number;
  /** HTTP without TLS although no digest pins the content. */
  readonly insecure?: boolean;
  readonly signal?: AbortSignal;
  /** Called with what to give as `validator` should this download be cut short. */
  readonly onValidator?: (validator: string | undefined) => void | Promise<void>;
  /** Called with the bytes of the whole file, where the server says how many. */
  readonly onSize?: (bytes: number) => void;
}

export interface Downloaded {
  readonly digest: Digest;
  readonly size: number;
  /** After redirects. */
  readonly url: string;
}

/**
 * Downloads into `sink`.
 *
 * Plain `http://` needs a digest, `plainHttp` of the host in hosts.yaml, or `insecure`.
 *
 * @throws {KurmaError} `missing`, `denied`, `unavailable`; `invalid`: another digest.
 */
export async function download(
  transport: Transport,
  { url, digest }: Pick<HttpReference, "url" | "digest">,
  sink: BlobSink,
  options: DownloadOptions = {},
): Promise<Downloaded> {
  const task = `download ${quote(url)}`;
  const { timing } = transport;
  const ask: Ask = {
    task,
    url: new URL(url),
    allowPlainHttp: digest !== undefined || options.insecure,
    signal: options.signal,
  };
  let { validator } = options;
  let mark = sink.offset;
  // Bytes that no digest and no validator can vouch for may be of another file.
  if (digest === undefined && validator === undefined && sink.offset > 0) await sink.clear();
  let inherited = sink.offset > 0;
  let hash = await replayed(sink, digest);
  for (let failures = 0;;) {
    try {
      await using answer = await transport.send({ ...ask, headers: range(sink.offset, validator) });
      const start = await startOf(answer, sink.offset, task);
      const current = validatorOf(answer.headers);
      const isOther = answer.status === 206 && digest === undefined && current !== validator;
      if (start !== sink.offset || isOther) {
        await sink.clear();
        hash = digester(digest);
      }
      validator = current;
      if (isOther) continue; // The server ignored what was to be the same: once more, all of it.
      await options.onValidator?.(validator);
      const length = Number(answer.headers.get("content-length") ?? NaN);
      if (answer.status < 300 && length >= 0) options.onSize?.(sink.offset + length);
      await receive(answer, sink, hash, options.maxBytes ?? 64 * 2 ** 30, task);
      const actual = hash.digest();
      if (digest !== undefined && actual !== digest) {
        await sink.clear();
        if (!inherited) throw new DigestError(task, digest, actual);
        inherited = false; // What was there may have been of another file: once more, all of it.
        hash = digester(digest);
        continue;
      }
      return { digest: actual, size: sink.offset, url: answer.url.href };
    } catch (error) {
      if (sink.offset - mark >= 1024 * 1024) [failures, mark] = [0, sink.offset];
      if (!(error instanceof PeerError && error.transient)) throw error;
      if (++failures >= timing.attempts) throw error;
      await backOff(error, failures, timing, options.signal);
      if (digest === undefined && validator === undefined) await sink.clear();
      hash = await replayed(sink, digest);
    }
  }
}

async function replayed(sink: BlobSink, like: Digest | undefined): Promise<Digester> {
  const hash = digester(like);
  for await (const chunk of sink.replay()) hash.update(chunk);
  return hash;
}

function range(offset: number, validator: string | undefined): Record<string, string> {
  if (offset === 0) return {};
  return { range: `bytes=${offset}-`, ...(validator ? { "if-range": validator } : {}) };
}

/** Where the answer's bytes belong: behind what there is, or at the start. */
async function startOf(answer: Answer, offset: number, task: string): Promise<number> {
  const { status, headers, url } = answer;
  if (status === 200) return 0;
  if (status === 206) {
    const part = /^bytes ([0-9]+)-/.exec(headers.get("content-range") ?? "");
    if (offset > 0 && Number(part?.[1]) === offset) return offset;
    throw new KurmaError("invalid", `Cannot ${task}: the server sent another part than asked for`);
  }
  // All of it is here already, so there is nothing behind the offset.
  if (status === 416 && headers.get("content-range") === `bytes */${offset}`) return offset;
  const said = await answer.bytes(16 * 1024).catch(() => new Uint8Array()); // The status will do.
  throw new KurmaError(
    status === 404 || status === 410 ? "missing" : status < 404 ? "denied" : "invalid",
    complaint(task, url, { status }, said),
    { fix: "Check the URL" },
  );
}

async function receive(
  answer: Answer,
  sink: BlobSink,
  hash: Digester,
  maxBytes: number,
  task: string,
): Promise<void> {
  if (answer.status === 416) return;
  const total = Number(/\/([0-9]+)$/.exec(answer.headers.get("content-range") ?? "")?.[1]);
  for await (const chunk of answer.body()) {
    if (sink.offset + chunk.length > maxBytes) {
      await sink.clear();
      throw new KurmaError("invalid", `Cannot ${task}: it is larger than ${maxBytes} bytes`);
    }
    hash.update(chunk);
    await sink.write(chunk);
  }
  if (total > sink.offset) {
    const message = `Cannot ${task}: it ended after ${sink.offset} of ${total} bytes`;
    throw new PeerError(message, { transient: true });
  }
}

/** What tells this version of the file from others: a strong ETag, else its date. */
function validatorOf(headers: Headers): string | undefined {
  const etag = headers.get("etag");
  if (etag?.startsWith('"') && etag.length <= 256) return etag;
  return headers.get("last-modified") ?? undefined;
}
