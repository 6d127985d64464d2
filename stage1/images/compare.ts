/**
 * How an unpacked tree differs from what it should be, down to each byte.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { kernel } from "../../ffi/mod.ts";
import { quote } from "./sources/digest.ts";

/** A file or folder that is not as it should be. */
export interface Difference {
  /** In the tree, without `/` in front; empty for its root. */
  readonly path: string;
  /** `is missing`, `has other content`, …: what can stand behind the path. */
  readonly problem: string;
}

/**
 * Compares all that a container sees: names, types, owners, modes, attributes, targets of
 * links, contents, and files' times. Folders' times are whenever something was put there.
 * Names that are not UTF-8 are passed over: Deno does not list them.
 *
 * @param limit Stops after so many differences.
 */
export async function differences(
  expected: string,
  actual: string,
  limit: number,
): Promise<Difference[]> {
  const found: Difference[] = [];
  await compare(expected, actual, "", (difference) => {
    found.push(difference);
    return found.length < limit;
  });
  return found;
}

/** Told of each difference; answers whether to go on. */
type Report = (difference: Difference) => boolean;

async function compare(
  expected: string,
  actual: string,
  path: string,
  report: Report,
): Promise<boolean> {
  const [wanted, is] = [Deno.lstatSync(expected), Deno.lstatSync(actual)];
  const problem = problemOf(expected, wanted, actual, is);
  if (problem !== undefined && !report({ path, problem })) return false;
  if (!wanted.isDirectory || !is.isDirectory) return true;
  // Calls that wait cost several times what they do here; between folders others have their turn.
  await new Promise((done) => setTimeout(done));
  const [wantedNames, names] = [namesIn(expected), namesIn(actual)];
  for (const name of [...wantedNames.union(names)].sort()) {
    const below = path === "" ? name : `${path}/${name}`;
    const alone = !names.has(name)
      ? "is missing"
      : !wantedNames.has(name)
      ? "is not from the layer"
      : undefined;
    const goOn = alone === undefined
      ? await compare(`${expected}/${name}`, `${actual}/${name}`, below, report)
      : report({ path: below, problem: alone });
    if (!goOn) return false;
  }
  return true;
}

function namesIn(folder: string): Set<string> {
  return new Set([...Deno.readDirSync(folder)].map(({ name }) => name));
}

function problemOf(
  expected: string,
  wanted: Deno.FileInfo,
  actual: string,
  is: Deno.FileInfo,
): string | undefined {
  const fileType = 0o170000;
  if ((wanted.mode! & fileType) !== (is.mode! & fileType) || wanted.rdev !== is.rdev) {
    return "is another kind of file";
  }
  if (wanted.dev === is.dev && wanted.ino === is.ino) return undefined;
  if (wanted.uid !== is.uid || wanted.gid !== is.gid) {
    return `belongs to ${is.uid}:${is.gid}, not ${wanted.uid}:${wanted.gid}`;
  }
  if (wanted.mode !== is.mode) {
    const octal = (mode: number | null) => (mode! & 0o7777).toString(8).padStart(4, "0");
    return `has mode ${octal(is.mode)}, not ${octal(wanted.mode)}`;
  }
  if (wanted.isSymlink && Deno.readLinkSync(expected) !== Deno.readLinkSync(actual)) {
    return "is a link to something else";
  }
  if (wanted.isFile && !isSame(expected, wanted.size, actual, is.size)) {
    return "has other content";
  }
  if (wanted.isFile && wanted.mtime?.getTime() !== is.mtime?.getTime()) return "has another time";
  return attributeProblem(expected, actual);
}

function attributeProblem(expected: string, actual: string): string | undefined {
  const wanted = new Map(kernel.attributes(expected));
  const is = new Map(kernel.attributes(actual));
  for (const [name, value] of wanted) {
    const own = is.get(name);
    if (own === undefined) return `lacks the attribute ${quote(name)}`;
    if (Buffer.compare(value, own) !== 0) return `has another attribute ${quote(name)}`;
  }
  const added = is.keys().find((name) => !wanted.has(name));
  return added === undefined ? undefined : `has an attribute ${quote(added)} of its own`;
}

/** For one pair of blocks at a time, which nothing waits between. */
const [left, right] = [new Uint8Array(64 * 1024), new Uint8Array(64 * 1024)];

function isSame(expected: string, wantedSize: number, actual: string, size: number): boolean {
  if (wantedSize !== size) return false;
  using wanted = Deno.openSync(expected);
  using is = Deno.openSync(actual);
  for (let at = 0; at < size;) {
    const count = fill(wanted, left);
    if (count === 0 || fill(is, right) !== count) return false; // It changes meanwhile.
    if (Buffer.compare(left.subarray(0, count), right.subarray(0, count)) !== 0) return false;
    at += count;
  }
  return true;
}

/** Reads until the buffer is full or the file ends. */
function fill(file: Deno.FsFile, buffer: Uint8Array): number {
  let done = 0;
  while (done < buffer.length) {
    const count = file.readSync(buffer.subarray(done));
    if (count === null) break;
    done += count;
  }
  return done;
}
