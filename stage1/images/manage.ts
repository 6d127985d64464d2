/**
 * What can be done with the images of a store, by name: list, show, tag, remove, prune.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { normalName, requireStored, storedNameIn } from "./find.ts";
import { quote } from "./sources/digest.ts";
import { keptLayers, Store, type StoredImage } from "./store.ts";

/** Where the images are. */
export interface StoreOptions {
  /** The state folder: an absolute host path. Default `/var/lib/kurma`. */
  readonly root?: string;
}

export const defaultRoot = "/var/lib/kurma";

export function openStore({ root = defaultRoot }: StoreOptions): Store {
  return Store.open(root);
}

/** All images, the last opened first. */
export function listImages(options: StoreOptions = {}): StoredImage[] {
  using store = openStore(options);
  return store.images();
}

/**
 * One image.
 *
 * @param text A name, an id, or the first digits of one.
 * @throws {KurmaError} `missing`, or `invalid` if it may be several.
 */
export function showImage(text: string, options: StoreOptions = {}): StoredImage {
  using store = openStore(options);
  return requireStored(store, text);
}

/**
 * Gives an image one more name; another image that has it loses it.
 *
 * @returns The name as it is kept.
 * @throws {KurmaError} `missing`; `invalid`: not a name.
 */
export function tagImage(text: string, name: string, options: StoreOptions = {}): string {
  using store = openStore(options);
  const normal = normalName(name);
  store.addName(normal, requireStored(store, text).record.id);
  return normal;
}

/** What removing did. */
export interface Removed {
  /** Names that are no more. */
  readonly names: readonly string[];
  /** Ids of images that are no more. */
  readonly images: readonly string[];
}

/**
 * Removes a name, and the image with its last one; by id, the image with all its names.
 *
 * @throws {KurmaError} `missing`; `state`: a container uses it.
 */
export async function removeImage(text: string, options: StoreOptions = {}): Promise<Removed> {
  using store = openStore(options);
  using _lock = await store.removalLock(true);
  const { record, names } = requireStored(store, text);
  const byName = names.find((name) => name === storedNameIn(text));
  if (byName !== undefined && names.length > 1) {
    store.removeName(byName);
    return { names: [byName], images: [] };
  }
  if (await store.isHeld(record.id)) {
    throw new KurmaError("state", `Cannot remove image ${quote(text)}: a container uses it`, {
      fix: "Stop the container first",
    });
  }
  store.removeImage(record.id);
  await store.collect();
  return { names, images: [record.id] };
}

/** What {@linkcode pruneImages} may keep. */
export interface PruneOptions extends StoreOptions {
  /**
   * Bytes that all images together may take; the least recently opened go first, also
   * those that have names. Default: images with a name stay, whatever they take.
   */
  readonly maxBytes?: number;
}

/**
 * Removes images that have no name, then by {@linkcode PruneOptions.maxBytes}, and every
 * layer and blob that no image has, also of pulls that were cut short. What a process holds stays.
 */
export async function pruneImages(options: PruneOptions = {}): Promise<Removed> {
  using store = openStore(options);
  await store.sweep(0);
  using _lock = await store.removalLock(true);
  const removed: StoredImage[] = [];
  const remove = async (image: StoredImage) => {
    if (await store.isHeld(image.record.id)) return false;
    store.removeImage(image.record.id);
    removed.push(image);
    return true;
  };
  const kept: StoredImage[] = [];
  for (const image of store.images()) {
    if (image.names.length > 0 || !await remove(image)) kept.push(image);
  }
  const { maxBytes = Infinity } = options;
  for (const image of kept.toReversed()) {
    if (bytesOf(store, kept) <= maxBytes) break;
    // What is in use counts, and stays.
    if (await remove(image)) kept.splice(kept.indexOf(image), 1);
  }
  await store.collect();
  return {
    names: removed.flatMap(({ names }) => names),
    images: removed.map(({ record }) => record.id),
  };
}

/** What images take together, shared layers once. */
function bytesOf(store: Store, images: readonly StoredImage[]): number {
  const layers = new Set(images.flatMap(({ record }) => keptLayers(record)));
  const blobs = new Map(
    images.flatMap(({ record }) => record.blobs.map((blob) => [blob.digest, blob.size] as const)),
  );
  return store.layerBytes(layers) + [...blobs.values()].reduce((sum, size) => sum + size, 0);
}
