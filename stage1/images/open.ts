/**
 * From what a user writes to an image whose layers are unpacked.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { importAci } from "./aci.ts";
import { collect, fileContent } from "./bytes.ts";
import { compressionOf, inflated, peek } from "./compression.ts";
import { diskFolder, tarFolder } from "./folder.ts";
import { findImage, nameIn, normalName, requireStored } from "./find.ts";
import type { HeldImage } from "./image.ts";
import type { ImportOptions } from "./layers.ts";
import { openStore, type StoreOptions } from "./manage.ts";
import { importDockerArchive, type Imported, importLayout, isLayout } from "./oci.ts";
import type { PullOptions } from "./pull.ts";
import { quote } from "./sources/digest.ts";
import { metered } from "./progress.ts";
import { parseReference } from "./sources/reference.ts";
import { identity, type ImageRecord, type Store, type StoredImage, writeAll } from "./store.ts";
import { firstName } from "./tar.ts";

/** Where the state is, and how an image that is not there yet is brought in. */
export interface OpenOptions extends ImportOptions, StoreOptions {
  /** How a name that is not there is pulled; without it, such a name is an error. */
  readonly pull?: Omit<PullOptions, keyof StoreOptions>;
  /** Whether a path of this machine names an image. Default true. */
  readonly paths?: boolean;
}

/**
 * Opens an image: `hello`, a path to an ACI, an OCI layout (folder or tar) or a
 * `docker save` archive, with `:TAG` behind it where it holds several, or the name or
 * id of an image in the store. What is not in the store yet is brought in first; a file
 * without a name: what an archive calls itself is not its own to decide.
 *
 * @returns The image, held: it cannot be removed until `hold` is disposed of.
 * @throws {KurmaError} `missing`: no such file, name or tag; `invalid`: not an image, or
 *   a damaged, hostile or foreign one; `denied`: not root; `kernel`: for example `ENOSPC`.
 *   Nothing of a refused image stays behind.
 */
export async function openImage(reference: string, options: OpenOptions = {}): Promise<HeldImage> {
  using store = openStore(options);
  await store.sweep();
  using _lock = await store.removalLock(false);
  if (reference === "hello") {
    const { importHello } = await import("./hello.ts");
    const { record, names } = await importHello(store, options);
    store.saveImage(record, names);
    return await held(store, record, "hello");
  }
  const { paths = true } = options;
  if (!paths && pathLike.test(reference)) throw noPaths(reference);
  const found = paths ? await findPath(reference) : undefined;
  if (found !== undefined) {
    const own = withDependencies(store, options);
    return await held(store, await importPath(store, found.path, found.tag, own));
  }
  const known = findImage(store, reference);
  if (known !== undefined) return await held(store, known.record, known.names[0]);
  if (options.pull === undefined || pathLike.test(reference)) throw notFound(reference);
  return await held(store, await pulled(store, reference, options.pull));
}

/** Pulls what is not in the store. */
async function pulled(store: Store, text: string, options: PullOptions): Promise<ImageRecord> {
  try {
    const reference = parseReference(text);
    if (reference.kind === "file" || reference.kind === "stdin") throw noFile(text);
    const { pullInto } = await import("./pull.ts");
    return await pullInto(store, reference, metered(options));
  } catch (cause) {
    if (!(cause instanceof KurmaError)) throw cause;
    const message = `Cannot find image ${quote(text)} in the store, nor pull it`;
    throw new KurmaError(cause.code, message, { cause, fix: cause.fix });
  }
}

/** What an ACI depends on comes along where images may be pulled. */
function withDependencies(store: Store, { pull, ...options }: OpenOptions): ImportOptions {
  const own = metered(options);
  if (pull === undefined) return own;
  return {
    ...own,
    async fetchDependency(dependency, by) {
      const { pullDependency } = await import("./pull.ts");
      return await pullDependency(store, dependency, by, metered(pull));
    },
  };
}

/** How an image is brought in by {@linkcode importImage}. */
export interface ImportImageOptions extends OpenOptions {
  /** What it is called from now on. Default: what its archive calls it. */
  readonly name?: string;
}

