/**
 * A folder of blobs: on disk, or in a tar file. OCI layouts and Docker archives are
 * read through it, whichever of the two they are.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Chunk, collect, type Content, fileContent } from "./bytes.ts";
import { quote } from "./sources/digest.ts";
import { indexTar } from "./tar.ts";

export interface Folder {
  /** Names it in messages, with quotes. */
  readonly what: string;
  /** The file `name`, a relative path; undefined if there is none. */
  find(name: string): Promise<Content & { readonly size: number } | undefined>;
}

/** A folder on disk. */
export function diskFolder(path: string): Folder {
  return {
    what: quote(path),
    async find(name) {
      const file = `${path}/${name}`;
      try {
        const { isFile, size } = await Deno.stat(file);
        return isFile ? { ...fileContent(file, 0, size), size } : undefined;
      } catch (error) {
        if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
          return undefined;
        }
        throw error;
      }
    },
  };
}

/**
 * The folder in an uncompressed tar file.
 *
 * @param what Names the archive in messages, with quotes.
 * @throws {KurmaError} `invalid`: it is no tar, or a damaged one.
 */
export async function tarFolder(path: string, what: string): Promise<Folder> {
  const index = await indexTar(path, what);
  return {
    what,
    find(name) {
      let entry = index.get(name);
      // `docker save` of old links equal layers to one another.
      for (let hops = 0; entry && "link" in entry && hops < 8; hops++) {
        entry = index.get(entry.link);
      }
      if (entry === undefined || "link" in entry) return Promise.resolve(undefined);
      const { offset, size } = entry;
      return Promise.resolve({ ...fileContent(path, offset, size), size });
    },
  };
}

/** The file `name` whole. What is larger than `limit` bytes is refused. */
export async function readFrom(folder: Folder, name: string, limit: number): Promise<Chunk> {
  const content = await folder.find(name);
  const what = `${quote(name)} in ${folder.what}`;
  if (content === undefined) {
    throw new KurmaError("invalid", `Cannot find ${what}`, {
      fix: "Save the image again: a part of it is missing",
    });
  }
  return collect(content.chunks(), `read ${what}`, limit);
}
