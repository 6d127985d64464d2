/**
 * Tar files as folders of blobs: an index of where each file's bytes are, and the
 * headers to write such a file. Root file systems are never read here, that is
 * unpack/unpack.zig's; here names are only looked up.
 *
 * @module
 * @see POSIX.1-2017 pax(1), "ustar Interchange Format"
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Chunk } from "./bytes.ts";

/** Where a file's bytes are in the archive, or what a link points to. */
export type TarEntry =
  | { readonly offset: number; readonly size: number }
  | { readonly link: string };

/** What an archive of blobs may have. */
export const tarLimits = { entries: 100_000, header: 1024 * 1024 } as const;

const block = 512;

/**
 * Finds every file in a tar file.
 *
 * @param what Names the archive in messages.
 * @returns By cleaned name: no `./` in front, no `/` at the end.
 * @throws {KurmaError} `invalid`: no tar, damaged, cut off, or over a limit.
 */
export async function indexTar(path: string, what: string): Promise<Map<string, TarEntry>> {
  using file = await Deno.open(path);
  const { size: end } = await file.stat();
  const index = new Map<string, TarEntry>();
  let at = 0;
  let longName: string | undefined;
  let longLink: string | undefined;
  let records: Record<string, string> = {};
  for (let count = 0; at < end;) {
    const header = await read(file, at, block, what);
    if (header.every((byte) => byte === 0)) return index;
    if (++count > tarLimits.entries) {
      throw broken(what, `it has more than ${tarLimits.entries} entries`);
    }
    if (!checksumMatches(header)) {
      throw broken(what, at === 0 ? "it is no tar archive" : "a header is damaged");
    }
    const type = String.fromCharCode(header[156] || 0x30);
    const size = "xLKg0S7".includes(type) ? number(records.size, header, what) : 0;
    const data = at + block;
    at = data + Math.ceil(size / block) * block;
    if (data + size > end) throw broken(what, "it ends too early");
    if ("xLKg".includes(type)) {
      if (size > tarLimits.header) throw broken(what, "a header is too long");
      const body = await read(file, data, size, what);
      if (type === "x") records = paxRecords(body, what);
      if (type === "L") longName = cString(body);
      if (type === "K") longLink = cString(body);
      continue;
    }
    const name = cleaned(records.path ?? longName ?? headerName(header));
    const link = records.linkpath ?? longLink ?? cString(header.subarray(157, 257));
    if (type === "0" || type === "7") index.set(name, { offset: data, size });
    if (type === "1") index.set(name, { link: cleaned(link) });
    if (type === "2") index.set(name, { link: resolved(name, link) });
    [longName, longLink, records] = [undefined, undefined, {}];
  }
  throw broken(what, "it ends too early");
}

/**
 * The header of one file, and what pads its data to whole blocks.
 *
 * @param name At most 100 bytes; names of blobs are.
 * @param size Bytes; from 8 GiB on it is written in base 256.
 */
export function tarHeader(
  name: string,
  size: number,
  mode = 0o644,
): { header: Chunk; padding: Chunk } {
  const header = new Uint8Array(block);
  const put = (text: string, offset: number) => header.set(new TextEncoder().encode(text), offset);
  const octal = (value: number, digits: number) => value.toString(8).padStart(digits, "0") + "\0";
  if (name.length > 100) throw new RangeError(`${name} has more than 100 characters`);
  put(name, 0);
  put(octal(mode, 7), 100);
  put(octal(0, 7), 108);
  put(octal(0, 7), 116);
  if (size < 8 ** 11) put(octal(size, 11), 124);
  else {
    header[124] = 0x80;
    new DataView(header.buffer).setBigUint64(128, BigInt(size));
  }
  put(octal(0, 11), 136); // The same bytes every time: nobody asks when.
  put("        0", 148); // The checksum is summed as spaces; type 0 is a file.
  put("ustar\x0000", 257);
  const sum = header.reduce((all, byte) => all + byte, 0);
  put(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  return { header, padding: new Uint8Array((block - size % block) % block) };
}

/** What ends an archive. */
export const tarEnd: Chunk = new Uint8Array(2 * block);

/** The name of the first entry of an archive that starts with `head`; undefined if it is no tar. */
export function firstName(head: Uint8Array): string | undefined {
  if (head.length < block || !checksumMatches(head.subarray(0, block))) return undefined;
  return cleaned(headerName(head));
}

function headerName(header: Uint8Array): string {
  const name = cString(header.subarray(0, 100));
  const posix = new TextDecoder().decode(header.subarray(257, 263)) === "ustar\0";
  const prefix = posix ? cString(header.subarray(345, 500)) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function checksumMatches(header: Uint8Array): boolean {
  let sum = 0;
  for (let at = 0; at < block; at++) sum += at >= 148 && at < 156 ? 0x20 : header[at];
  return parseInt(cString(header.subarray(148, 156)).trim(), 8) === sum;
}

/** The size of an entry: the extended header's, or the header's in octal or base 256. */
function number(record: string | undefined, header: Uint8Array, what: string): number {
  let size: number;
  if (record !== undefined) size = /^[0-9]{1,16}$/.test(record) ? Number(record) : NaN;
  else if (header[124] === 0x80) {
    size = Number(new DataView(header.buffer, header.byteOffset).getBigUint64(128));
  } else {
    const text = cString(header.subarray(124, 136)).trim();
    size = /^[0-7]*$/.test(text) ? parseInt(text || "0", 8) : NaN;
  }
  if (!Number.isSafeInteger(size)) throw broken(what, "a size is no number");
  return size;
}

function paxRecords(body: Uint8Array, what: string): Record<string, string> {
  const records: Record<string, string> = {};
  let rest = body;
  while (rest.length > 0) {
    const match = /^([0-9]{1,7}) /.exec(new TextDecoder().decode(rest.subarray(0, 8)));
    const length = Number(match?.[1] ?? 0);
    if (
      match === null || length > rest.length || length <= match[0].length ||
      rest[length - 1] !== 0x0a
    ) {
      throw broken(what, "an extended header is damaged");
    }
    const record = new TextDecoder().decode(rest.subarray(match[0].length, length - 1));
    const equals = record.indexOf("=");
    const key = record.slice(0, equals);
    if (key === "path" || key === "linkpath" || key === "size") {
      records[key] = record.slice(equals + 1);
    }
    rest = rest.subarray(length);
  }
  return records;
}

/** Without `./` in front, empty parts, and `/` at the end. */
function cleaned(name: string): string {
  return name.split("/").filter((part) => part !== "" && part !== ".").join("/");
}

/** A symlink's target as a name of the archive; `..` above the top goes nowhere. */
function resolved(name: string, target: string): string {
  const parts = target.startsWith("/") ? [] : name.split("/").slice(0, -1);
  for (const part of target.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== "" && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

async function read(
  file: Deno.FsFile,
  offset: number,
  length: number,
  what: string,
): Promise<Chunk> {
  const buffer = new Uint8Array(length);
  await file.seek(offset, Deno.SeekMode.Start);
  for (let done = 0; done < length;) {
    const count = await file.read(buffer.subarray(done));
    if (count === null) throw broken(what, "it ends too early");
    done += count;
  }
  return buffer;
}

function broken(what: string, why: string): KurmaError {
  return new KurmaError("invalid", `Cannot read ${what}: ${why}`, {
    fix: "An image is an ACI, an OCI layout, or what `docker save` writes",
  });
}
