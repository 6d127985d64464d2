/**
 * From what a user writes to an image whose layers are unpacked. What is not in the store
 * yet is brought in by {@link ./bring_in.ts}, loaded when that is needed.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { findImage } from "./find.ts";
import type { HeldImage } from "./image.ts";
import type { ImportOptions } from "./layers.ts";
import { openStore, type StoreOptions } from "./manage.ts";
import type { PullOptions } from "./pull.ts";
import { quote } from "./sources/digest.ts";
import { metered } from "./progress.ts";
import { parseReference } from "./sources/reference.ts";
import { identity, type ImageRecord, type Store } from "./store.ts";

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
export function withDependencies<Options extends OpenOptions>(
  store: Store,
  { pull, ...options }: Options,
): Omit<Options, "pull"> & ImportOptions {
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

/** What is certainly meant as a path. */
const pathLike = /^(?:-$|file:\/\/|\/|\.{1,2}(?:\/|$))/i;

/** The path in `PATH` or `PATH:TAG`, `file://` before it or not, if there is such a file or folder. */
export async function findPath(text: string): Promise<{ path: string; tag?: string } | undefined> {
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

export function noFile(reference: string): KurmaError {
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
    const { importFolder } = await import("./bring_in.ts");
    const { record } = await importFolder(store, path, tag, options);
    store.saveImage(record, []);
    return record;
  }
  const before = await identity(path);
  const key = before === undefined ? undefined : `${before}:${tag ?? ""}`;
  const known = key === undefined ? undefined : store.image(store.imageOfFile(key) ?? "");
  if (known !== undefined) return known;
  const { importFile } = await import("./bring_in.ts");
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
