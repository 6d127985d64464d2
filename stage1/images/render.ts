/**
 * What a pathWhitelist leaves of an ACI and the images below it, as a layer of its own.
 * Its files are hard links to those of the layers it is made from, so it takes no room.
 *
 * @module
 * @see appc spec 0.8.11, aci.md "pathWhitelist"
 */

import { type Digest, digestOf } from "./sources/digest.ts";
import type { BlobReference, Rendered, Store } from "./store.ts";

/** A listed path, or one on the way to it. */
interface Listed {
  readonly below: Map<string, Listed>;
  listed: boolean;
}

/** What identifies the layer: the same layers and paths make the same one. */
export function renderedDigest(rendered: Rendered): Digest {
  const { from, paths } = rendered;
  // No tar archive looks like this, so no other layer has such a digest.
  return digestOf(new TextEncoder().encode(JSON.stringify({ from, paths })));
}

/**
 * Makes the layer unless the store has it.
 *
 * @param blob The ACI that says so, as it came.
 * @returns The layer's digest, {@linkcode renderedDigest}.
 */
export async function renderLayer(
  store: Store,
  rendered: Rendered,
  blob: BlobReference,
): Promise<Digest> {
  const digest = renderedDigest(rendered);
  using _lock = await store.lock(digest);
  if (store.layerBlob(digest) !== undefined) return digest;
  await using workspace = await store.workspace();
  const path = `${workspace.path}/layer`;
  await Deno.mkdir(path, { mode: 0o700 });
  const entries = await render(store, rendered, `${path}/rootfs`);
  await store.commitLayer(digest, path, { bytes: 0, entries, blob });
  return digest;
}

/**
 * Writes what the paths leave to `target`, which does not exist yet, and puts it on disk.
 *
 * A path stands for itself alone, also if it is a folder: what of its contents is to be
 * there is listed too. Folders on the way to a listed path are there; a path that no
 * layer has is not. Extended attributes of folders are left out.
 *
 * @returns How many files and folders there are.
 */
export async function render(store: Store, rendered: Rendered, target: string): Promise<number> {
  const tree: Listed = { below: new Map(), listed: true };
  for (const path of rendered.paths) {
    let at = tree;
    for (const name of parts(path)) {
      let next = at.below.get(name);
      if (next === undefined) at.below.set(name, next = { below: new Map(), listed: false });
      at = next;
    }
    at.listed = true;
  }
  const folders = rendered.from.map((layer) => `${store.layerPath(layer)}/rootfs`).reverse();
  return await renderFolder(folders, tree, target);
}

/** The names that a path of a pathWhitelist goes through. */
export function parts(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}

/**
 * @param folders The same folder in each layer that has it, the highest first.
 * @returns How many entries were made; 0 if the folder was left out again.
 */
async function renderFolder(
  folders: readonly string[],
  { below, listed }: Listed,
  target: string,
): Promise<number> {
  await Deno.mkdir(target, { mode: 0o700 });
  let entries = 1;
  for (const [name, child] of below) {
    const path = `${target}/${name}`;
    const { file, deeper } = await providers(folders, name);
    if (deeper.length > 0) entries += await renderFolder(deeper, child, path);
    else if (file !== undefined && child.listed) {
      await Deno.link(file, path);
      entries++;
    }
  }
  if (entries === 1 && !listed) {
    await Deno.remove(target);
    return 0;
  }
  const { mode, uid, gid, atime, mtime } = await Deno.lstat(folders[0]);
  await Deno.chown(target, uid, gid);
  await Deno.chmod(target, mode! & 0o7777); // After chown(2), which takes set-id bits away.
  await Deno.utime(target, atime!, mtime!); // Last: every entry made above changed it.
  using opened = await Deno.open(target);
  await opened.sync();
  return entries;
}

/**
 * Where `name` comes from: the folders that are merged there, or the one file that hides
 * all below it. No ACI has whiteouts. No symlink is followed: each name is looked at by
 * itself in a folder that is one.
 */
async function providers(
  folders: readonly string[],
  name: string,
): Promise<{ file?: string; deeper: string[] }> {
  const deeper: string[] = [];
  for (const folder of folders) {
    const path = `${folder}/${name}`;
    const found = await lstatIfThere(path);
    if (found === undefined) continue;
    if (found.isDirectory) deeper.push(path);
    else if (deeper.length > 0) break; // Hidden by the folder above it.
    else return { file: path, deeper };
  }
  return { deeper };
}

async function lstatIfThere(path: string): Promise<Deno.FileInfo | undefined> {
  try {
    return await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
