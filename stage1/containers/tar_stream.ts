/**
 * Tar as a stream, for copying files into containers and out of them.
 *
 * @module
 * @see POSIX.1-2017 pax(1), "ustar Interchange Format" and "pax Interchange Format"
 */

import { KurmaError } from "../../ffi/errors.ts";

/** One file, folder or link. */
export interface Entry {
  /** With neither `.` nor empty parts; no `/` in front or at the end. May hold `..`. */
  readonly name: string;
  readonly kind: "file" | "folder" | "link" | "hard link";
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since 1970. */
  readonly modified: number;
  /** Bytes of a file. */
  readonly size: number;
  /** Where a link leads; the name of a hard link's other entry. */
  readonly target: string;
}

/** What an archive may have. */
export const tarStreamLimits = { header: 64 * 1024, name: 4_095 } as const;

const block = 512;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Type flags by kind. */
const flags = { file: "0", "hard link": "1", link: "2", folder: "5" } as const;

type Bytes = Uint8Array<ArrayBuffer>;

/** What ends an archive. */
export const streamEnd: Bytes = new Uint8Array(2 * block);

/** The header of an entry, with an extended one before it where its fields are too short. */
export function encodeEntry(entry: Entry): Bytes {
  const name = entry.kind === "folder" ? `${entry.name}/` : entry.name;
  const records: string[] = [];
  const fit = (key: string, value: string, limit: number): string => {
    if (encoder.encode(value).length <= limit) return value;
    records.push(record(key, value));
    return decoder.decode(encoder.encode(value).subarray(0, limit)).replaceAll("\ufffd", "_");
  };
  const number = (key: string, value: number, digits: number): string => {
    if (value < 8 ** digits) return value.toString(8).padStart(digits, "0");
    records.push(record(key, String(value)));
    return "0".repeat(digits);
  };
  const fields: [string, number][] = [
    [fit("path", name, 100), 0],
    [(entry.mode & 0o7777).toString(8).padStart(7, "0"), 100],
    [number("uid", entry.uid, 7), 108],
    [number("gid", entry.gid, 7), 116],
    [number("size", entry.size, 11), 124],
    [number("mtime", Math.max(0, Math.trunc(entry.modified)), 11), 136],
    [flags[entry.kind], 156],
    [fit("linkpath", entry.target, 100), 157],
  ];
  const own = header(fields);
  if (records.length === 0) return own;
  const body = encoder.encode(records.join(""));
  const extended = header([
    ["pax", 0],
    ["0000644", 100],
    ["0000000", 108],
    ["0000000", 116],
    [body.length.toString(8).padStart(11, "0"), 124],
    ["0".repeat(11), 136],
    ["x", 156],
  ]);
  const all = new Uint8Array(extended.length + padded(body.length) + own.length);
  all.set(extended);
  all.set(body, block);
  all.set(own, block + padded(body.length));
  return all;
}

/** Bytes that `size` bytes of data take with what pads them. */
export function padded(size: number): number {
  return Math.ceil(size / block) * block;
}

function header(fields: readonly [string, number][]): Bytes {
  const bytes = new Uint8Array(block);
  for (const [text, at] of fields) bytes.set(encoder.encode(text), at);
  bytes.set(encoder.encode("ustar\x0000"), 257);
  bytes.fill(0x20, 148, 156);
  const sum = bytes.reduce((all, byte) => all + byte, 0);
  bytes.set(encoder.encode(sum.toString(8).padStart(6, "0") + "\0 "), 148);
  return bytes;
}

/** `LENGTH key=value\n`; the length counts itself. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const size = encoder.encode(rest).length;
  let length = size + 1;
  while (String(length).length + size !== length) length = String(length).length + size;
  return `${length}${rest}`;
}

/** Reads an archive from chunks, one entry after the other. */
export class TarReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();
  /** Bytes of the current entry, with their padding, that nobody has read yet. */
  #left = 0;
  #padding = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /**
   * The next entry; undefined at the end. What was not read of the last one is passed over.
   *
   * @throws {KurmaError} `invalid`: no tar, damaged, cut off, or of a kind that is not copied.
   */
  async next(): Promise<Entry | undefined> {
    for await (const _ of this.data()); // Up to here.
    let records: ReadonlyMap<string, string> = new Map();
    while (true) {
      const head = await this.#take(block);
      if (head === undefined || head.every((byte) => byte === 0)) return undefined;
      if (!checksumMatches(head)) throw broken("a header is damaged, or it is no tar archive");
      const flag = String.fromCharCode(head[156] || 0x30);
      const size = numberOf(records.get("size"), head.subarray(124, 136));
      if ("xgLK".includes(flag)) {
        if (size > tarStreamLimits.header) throw broken("a header is too long");
        const body = await this.#take(padded(size));
        if (body === undefined) throw broken("it ends too early");
        if (flag !== "g") records = merged(records, flag, body.subarray(0, size));
        continue;
      }
      return this.#begin(entryOf(head, flag, size, records));
    }
  }

  /** The bytes of the file that `next` returned last, in pieces. */
  async *data(): AsyncGenerator<Uint8Array, void, undefined> {
    while (this.#left > 0) {
      const piece = await this.#some(this.#left);
      this.#left -= piece.length;
      yield piece;
    }
    if (this.#padding > 0 && await this.#take(this.#padding) === undefined) {
      throw broken("it ends too early");
    }
    this.#padding = 0;
  }

  #begin(entry: Entry): Entry {
    this.#left = entry.kind === "file" ? entry.size : 0;
    this.#padding = padded(this.#left) - this.#left;
    return entry;
  }

  async #some(limit: number): Promise<Uint8Array> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#chunks.next();
      if (done) throw broken("it ends too early");
      this.#chunk = value;
    }
    const piece = this.#chunk.subarray(0, limit);
    this.#chunk = this.#chunk.subarray(piece.length);
    return piece;
  }

  /** Exactly `length` bytes; undefined if the archive ends before the first of them. */
  async #take(length: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      while (this.#chunk.length === 0) {
        const next = await this.#chunks.next();
        if (next.done && done === 0) return undefined;
        if (next.done) throw broken("it ends too early");
        this.#chunk = next.value;
      }
      const piece = this.#chunk.subarray(0, length - done);
      bytes.set(piece, done);
      done += piece.length;
      this.#chunk = this.#chunk.subarray(piece.length);
    }
    return bytes;
  }
}

