/**
 * Tar archives that no honest tool writes: the names and links go in as they are given.
 *
 * @module
 */

/** One entry. */
export interface Entry {
  name: string;
  type?: "file" | "link" | "symlink" | "directory";
  content?: string;
  /** Where a link leads. */
  link?: string;
}

const block = 512;
const typeFlags = { file: "0", link: "1", symlink: "2", directory: "5" };

/** A ustar archive of `entries`. POSIX.1-1988; names and links of at most 100 bytes. */
export function tar(entries: readonly Entry[]): Uint8Array<ArrayBuffer> {
  const parts = entries.flatMap(({ name, type = "file", content = "", link = "" }) => {
    const bytes = new TextEncoder().encode(content);
    const padding = new Uint8Array((block - bytes.length % block) % block);
    return [header(name, bytes.length, typeFlags[type], link), bytes, padding];
  });
  parts.push(new Uint8Array(2 * block));
  return concatenate(parts);
}

function header(name: string, size: number, flag: string, link: string): Uint8Array {
  const bytes = new Uint8Array(block);
  const put = (at: number, length: number, text: string) => {
    const field = new TextEncoder().encode(text);
    if (field.length > length) throw new RangeError(`"${text}" takes more than ${length} bytes`);
    bytes.set(field, at);
  };
  const octal = (value: number, length: number) => value.toString(8).padStart(length - 1, "0");
  put(0, 100, name);
  put(100, 8, octal(0o755, 8));
  put(108, 8, octal(0, 8));
  put(116, 8, octal(0, 8));
  put(124, 12, octal(size, 12));
  put(136, 12, octal(0, 12));
  put(148, 8, " ".repeat(8));
  put(156, 1, flag);
  put(157, 100, link);
  put(257, 8, "ustar\x0000");
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
