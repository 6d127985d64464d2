/**
 * How much a folder takes that a container may be changing meanwhile.
 *
 * @module
 */

import { type Descriptor, isErrno, type Kernel } from "../../ffi/kernel.ts";

/** More than this is not counted: who asks waits, and so does everybody else a little. */
const mostEntries = 100_000;

/** Deeper than people nest folders. */
const maxDepth = 256;

/**
 * Bytes of disk that a folder takes with all it holds; a file of several names counts once.
 * Nothing is followed: each folder is entered through a descriptor of it.
 *
 * @param path Absolute, of a folder that only we can replace.
 * @returns Undefined if it is too large to be counted; 0 for one that is not there.
 */
export async function folderBytes(
  kernel: Kernel,
  path: string,
  most = mostEntries,
): Promise<number | undefined> {
  const counted = new Set<string>();
  let bytes = 0;
  let entries = 0;
  const own = (file: Descriptor) => `/proc/self/fd/${file}`;
  const add = async (place: Descriptor, depth: number): Promise<boolean> => {
    const { isDirectory, blocks, nlink, dev, ino } = Deno.statSync(own(place));
    if (!isDirectory && (nlink ?? 1) > 1) {
      const file = `${dev}:${ino}`;
      if (counted.has(file)) return true;
      counted.add(file);
    }
    bytes += (blocks ?? 0) * 512;
    if (!isDirectory) return true;
    if (depth === maxDepth) return false;
    for await (const { name } of Deno.readDir(own(place))) {
      if (++entries > most) return false;
      const below = openIfThere(kernel, place, name);
      if (below === undefined) continue;
      try {
        if (!await add(below, depth + 1)) return false;
      } finally {
        kernel.close(below);
      }
    }
    return true;
  };
  const root = kernel.openRoot(Deno.pid);
  try {
    const folder = openIfThere(kernel, root, path);
    if (folder === undefined) return 0;
    try {
      return await add(folder, 0) ? bytes : undefined;
    } finally {
      kernel.close(folder);
    }
  } finally {
    kernel.close(root);
  }
}

function openIfThere(kernel: Kernel, folder: Descriptor, name: string): Descriptor | undefined {
  try {
    return kernel.openIn(folder, name, "place_itself");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
