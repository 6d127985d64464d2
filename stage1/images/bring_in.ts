/**
 * Images into the store: from a file, a folder, or the bytes of a file.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { importAci } from "./aci.ts";
import { collect, fileContent } from "./bytes.ts";
import { compressionOf, inflated, peek } from "./compression.ts";
import { nameIn, normalName, requireStored } from "./find.ts";
import { diskFolder, tarFolder } from "./folder.ts";
import type { ImportOptions } from "./layers.ts";
import { openStore } from "./manage.ts";
import { importDockerArchive, type Imported, importLayout, isLayout } from "./oci.ts";
import { findPath, noFile, type OpenOptions, withDependencies } from "./open.ts";
import { quote } from "./sources/digest.ts";
import { type Store, type StoredImage, writeAll } from "./store.ts";
import { firstName } from "./tar.ts";

/** How an image is brought in by {@linkcode importImage}. */
export interface ImportImageOptions extends OpenOptions {
  /** What it is called from now on. Default: what its archive calls it. */
  readonly name?: string;
  /** Which one of an archive that comes as bytes. Default: the only one, or `latest`. */
  readonly tag?: string;
}

/**
 * Brings an image into the store: as `openImage` does, but only from a path, from
 * standard input for `-`, or from the bytes of a file.
 *
 * @throws {KurmaError} As `openImage`; `invalid`: `name` is not a name.
 */
export async function importImage(
  reference: string | AsyncIterable<Uint8Array>,
  options: ImportImageOptions = {},
): Promise<StoredImage> {
  const chosen = options.name === undefined ? undefined : normalName(options.name);
  using store = openStore(options);
  await store.sweep();
  using _lock = await store.removalLock(false);
  const { record, names } = await importFrom(store, reference, withDependencies(store, options));
  // A name that only its archive has may not take an image of the user's away.
  const own = names.map(nameIn).filter((name) => name !== undefined)
    .filter((name) => (store.imageOfName(name) ?? record.id) === record.id);
  store.saveImage(record, chosen === undefined ? own : [chosen]);
  return requireStored(store, record.id);
}

async function importFrom(
  store: Store,
  reference: string | AsyncIterable<Uint8Array>,
  options: ImportOptions & Pick<ImportImageOptions, "tag">,
): Promise<Imported> {
  if (reference === "-") {
    return await importChunks(store, Deno.stdin.readable, options, "standard input");
  }
  if (typeof reference !== "string") {
    return await importChunks(store, reference, options, sentImage);
  }
  const { path, tag, isDirectory } = await imagePath(reference);
  return isDirectory
    ? await importFolder(store, path, tag, options)
    : await importFile(store, path, tag, options);
}

/** What an image that comes as bytes is called in messages and in its progress. */
export const sentImage = "the image that was sent";

/** Where an image is that is not in the store. */
export interface ImagePath {
  readonly path: string;
  /** Which one of several is meant. */
  readonly tag?: string;
  readonly isDirectory: boolean;
}

/**
 * The file or folder that `PATH` or `PATH:TAG` means.
 *
 * @throws {KurmaError} `missing`: there is none.
 */
export async function imagePath(text: string): Promise<ImagePath> {
  const found = await findPath(text);
  if (found === undefined) throw noFile(text);
  const { isDirectory } = await Deno.stat(found.path);
  return { ...found, isDirectory };
}

/** The image of a file that comes as a stream: its parts are needed in an order of their own. */
async function importChunks(
  store: Store,
  chunks: AsyncIterable<Uint8Array>,
  options: ImportOptions & Pick<ImportImageOptions, "tag">,
  what: string,
): Promise<Imported> {
  await using workspace = await store.workspace();
  const path = `${workspace.path}/stream`;
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  await copyTo(file, chunks, what, options);
  return await importFile(store, path, options.tag, options, what);
}

/** Brings the image of a layout into the store; throws as {@linkcode importFile}. */
export async function importFolder(
  store: Store,
  path: string,
  tag: string | undefined,
  options: ImportOptions,
): Promise<Imported> {
  const folder = diskFolder(path);
  if (await isLayout(folder)) return await importLayout(store, folder, tag, options);
  throw new KurmaError("invalid", `Cannot use folder ${quote(path)}: it has no "oci-layout"`, {
    fix: "Name an OCI layout, an ACI file, or what `docker save` writes",
  });
}

/**
 * Brings the image of one file into the store.
 *
 * @param what Names it in messages, with quotes.
 * @throws {KurmaError} `invalid`: it is none.
 */
export async function importFile(
  store: Store,
  path: string,
  tag: string | undefined,
  options: ImportOptions,
  what = quote(path),
): Promise<Imported> {
  const { size } = await Deno.stat(path);
  const content = fileContent(path, 0, size);
  const { head, whole } = await peek(inflated(content.chunks(), what), 512);
  await whole.return();
  const first = firstName(head);
  if (first === undefined) {
    throw new KurmaError("invalid", `Cannot use ${what}: it is no tar archive`, {
      fix: "An image is an ACI, an OCI layout, or what `docker save` writes",
    });
  }
  if (first === "manifest" || first === "rootfs" || first.startsWith("rootfs/")) {
    return await importAci(store, content, what, options);
  }
  const raw = await collect(fileContent(path, 0, Math.min(size, 6)).chunks(), `read ${what}`, 6);
  if (compressionOf(raw) === "none") return await importArchive(store, path, what, tag, options);
  // Its files are needed in an order of their own: they are laid out where that is possible.
  await using workspace = await store.workspace();
  const plain = `${workspace.path}/archive`;
  using file = await Deno.open(plain, { write: true, createNew: true, mode: 0o600 });
  await copyTo(file, inflated(content.chunks(), what), what, options);
  return await importArchive(store, plain, what, tag, options);
}

async function copyTo(
  file: Deno.FsFile,
  chunks: AsyncIterable<Uint8Array>,
  subject: string,
  { onProgress = () => {}, signal }: ImportOptions,
): Promise<void> {
  let bytes = 0;
  for await (const chunk of chunks) {
    signal?.throwIfAborted();
    await writeAll(file, chunk);
    onProgress({ step: "read", subject, bytes: bytes += chunk.length });
  }
  onProgress({ step: "written", subject, bytes });
}

async function importArchive(
  store: Store,
  path: string,
  what: string,
  tag: string | undefined,
  options: ImportOptions,
): Promise<Imported> {
  const folder = await tarFolder(path, what);
  if (await isLayout(folder)) return await importLayout(store, folder, tag, options);
  if (await folder.find("manifest.json") !== undefined) {
    return await importDockerArchive(store, folder, tag, options);
  }
  throw new KurmaError("invalid", `Cannot use ${what}: it is a tar archive, but no image`, {
    fix: "An image is an ACI, an OCI layout, or what `docker save` writes",
  });
}
