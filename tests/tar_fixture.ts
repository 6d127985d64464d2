/**
 * Tar archives that no honest tool writes: names, links and numbers go in as they are
 * given.
 *
 * @module
 */

/** One entry. */
export interface Entry {
  name: string;
  type?: keyof typeof typeFlags;
  /** Instead of the flag that `type` has. */
  flag?: string;
  content?: string | Uint8Array;
  /** Where a link leads. */
  link?: string;
  /** Default 0755, 0 and what `content` has. */
  mode?: number;
  uid?: number;
  size?: number;
  /** Of a device. */
  major?: number;
  minor?: number;
  /** What stands before `name` and a slash. */
  prefix?: string;
  /** An extended header in front of it. POSIX.1-2017, pax(1) */
  pax?: Record<string, string>;
  /** The name in an entry of its own, as GNU tar has it. */
  longName?: string;
  longLink?: string;
}

const block = 512;
const typeFlags = {
  file: "0",
  link: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
};

/** A ustar archive of `entries`. POSIX.1-1988; names and links of at most 100 bytes. */
export function tar(entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  return concatenate([...entries.flatMap(entryBlocks), new Uint8Array(2 * block)]);
}

function entryBlocks(entry: Entry): Uint8Array[] {
  const { content = "", pax, longName, longLink } = entry;
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const before = [
    ...pax ? entryBlocks({ name: "pax", flag: "x", content: records(pax) }) : [],
    ...longName ? entryBlocks({ name: "././@LongLink", flag: "L", content: `${longName}\0` }) : [],
    ...longLink ? entryBlocks({ name: "././@LongLink", flag: "K", content: `${longLink}\0` }) : [],
  ];
  const padding = new Uint8Array((block - bytes.length % block) % block);
  return [...before, header(entry, bytes.length), bytes, padding];
}

/** `LENGTH KEY=VALUE\n` each; the length counts itself. */
function records(pax: Record<string, string>): string {
  return Object.entries(pax).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    const bytes = new TextEncoder().encode(rest).length;
    let length = bytes;
    while (length !== bytes + `${length}`.length) length = bytes + `${length}`.length;
    return `${length}${rest}`;
  }).join("");
}

function header(entry: Entry, size: number): Uint8Array {
  const bytes = new Uint8Array(block);
  const put = (at: number, length: number, text: string) => {
    const field = new TextEncoder().encode(text);
    if (field.length > length) throw new RangeError(`"${text}" takes more than ${length} bytes`);
    bytes.set(field, at);
  };
  const octal = (value: number, length: number) => value.toString(8).padStart(length - 1, "0");
  put(0, 100, entry.name);
  put(100, 8, octal(entry.mode ?? 0o755, 8));
  put(108, 8, octal(entry.uid ?? 0, 8));
  put(116, 8, octal(0, 8));
  put(124, 12, octal(entry.size ?? size, 12));
  put(136, 12, octal(0, 12));
  put(148, 8, " ".repeat(8));
  put(156, 1, entry.flag ?? typeFlags[entry.type ?? "file"]);
  put(157, 100, entry.link ?? "");
  put(257, 8, "ustar\x0000");
  put(329, 8, octal(entry.major ?? 0, 8));
  put(337, 8, octal(entry.minor ?? 0, 8));
  put(345, 155, entry.prefix ?? "");
  put(148, 8, octal(bytes.reduce((sum, byte) => sum + byte, 0), 7) + "\0 ");
  return bytes;
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
