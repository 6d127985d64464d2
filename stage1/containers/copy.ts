/**
 * Files into containers and out of them, by tar. All paths are resolved inside the
 * container's root, through a descriptor of it; of links only what they say is looked at.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Descriptor, isErrno, type Kernel, KernelError, type Made } from "../../ffi/kernel.ts";
import { encodeEntry, type Entry, padded, streamEnd, TarReader } from "./tar_stream.ts";

/** The root of a container, and whose its files are. */
export interface Inside {
  readonly kernel: Kernel;
  readonly root: Descriptor;
  /** Its ids start here on the host; 0: they are the host's. */
  readonly firstId: number;
  /** Where that is, for messages. Default: in the container. */
  readonly where?: string;
}

/** What is at a path. */
export interface FileInfo {
  readonly name: string;
  /** As in stat(2). */
  readonly mode: number;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
  /** Of a link. */
  readonly target: string;
}

/** How files are copied in. */
export interface CopyInOptions {
  /** Who they belong to, as the container numbers them; undefined: whoever the archive says. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** A file may take the place of a folder, or the other way round. Default false. */
  readonly replace?: boolean;
  /** Files lose the bits that make who runs them their owner or of their group. Default false. */
  readonly dropSetId?: boolean;
  /** No link leads on, wherever it leads: what is unpacked stays below the folder. Default false. */
  readonly noLinks?: boolean;
}

/** Deeper than people nest folders; a container can nest them deeper. */
const maxDepth = 256;

const chunkSize = 256 * 1024;

/** Ids of a container with its own. */
const idCount = 65_536;

/** Looks at a path. @throws {KurmaError} `missing`. */
export function lookAt(inside: Inside, path: string, followLink: boolean): FileInfo {
  const place = open(inside, path, followLink);
  try {
    return infoOf(inside, place, lastPart(path));
  } finally {
    inside.kernel.close(place);
  }
}

/** A file or a folder with all it holds as a tar archive; names begin with the path's last part. */
export async function* copyOut(
  inside: Inside,
  path: string,
  followLink: boolean,
): AsyncGenerator<Uint8Array, void, undefined> {
  const place = open(inside, path, followLink);
  try {
    yield* pack(inside, place, lastPart(path), 0);
  } finally {
    inside.kernel.close(place);
  }
  yield streamEnd;
}

async function* pack(
  inside: Inside,
  place: Descriptor,
  name: string,
  depth: number,
): AsyncGenerator<Uint8Array, void, undefined> {
  const stat = Deno.statSync(own(place));
  const entry: Entry = {
    name,
    kind: stat.isDirectory ? "folder" : stat.isSymlink ? "link" : "file",
    mode: (stat.mode ?? 0) & 0o7777,
    uid: inner(inside, stat.uid ?? 0),
    gid: inner(inside, stat.gid ?? 0),
    modified: (stat.mtime?.getTime() ?? 0) / 1000,
    size: stat.isFile ? stat.size : 0,
    target: stat.isSymlink ? inside.kernel.readLink(place) : "",
  };
  // Devices, pipes and sockets have nothing that could be copied.
  if (!stat.isFile && !stat.isDirectory && !stat.isSymlink) return;
  if (stat.isFile) return yield* packFile(place, entry);
  yield encodeEntry(entry);
  if (!stat.isDirectory) return;
  if (depth === maxDepth) {
    throw new KurmaError("invalid", `Cannot copy ${JSON.stringify(name.slice(0, 80))}: too deep`);
  }
  const names = Deno.readDir(own(place))[Symbol.asyncIterator]();
  const next = () => readable(name, () => names.next());
  for (let each = await next(); !each.done; each = await next()) {
    const child = each.value.name;
    let below: Descriptor;
    try {
      below = inside.kernel.openIn(place, child, "place_itself");
    } catch (error) {
      if (isErrno(error, "ENOENT")) continue; // It was removed meanwhile.
      throw error;
    }
    try {
      yield* pack(inside, below, `${name}/${child}`, depth + 1);
    } finally {
      inside.kernel.close(below);
    }
  }
}

/** What `open` opens; `name` is what it is called if we may not. */
async function readable<Value>(name: string, open: () => Promise<Value>): Promise<Value> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    throw new KurmaError("denied", `Cannot read ${shown(name)}: EACCES`, {
      fix: "Make it readable for you, or run it as root",
    });
  }
}