/**
 * An archive whose names begin with `to` instead of `from`; with an empty `to` they begin below.
 *
 * @throws {KurmaError} `invalid`: a name begins otherwise, or as {@linkcode TarReader.next}.
 */
export async function* renamed(
  chunks: AsyncIterable<Uint8Array>,
  from: string,
  to: string,
): AsyncGenerator<Uint8Array, void, undefined> {
  const moved = (name: string): string => {
    if (name === from) return to;
    if (!name.startsWith(`${from}/`) || name.split("/").includes("..")) {
      throw broken(`${JSON.stringify(name.slice(0, 80))} is not what was asked for`);
    }
    const below = name.slice(from.length + 1);
    return to === "" ? below : `${to}/${below}`;
  };
  const reader = new TarReader(chunks);
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    const name = moved(entry.name);
    if (name === "" && entry.kind !== "folder") throw broken("it is no folder");
    const target = entry.kind === "hard link" ? moved(entry.target) : entry.target;
    if (name !== "") yield encodeEntry({ ...entry, name, target });
    yield* reader.data();
    const padding = padded(entry.size) - entry.size;
    if (padding > 0) yield new Uint8Array(padding);
  }
  yield streamEnd;
}

function entryOf(
  head: Uint8Array,
  flag: string,
  size: number,
  records: ReadonlyMap<string, string>,
): Entry {
  const kinds: Record<string, Entry["kind"]> = {
    ...{ "0": "file", "7": "file", "1": "hard link", "2": "link", "5": "folder" },
  };
  const raw = records.get("path") ?? headerName(head);
  const name = raw.split("/").filter((part) => part !== "" && part !== ".").join("/");
  // Before POSIX, a folder was a file with a slash at the end of its name.
  const kind = flag === "0" && raw.endsWith("/") ? "folder" : kinds[flag];
  const shown = JSON.stringify(name.slice(0, 80));
  if (kind === undefined) throw broken(`${shown} is neither file, folder nor link`);
  const target = records.get("linkpath") ?? text(head.subarray(157, 257));
  for (const path of [name, target]) {
    if (encoder.encode(path).length > tarStreamLimits.name) throw broken(`${shown} is too long`);
    if (path.includes("\0")) throw broken(`${shown} has a NUL in it`);
  }
  return {
    name,
    kind,
    mode: numberOf(undefined, head.subarray(100, 108)) & 0o7777,
    uid: numberOf(records.get("uid"), head.subarray(108, 116)),
    gid: numberOf(records.get("gid"), head.subarray(116, 124)),
    modified: numberOf(records.get("mtime")?.split(".")[0], head.subarray(136, 148)),
    size: kind === "file" ? size : 0,
    target,
  };
}

/** Octal, or base 256 with the first bit set; an extended header's text goes before it. */
function numberOf(own: string | undefined, field: Uint8Array): number {
  let value: number;
  if (own !== undefined) value = /^[0-9]{1,16}$/.test(own) ? Number(own) : NaN;
  else if (field[0] === 0x80) {
    value = 0;
    for (const byte of field.subarray(1)) value = value * 256 + byte;
  } else {
    const digits = text(field).trim();
    value = /^[0-7]*$/.test(digits) ? parseInt(digits || "0", 8) : NaN;
  }
  if (!Number.isSafeInteger(value)) throw broken("a number in a header is none");
  return value;
}

function merged(
  before: ReadonlyMap<string, string>,
  flag: string,
  body: Uint8Array,
): ReadonlyMap<string, string> {
  const records = new Map(before);
  if (flag === "L") return records.set("path", text(body));
  if (flag === "K") return records.set("linkpath", text(body));
  let rest = body;
  while (rest.length > 0) {
    const start = /^([0-9]{1,6}) /.exec(decoder.decode(rest.subarray(0, 7)));
    const length = Number(start?.[1] ?? 0);
    if (start === null || length <= start[0].length || rest[length - 1] !== 0x0a) {
      throw broken("an extended header is damaged");
    }
    const line = decoder.decode(rest.subarray(start[0].length, length - 1));
    const equals = line.indexOf("=");
    if (equals <= 0) throw broken("an extended header is damaged");
    records.set(line.slice(0, equals), line.slice(equals + 1));
    rest = rest.subarray(length);
  }
  return records;
}

function headerName(head: Uint8Array): string {
  const name = text(head.subarray(0, 100));
  const isPosix = decoder.decode(head.subarray(257, 263)) === "ustar\0";
  const prefix = isPosix ? text(head.subarray(345, 500)) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function checksumMatches(head: Uint8Array): boolean {
  let sum = 0;
  for (let at = 0; at < block; at++) sum += at >= 148 && at < 156 ? 0x20 : head[at];
  return parseInt(text(head.subarray(148, 156)).trim(), 8) === sum;
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decoder.decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function broken(why: string): KurmaError {
  return new KurmaError("invalid", `Cannot read the archive: ${why}`, {
    fix: "Send a plain tar archive of files, folders and links",
  });
}
