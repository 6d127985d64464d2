/**
 * Reads the kept bytes of the store again and says which are not what they were.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { fileContent, Passage } from "./bytes.ts";
import { openStore, type StoreOptions } from "./manage.ts";
import type { BlobReference, Store, StoredImage } from "./store.ts";

/** Something that is not as it was committed. */
export interface Damage {
  /** The id of the image it belongs to. */
  readonly image: string;
  /** The blob or layer. */
  readonly digest: string;
  /** One line: what is wrong with it. */
  readonly problem: string;
}

/**
 * Checks every image: its config, manifest and layers as they came, by digest, and that
 * each layer's folder is there.
 *
 * @param onImage Told before each image is read.
 * @returns What is damaged; nothing if all is well.
 */
export async function verifyImages(
  options: StoreOptions = {},
  onImage: (image: StoredImage) => void = () => {},
): Promise<Damage[]> {
  using store = openStore(options);
  using _lock = await store.removalLock(false);
  const checked = new Map<string, string | undefined>();
  const damages: Damage[] = [];
  for (const image of store.images()) {
    onImage(image);
    const { id, blobs, configBlob, manifestBlob, layers } = image.record;
    for (const blob of [...blobs, configBlob, manifestBlob]) {
      if (blob === undefined) continue;
      if (!checked.has(blob.digest)) checked.set(blob.digest, await problemOf(store, blob));
      const problem = checked.get(blob.digest);
      if (problem !== undefined) damages.push({ image: id, digest: blob.digest, problem });
    }
    for (const layer of layers) {
      const problem = store.layerBlob(layer) === undefined
        ? "the store does not know the layer"
        : await isFolder(`${store.layerPath(layer)}/rootfs`)
        ? undefined
        : "its unpacked folder is missing";
      if (problem !== undefined) damages.push({ image: id, digest: layer, problem });
    }
  }
  return damages;
}

async function problemOf(
  store: Store,
  { digest, size }: BlobReference,
): Promise<string | undefined> {
  const content = fileContent(store.blobPath(digest), 0, size);
  try {
    await new Passage(content.chunks(), { what: digest, digest, size }).finish();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "its file is missing";
    if (error instanceof KurmaError) return error.message;
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