/** A file that shrinks meanwhile is filled up with zeros, one that grows is cut. */
async function* packFile(
  place: Descriptor,
  entry: Entry,
): AsyncGenerator<Uint8Array, void, undefined> {
  using file = await readable(entry.name, () => Deno.open(own(place)));
  yield encodeEntry(entry);
  let left = entry.size;
  while (left > 0) {
    const chunk = new Uint8Array(Math.min(chunkSize, left));
    const length = await file.read(chunk);
    if (length === null) break;
    left -= length;
    yield chunk.subarray(0, length);
  }
  const filling = left + padded(entry.size) - entry.size;
  for (let done = 0; done < filling; done += chunkSize) {
    yield new Uint8Array(Math.min(chunkSize, filling - done));
  }
}

/**
 * Unpacks a tar archive in a folder of the container.
 *
 * @returns How many entries, and bytes of files, were written.
 * @throws {KurmaError} `missing`: no such folder; `invalid`: the archive, or something is in
 * the way. What was written before stays.
 */
export async function copyIn(
  inside: Inside,
  folder: string,
  chunks: AsyncIterable<Uint8Array>,
  options: CopyInOptions = {},
): Promise<{ entries: number; bytes: number }> {
  const base = open(inside, folder, true);
  try {
    if (!Deno.statSync(own(base)).isDirectory) {
      throw new KurmaError("invalid", `Cannot copy to ${JSON.stringify(folder)}: it is no folder`, {
        fix: "Name the folder that the files are to be in",
      });
    }
    const reader = new TarReader(chunks);
    const done = { entries: 0, bytes: 0 };
    for (let entry = await reader.next(); entry; entry = await reader.next()) {
      if (entry.name === "") continue; // The folder itself.
      await unpack({ ...inside, folder, options, reader }, entry);
      done.entries++;
      done.bytes += entry.size;
    }
    return done;
  } finally {
    inside.kernel.close(base);
  }
}

interface Unpacking extends Inside {
  readonly folder: string;
  readonly options: CopyInOptions;
  readonly reader: TarReader;
}

async function unpack(work: Unpacking, entry: Entry): Promise<void> {
  const parts = entry.name.split("/");
  const name = parts.pop() ?? "";
  if ([name, ...parts].includes("..")) {
    throw new KurmaError("invalid", `Cannot unpack ${shown(entry.name)}: it leads upwards`, {
      fix: "Leave .. out of the names of the archive",
    });
  }
  const made = ownerOf(work, entry);
  const parent = parentOf(work, parts, made);
  try {
    makeRoom(work, parent, name, entry);
    await make(work, parent, name, entry, made);
  } catch (error) {
    const errno = errnoOf(error);
    throw errno === undefined ? error : inTheWay(entry, errno, error);
  } finally {
    work.kernel.close(parent);
  }
}

/** The folder that an entry goes into; what is missing of it is made. */
function parentOf(work: Unpacking, parts: readonly string[], made: Made): Descriptor {
  let path = work.folder;
  let at = open(work, path, true);
  for (const part of parts) {
    path = `${path}/${part}`;
    try {
      work.kernel.makeFolder(at, part, { ...made, mode: 0o755 });
    } catch (error) {
      if (!isErrno(error, "EEXIST")) {
        work.kernel.close(at);
        throw error;
      }
    }
    const above = at;
    try {
      at = work.options.noLinks
        ? work.kernel.openIn(above, part, "place_itself")
        // From the root again: a link on the way leads where it leads inside.
        : open(work, path, true);
    } finally {
      work.kernel.close(above);
    }
  }
  return at;
}

/** Takes away what has the name of a new file or link; a folder stays for a folder. */
function makeRoom(work: Unpacking, parent: Descriptor, name: string, entry: Entry): void {
  let there: Descriptor;
  try {
    there = work.kernel.openIn(parent, name, "place_itself");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return;
    throw error;
  }
  const { isDirectory } = Deno.statSync(own(there));
  work.kernel.close(there);
  if (isDirectory && entry.kind === "folder") return;
  if (isDirectory !== (entry.kind === "folder") && !work.options.replace) {
    const [is, wanted] = isDirectory ? ["a folder", "no folder"] : ["no folder", "a folder"];
    throw new KurmaError(
      "invalid",
      `Cannot unpack ${shown(entry.name)}: it is ${wanted}, and what is there is ${is}`,
      { fix: "Allow it to be replaced, or remove it first" },
    );
  }
  work.kernel.removeIn(parent, name);
}

