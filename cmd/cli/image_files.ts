/**
 * Images as files of this machine, on their way to a daemon and back.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { encodeEntry, padded, streamEnd, TarReader } from "../../stage1/containers/tar_stream.ts";
import { imagePath, writeAll } from "../../stage1/images/mod.ts";
import { quote } from "../../stage1/images/sources/digest.ts";

/** What a message of an import may bring, in bytes. */
const pieceSize = 256 * 1024;

/** An image that is sent. */
export interface Upload {
  /** Which one of several is meant. */
  readonly tag?: string;
  /** Names it where it is told of. */
  readonly what: string;
  /** Whether it is read in place here, so that nobody need be told that it arrives there. */
  readonly inPlace: boolean;
  /** Its bytes: those of the file, or a tar of the folder. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/**
 * The image at a path, or standard input for `-`.
 *
 * @throws {KurmaError} `missing`: there is none.
 */
export async function uploaded(file: string): Promise<Upload> {
  if (file === "-") {
    return { what: "standard input", inPlace: false, chunks: pieces(Deno.stdin.readable) };
  }
  const { path, tag, isDirectory } = await imagePath(file);
  const chunks = isDirectory ? pieces(archived(path)) : fileChunks(path);
  return { what: quote(path), inPlace: true, ...(tag === undefined ? {} : { tag }), chunks };
}

async function* fileChunks(path: string): AsyncGenerator<Uint8Array> {
  const { readable } = await Deno.open(path);
  yield* pieces(readable);
}

async function* pieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += pieceSize) yield chunk.subarray(at, at + pieceSize);
  }
}

/** All files of a folder as a tar. */
async function* archived(folder: string): AsyncGenerator<Uint8Array> {
  const fixed = { mode: 0o644, uid: 0, gid: 0, modified: 0, target: "", kind: "file" } as const;
  for await (const name of filesIn(folder, "")) {
    const { size } = await Deno.stat(`${folder}/${name}`);
    yield encodeEntry({ ...fixed, name, size });
    let sent = 0;
    const { readable } = await Deno.open(`${folder}/${name}`);
    for await (const chunk of readable) {
      sent += chunk.length;
      if (sent > size) throw changed(folder, name);
      yield chunk;
    }
    if (sent !== size) throw changed(folder, name);
    yield new Uint8Array(padded(size) - size);
  }
  yield streamEnd;
}

/** The names of all files below `folder`, from there, in an order of their own. */
async function* filesIn(folder: string, below: string): AsyncGenerator<string> {
  const entries = await Array.fromAsync(Deno.readDir(`${folder}/${below}`));
  for (const { name, isDirectory } of entries.sort((a, b) => a.name < b.name ? -1 : 1)) {
    if (isDirectory) yield* filesIn(folder, `${below}${name}/`);
    else yield `${below}${name}`;
  }
}

function changed(folder: string, name: string): KurmaError {
  return new KurmaError("state", `Cannot send "${folder}/${name}": it changed while it was read`, {
    fix: "Try again when nobody writes to it",
  });
}

/** Names of files in an OCI layout: they lead nowhere else. */
const layoutName = /^(?:oci-layout|index\.json|blobs\/[a-z0-9]+\/[0-9a-f]+)$/;

/**
 * Writes an image to `path`, where nothing is.
 *
 * @param kind Whether it becomes the file that comes, or a folder of what is in that.
 * @throws Whatever it is: nothing is left at `path`.
 */
export async function write(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  kind: "file" | "folder",
): Promise<void> {
  try {
    await (kind === "folder" ? unpack(path, chunks) : writeFile(path, chunks));
  } catch (error) {
    await Deno.remove(path, { recursive: true }).catch((gone) => {
      if (!(gone instanceof Deno.errors.NotFound)) throw gone;
    });
    throw error;
  }
}

async function unpack(folder: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  await Deno.mkdir(folder);
  const archive = new TarReader(chunks);
  for (let entry = await archive.next(); entry !== undefined; entry = await archive.next()) {
    const { name, kind } = entry;
    if (kind !== "file" || !layoutName.test(name)) {
      throw new KurmaError("invalid", `Cannot write "${name}": it belongs to no OCI layout`);
    }
    const target = `${folder}/${name}`;
    await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    await writeFile(target, archive.data());
  }
}

async function writeFile(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  for await (const chunk of chunks) await writeAll(file, chunk);
}
