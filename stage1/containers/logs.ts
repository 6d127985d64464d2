/**
 * A container's log as stage3 writes it: `log`, and `log.1`, `log.2`, … with what is
 * older. Read as if it were one file, also while it is written to and rotated.
 *
 * Each record is a line `TIME STREAM TAG text` (stage3/log.zig). Whatever a container
 * prints is behind such a beginning, so that nothing it prints can be taken for a record.
 *
 * @module
 */

/** One record: a line, or a piece of one. */
export interface LogRecord {
  /** RFC 3339 in UTC with nanoseconds, as written. */
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** Whether the line goes on in the next record of this stream. */
  readonly partial: boolean;
  /** Without the line feed. */
  readonly text: Uint8Array;
}

/** Which records are wanted. */
export interface LogOptions {
  /** Go on with what comes. Default false. */
  readonly follow?: boolean;
  /** Milliseconds since 1970; leaves out what is older. */
  readonly since?: number;
  /** Milliseconds since 1970; leaves out what is newer. */
  readonly until?: number;
  /** Only the last so many lines. */
  readonly tail?: number;
  /** Ends a follower. */
  readonly signal?: AbortSignal;
  /** Whether nobody writes any more: a follower ends when all is read. */
  readonly ended?: () => boolean;
}

/** What one read takes. */
const chunkSize = 64 * 1024;

/** More than any record is; a longer line is no record. */
const maxRecord = 32 * 1024;

const header = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (stdout|stderr) ([FP]) $/;
const headerSize = "2026-01-02T03:04:05.000000006Z stdout F ".length;

/** How long a follower waits before it looks again: soon after news, then less often. */
const pollsMs = [5, 10, 20, 50, 100, 200];

/**
 * Records of the log in `folder`, in batches, oldest first. What a rotation dropped before
 * it could be read is left out.
 */
export async function* readLog(
  folder: string,
  options: LogOptions = {},
): AsyncGenerator<LogRecord[], void, undefined> {
  const since = options.since === undefined ? "" : timeText(options.since);
  const until = options.until === undefined ? "~" : timeText(options.until);
  const skip = options.tail === undefined
    ? 0
    : Math.max(0, await countLines(folder, since, until) - options.tail);
  let seen = 0;
  for await (const records of everything(folder, options)) {
    const batch: LogRecord[] = [];
    let over = false;
    for (const record of records) {
      if (record.time > until) {
        over = true;
        break;
      }
      if (record.time < since) continue;
      // Lines are counted by their ends: pieces belong to the line that ends them.
      const counts = seen >= skip;
      if (!record.partial) seen++;
      if (counts) batch.push(record);
    }
    if (batch.length > 0) yield batch;
    if (over) return;
  }
}

/** Lines of the log between two times; what has no end yet counts. */
async function countLines(folder: string, since: string, until: string): Promise<number> {
  let lines = 0;
  let open = false;
  for await (const records of everything(folder, {})) {
    for (const { time, partial } of records) {
      if (time < since || time > until) continue;
      if (!partial) lines++;
      open = partial;
    }
  }
  return lines + (open ? 1 : 0);
}

async function* everything(
  folder: string,
  { follow = false, signal, ended = () => false }: LogOptions,
): AsyncGenerator<LogRecord[], void, undefined> {
  let current = await openOldest(folder);
  const parser = new Parser();
  let idle = 0;
  try {
    while (!signal?.aborted) {
      // Asked before the last look: what was written before the end is read after it.
      const isOver = ended();
      const bytes = await current?.read();
      if (bytes) {
        idle = 0;
        yield parser.take(bytes);
        continue;
      }
      // All of this file is read; another may follow it. It was complete when it was renamed.
      const next = await newerThan(folder, current);
      if (next) {
        const rest = await current?.read();
        if (rest) {
          next.close();
          yield parser.take(rest);
          continue;
        }
        parser.endFile();
        current?.close();
        current = next;
        continue;
      }
      if (!follow || isOver) return;
      await pause(pollsMs[Math.min(idle++, pollsMs.length - 1)], signal);
    }
  } finally {
    current?.close();
  }
}

/** Cuts bytes into records. */
class Parser {
  #rest: Uint8Array = new Uint8Array();
  #skipping = false;

  take(bytes: Uint8Array): LogRecord[] {
    const all = this.#rest.length === 0 ? bytes : joined(this.#rest, bytes);
    const records: LogRecord[] = [];
    let at = 0;
    for (let end = all.indexOf(10, at); end >= 0; end = all.indexOf(10, at)) {
      const record = this.#skipping ? undefined : parse(all.subarray(at, end));
      this.#skipping = false;
      if (record) records.push(record);
      at = end + 1;
    }
    this.#rest = all.slice(at);
    if (this.#rest.length > maxRecord) {
      this.#skipping = true;
      this.#rest = new Uint8Array();
    }
    return records;
  }

  /** Nothing more of this file comes: what has no end is no record. */
  endFile(): void {
    this.#rest = new Uint8Array();
    this.#skipping = false;
  }
}

function parse(line: Uint8Array): LogRecord | undefined {
  const match = header.exec(decoder.decode(line.subarray(0, headerSize)));
  if (match === null) return undefined;
  const [, time, stream, tag] = match;
  return {
    time,
    stream: stream === "stdout" ? "stdout" : "stderr",
    partial: tag === "P",
    text: line.slice(headerSize),
  };
}

const decoder = new TextDecoder("latin1");

/** An open file of the log, by what it is and not by its name. */
class LogFile {
  readonly #file: Deno.FsFile;
  readonly #buffer = new Uint8Array(chunkSize);

  constructor(file: Deno.FsFile, readonly identity: string) {
    this.#file = file;
  }

  /** The next bytes; undefined at the end of what is there. */
  async read(): Promise<Uint8Array | undefined> {
    const length = await this.#file.read(this.#buffer);
    return length === null ? undefined : this.#buffer.slice(0, length);
  }

  close(): void {
    this.#file.close();
  }
}

/** The files of the log by name, the newest first. */
async function names(folder: string): Promise<string[]> {
  const numbers: number[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (name === "log") numbers.push(0);
      const number = /^log\.([1-9]\d{0,5})$/.exec(name)?.[1];
      if (number !== undefined) numbers.push(Number(number));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return numbers.sort((a, b) => a - b).map((number) => number === 0 ? "log" : `log.${number}`);
}

async function openOldest(folder: string): Promise<LogFile | undefined> {
  for (const name of (await names(folder)).toReversed()) {
    const file = await open(`${folder}/${name}`);
    if (file) return file;
  }
}

/** The file after `current`: the next newer one; the oldest, if `current` was dropped. */
async function newerThan(
  folder: string,
  current: LogFile | undefined,
): Promise<LogFile | undefined> {
  if (current === undefined) return await openOldest(folder);
  let newer: LogFile | undefined;
  // A file may be renamed while we look: newest first, none is passed over twice.
  for (const name of await names(folder)) {
    const file = await open(`${folder}/${name}`);
    if (file === undefined) continue;
    if (file.identity === current.identity) {
      file.close();
      return newer;
    }
    newer?.close();
    newer = file;
  }
  return newer;
}

async function open(path: string): Promise<LogFile | undefined> {
  try {
    const file = await Deno.open(path);
    const { dev, ino } = await file.stat();
    return new LogFile(file, `${dev}:${ino}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const all = new Uint8Array(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** As records have it, so that texts compare as times do. */
function timeText(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000000Z");
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