/**
 * Brings an image into the store: as {@linkcode openImage}, but only from a path, from
 * standard input for `-`, or from the bytes of a file.
 *
 * @throws {KurmaError} As {@linkcode openImage}; `invalid`: `name` is not a name.
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
  options: ImportOptions,
): Promise<Imported> {
  if (reference === "-") {
    return await importChunks(store, Deno.stdin.readable, options, "standard input");
  }
  if (typeof reference !== "string") {
    return await importChunks(store, reference, options, "the image that was sent");
  }
  const found = await findPath(reference);
  if (found === undefined) throw noFile(reference);
  const { isDirectory } = await Deno.stat(found.path);
  return isDirectory
    ? await importFolder(store, found.path, found.tag, options)
    : await importFile(store, found.path, found.tag, options);
}

/** The image of a file that comes as a stream: its parts are needed in an order of their own. */
async function importChunks(
  store: Store,
  chunks: AsyncIterable<Uint8Array>,
  options: ImportOptions,
  what: string,
): Promise<Imported> {
  await using workspace = await store.workspace();
  const path = `${workspace.path}/stream`;
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  await copyTo(file, chunks, what, options);
  return await importFile(store, path, undefined, options, what);
}

/** What is certainly meant as a path. */
const pathLike = /^(?:-$|file:\/\/|\/|\.{1,2}(?:\/|$))/i;

/** The path in `PATH` or `PATH:TAG`, `file://` before it or not, if there is such a file or folder. */
async function findPath(text: string): Promise<{ path: string; tag?: string } | undefined> {
  const reference = text.replace(/^file:\/\//i, "");
  if (reference === "" || reference.includes("\0")) return undefined;
  if (await identity(reference) !== undefined) return { path: reference };
  const colon = reference.lastIndexOf(":");
  if (colon <= 0 || reference.indexOf("/", colon) >= 0) return undefined;
  const path = reference.slice(0, colon);
  if (await identity(path) === undefined) return undefined;
  return { path, tag: reference.slice(colon + 1) };
}

function notFound(reference: string): KurmaError {
  if (pathLike.test(reference)) return noFile(reference);
  return new KurmaError(
    "missing",
    `Cannot find image ${quote(reference)}: no image in the store has that name, and no file here`,
    { fix: "`kurma image list` shows the names; write ./NAME for a file" },
  );
}

/** A path of whoever asks is none of this machine. */
export function noPaths(reference: string): KurmaError {
  return new KurmaError(
    "denied",
    `Cannot use ${quote(reference)}: paths of the host are not yours`,
    {
      fix: "Name an image, or send the file with kurma image import",
    },
  );
}

function noFile(reference: string): KurmaError {
  return new KurmaError(
    "missing",
    `Cannot open image ${quote(reference)}: no such file or folder`,
    { fix: "Check the path" },
  );
}

/** The image behind a path; one that was read before and has not changed is not read again. */
async function importPath(
  store: Store,
  path: string,
  tag: string | undefined,
  options: ImportOptions,
): Promise<ImageRecord> {
  const { isDirectory } = await Deno.stat(path);
  if (isDirectory) {
    const { record } = await importFolder(store, path, tag, options);
    store.saveImage(record, []);
    return record;
  }
  const before = await identity(path);
  const key = before === undefined ? undefined : `${before}:${tag ?? ""}`;
  const known = key === undefined ? undefined : store.image(store.imageOfFile(key) ?? "");
  if (known !== undefined) return known;
  const { record } = await importFile(store, path, tag, options);
  // A file that changed while it was read, or may change within the clock's tick, is read again.
  const settled = before !== undefined && before === await identity(path) && await isOld(path);
  store.saveImage(record, [], settled ? key : undefined);
  return record;
}

async function isOld(path: string): Promise<boolean> {
  const { ctime } = await Deno.stat(path);
  return ctime !== null && Date.now() - ctime.getTime() > 2000;
}

async function importFolder(
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

async function held(store: Store, record: ImageRecord, name?: string): Promise<HeldImage> {
  return {
    id: record.id,
    ...(name === undefined ? {} : { name }),
    layers: record.layers.map((digest) => ({ digest, path: `${store.layerPath(digest)}/rootfs` })),
    config: record.config,
    ...(record.pulled ? { pulled: record.pulled } : {}),
    hold: await store.hold(record.id),
  };
}