async function make(
  work: Unpacking,
  parent: Descriptor,
  name: string,
  entry: Entry,
  made: Made,
): Promise<void> {
  const { kernel } = work;
  switch (entry.kind) {
    case "link":
      return kernel.makeLink(parent, name, entry.target, made);
    case "hard link": {
      const target = kernel.openIn(work.root, `${work.folder}/${entry.target}`, "place_itself");
      try {
        return kernel.linkFile(parent, name, target);
      } finally {
        kernel.close(target);
      }
    }
    case "folder": {
      try {
        kernel.makeFolder(parent, name, made);
      } catch (error) {
        if (!isErrno(error, "EEXIST")) throw error;
      }
      const folder = kernel.openIn(parent, name, "place_itself");
      try {
        if (Deno.statSync(own(folder)).isDirectory) await finish(work, folder, entry);
      } finally {
        kernel.close(folder);
      }
      return;
    }
    case "file": {
      const file = kernel.openIn(parent, name, "new_file", { ...made, mode: 0o600 });
      try {
        using writer = await Deno.open(own(file), { write: true });
        for await (const piece of work.reader.data()) {
          for (let done = 0; done < piece.length;) {
            done += await writer.write(piece.subarray(done));
          }
        }
        await finish(work, file, entry);
      } finally {
        kernel.close(file);
      }
    }
  }
}

/** Permissions and time, through a descriptor of what was made. */
async function finish(
  { options }: Unpacking,
  file: Descriptor,
  { mode, modified }: Entry,
): Promise<void> {
  await Deno.chmod(own(file), options.dropSetId ? mode & ~0o6000 : mode);
  await Deno.utime(own(file), modified, modified);
}

function ownerOf({ options, firstId }: Unpacking, entry: Entry): Made {
  const { uid, gid } = options.owner ?? entry;
  for (const id of [uid, gid]) {
    if (id < idCount || firstId === 0 && id < 0xffff_ffff) continue;
    throw new KurmaError("invalid", `Cannot give ${shown(entry.name)} to ${id}: no such user`, {
      fix: `The container has the users 0 to ${idCount - 1}`,
    });
  }
  return { mode: entry.mode, uid: firstId + uid, gid: firstId + gid };
}

/** As the container numbers it; who is nobody inside is nobody in the archive. */
function inner({ firstId }: Inside, id: number): number {
  if (firstId === 0) return id;
  return id >= firstId && id < firstId + idCount ? id - firstId : 65_534;
}

function open(inside: Inside, path: string, followLink: boolean): Descriptor {
  try {
    const access = followLink ? "place" : "place_itself";
    return inside.kernel.openIn(inside.root, path === "" ? "/" : path, access);
  } catch (error) {
    if (!isErrno(error, "ENOENT") && !isErrno(error, "ENOTDIR")) throw error;
    const { where = "in the container" } = inside;
    throw new KurmaError("missing", `Cannot find ${shown(path)} ${where}`, {
      cause: error,
      fix: "Check the path",
    });
  }
}

function infoOf(inside: Inside, place: Descriptor, name: string): FileInfo {
  const stat = Deno.statSync(own(place));
  return {
    name,
    mode: stat.mode ?? 0,
    bytes: stat.isFile ? stat.size : 0,
    modified: stat.mtime?.getTime() ?? 0,
    target: stat.isSymlink ? inside.kernel.readLink(place) : "",
  };
}

/** The name of a descriptor of ours: it leads to the file, whatever became of its path. */
function own(file: Descriptor): string {
  return `/proc/self/fd/${file}`;
}

function lastPart(path: string): string {
  return path.split("/").findLast((part) => part !== "" && part !== "." && part !== "..") ?? "root";
}

/** What the kernel answered, by name, whoever had asked it. */
function errnoOf(error: unknown): string | undefined {
  if (error instanceof KernelError) return error.errno;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" && /^E[A-Z0-9]+$/.test(code) ? code : undefined;
}

function inTheWay(entry: Entry, errno: string, cause: unknown): KurmaError {
  const denied = /^(EROFS|EACCES|EPERM)$/.test(errno);
  const fix = denied
    ? "Choose a place that can be written to"
    : /^(ENOSPC|EDQUOT)$/.test(errno)
    ? "Free some space there"
    : undefined;
  return new KurmaError(
    denied ? "denied" : errno === "ENOENT" ? "missing" : "kernel",
    `Cannot unpack ${shown(entry.name)}${cause instanceof KernelError ? "" : `: ${errno}`}`,
    // The runtime's own message names a descriptor of ours, which helps nobody.
    { ...(cause instanceof KernelError ? { cause } : {}), ...(fix === undefined ? {} : { fix }) },
  );
}

function shown(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 120)}…` : name);
}
