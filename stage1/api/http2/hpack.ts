/**
 * HPACK: header fields as HTTP/2 sends them. The decoder does all of RFC 7541; the
 * encoder keeps no table, so that a connection costs nothing for it.
 *
 * Names and values are text with one character an octet.
 *
 * @module
 * @see RFC 7541
 */

import { huffmanText } from "./huffman.ts";

export type Field = readonly [name: string, value: string];

/** A header block that breaks the rules: the connection cannot go on (COMPRESSION_ERROR). */
export class HpackError extends Error {
  override name = "HpackError";
}

/** RFC 7541, appendix A; an entry without a value has an empty one. */
const staticTable: readonly Field[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...`accept-language accept-ranges accept access-control-allow-origin age allow authorization
    cache-control content-disposition content-encoding content-language content-length
    content-location content-range content-type cookie date etag expect expires from host if-match
    if-modified-since if-none-match if-range if-unmodified-since last-modified link location
    max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server
    set-cookie strict-transport-security transfer-encoding user-agent vary via
    www-authenticate`.split(/\s+/).map((name): Field => [name, ""]),
];

/** What an entry takes in a table beyond its octets. RFC 7541, 4.1 */
const entryOverhead = 32;

const sizeOf = ([name, value]: Field) => name.length + value.length + entryOverhead;

/** What a header block says. */
export interface Decoded {
  readonly fields: Field[];
  /** Whether there was more than the limit allows; `fields` has only the first ones. */
  readonly tooLarge: boolean;
}

/** Decodes the header blocks of one connection, in their order. */
export class Decoder {
  readonly #maxTable: number;
  readonly #maxList: number;
  /** The dynamic table, newest first. */
  readonly #table: Field[] = [];
  #tableSize = 0;
  #tableLimit: number;

  /**
   * @param maxTable What the other side was told that its table may take, in bytes.
   * @param maxList What one block may hold, counted as in RFC 9113, 6.5.2.
   */
  constructor(maxTable = 4096, maxList = 65_536) {
    this.#maxTable = this.#tableLimit = maxTable;
    this.#maxList = maxList;
  }

  /**
   * The fields of a block. One that holds too much is decoded to its end all the same,
   * since the blocks behind it need the table it leaves.
   *
   * @throws {HpackError}
   */
  decode(block: Uint8Array): Decoded {
    const input = new Input(block);
    const fields: Field[] = [];
    let size = 0;
    let tooLarge = false;
    let mayResize = true;
    while (!input.isEmpty) {
      const first = input.peek();
      if ((first & 0xe0) === 0x20) { // Dynamic table size update: 6.3
        if (!mayResize) throw new HpackError("A table size update behind a field");
        this.#resize(input.integer(5));
        continue;
      }
      mayResize = false;
      const field = this.#field(input, first);
      size += sizeOf(field);
      if (size > this.#maxList) tooLarge = true;
      else fields.push(field);
    }
    return { fields, tooLarge };
  }

  #field(input: Input, first: number): Field {
    if (first & 0x80) return this.#entry(input.integer(7)); // Indexed: 6.1
    const indexed = (first & 0x40) !== 0; // Literal: 6.2
    const index = input.integer(indexed ? 6 : 4);
    const name = index === 0 ? input.string() : this.#entry(index)[0];
    const field: Field = [name, input.string()];
    if (indexed) this.#add(field);
    return field;
  }

  #entry(index: number): Field {
    const entry = index <= staticTable.length
      ? staticTable[index - 1]
      : this.#table[index - staticTable.length - 1];
    if (entry === undefined) throw new HpackError(`No entry ${index} in the tables`);
    return entry;
  }

  #add(field: Field): void {
    this.#tableSize += sizeOf(field);
    this.#table.unshift(field);
    this.#evict();
  }

  #resize(limit: number): void {
    if (limit > this.#maxTable) throw new HpackError(`A table of ${limit} bytes is not allowed`);
    this.#tableLimit = limit;
    this.#evict();
  }

  #evict(): void {
    while (this.#tableSize > this.#tableLimit) this.#tableSize -= sizeOf(this.#table.pop()!);
  }
}

/** A header block on its way through the decoder. */
class Input {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isEmpty(): boolean {
    return this.#at === this.#bytes.length;
  }

  peek(): number {
    if (this.isEmpty) throw new HpackError("The block ends inside a field");
    return this.#bytes[this.#at];
  }

  /** An integer behind a prefix of `bits` bits: 5.1. Larger ones than any limit are refused. */
  integer(bits: number): number {
    const mask = (1 << bits) - 1;
    let value = this.#next() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#next();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError("An integer is too large");
  }

  /** A string: 5.2. */
  string(): string {
    const isHuffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new HpackError("The block ends inside a string");
    const bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    const text = isHuffman ? huffmanText(bytes) : octets(bytes);
    if (text === undefined) throw new HpackError("A string is coded wrongly");
    return text;
  }

  #next(): number {
    const byte = this.peek();
    this.#at++;
    return byte;
  }
}

/** Bytes as text with one character each. */
function octets(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

const staticIndexes = new Map(
  staticTable.map(([name, value], index) => [`${name}\0${value}`, index + 1] as const).reverse(),
);
const staticNames = new Map(
  staticTable.map(([name], index) => [name, index + 1] as const).reverse(),
);

/**
 * A header block that needs no dynamic table: fields of the static one by their index,
 * all others as literals that are not to be indexed. RFC 7541, 6.1 and 6.2.2
 */
export function encode(fields: Iterable<Field>): Uint8Array {
  const bytes: number[] = [];
  for (const [name, value] of fields) {
    const index = staticIndexes.get(`${name}\0${value}`);
    if (index !== undefined) {
      pushInteger(bytes, index, 7, 0x80);
      continue;
    }
    const nameIndex = staticNames.get(name) ?? 0;
    pushInteger(bytes, nameIndex, 4, 0);
    if (nameIndex === 0) pushString(bytes, name);
    pushString(bytes, value);
  }
  return Uint8Array.from(bytes);
}

function pushInteger(bytes: number[], value: number, bits: number, flags: number): void {
  const mask = (1 << bits) - 1;
  if (value < mask) {
    bytes.push(flags | value);
    return;
  }
  bytes.push(flags | mask);
  let rest = value - mask;
  for (; rest >= 0x80; rest = rest >>> 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
}

function pushString(bytes: number[], text: string): void {
  pushInteger(bytes, text.length, 7, 0);
  for (let at = 0; at < text.length; at++) bytes.push(text.charCodeAt(at) & 0xff);
}
