/**
 * Files that trust rests on. One that others could have written proves nothing.
 *
 * @module
 */

import { join } from "node:path";
import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "../sources/digest.ts";

/** Files of keys that a folder holds at most, all prefixes together. */
const maxKeys = 256;
/** No public key is larger. */
const maxKeyBytes = 256 * 1024;

/** A public key as it lies on disk. */
export interface KeyFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** What a key is for: OpenPGP keys (`.asc`, `.gpg`), or PEM public keys (`.pub`, `.pem`). */
export type KeyKind = "openpgp" | "pem";

const suffixes: Record<KeyKind, readonly string[]> = {
  openpgp: [".asc", ".gpg"],
  pem: [".pub", ".pem"],
};

/**
 * Reads a file that only its owner may write, who is root or ourselves.
 *
 * @returns undefined if it is not there.
 * @throws {KurmaError} `denied`: others may write it; `invalid`: too large, or no file.
 */
export async function readTrusted(path: string, limit: number): Promise<Uint8Array | undefined> {
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new KurmaError("denied", `Cannot read ${quote(path)}`, { cause });
  }
  using opened = file;
  const { isFile, mode, uid, size } = await opened.stat(); // Of what is read, whatever its name.
  if (!isFile) throw new KurmaError("invalid", `Cannot read ${quote(path)}: it is not a file`);
  if (((mode ?? 0) & 0o022) !== 0 || (uid !== 0 && uid !== Deno.uid())) {
    throw new KurmaError("denied", `Cannot trust ${quote(path)}: others may write it`, {
      fix: `Run "chown root ${path}" and "chmod go-w ${path}"`,
    });
  }
  if (size > limit) {
    throw new KurmaError("invalid", `Cannot read ${quote(path)}: it is larger than ${limit} bytes`);
  }
  return new Uint8Array(await new Response(file.readable).arrayBuffer());
}

/**
 * The keys that a rule lists.
 *
 * @throws {KurmaError} `missing`: one is not there.
 */
export async function listedKeys(paths: readonly string[], kind: KeyKind): Promise<KeyFile[]> {
  const keys: KeyFile[] = [];
  for (const path of paths.filter((path) => isOf(kind, path))) {
    const bytes = await readTrusted(path, maxKeyBytes);
    if (bytes === undefined) throw new KurmaError("missing", `Cannot find key ${quote(path)}`);
    keys.push({ path, bytes });
  }
  return keys;
}

/**
 * The keys trusted for `name`: those in the trust folder itself, trusted for all, and
 * those in the folder of each prefix of the name, as in `FOLDER/example.com/app/key.asc`.
 */
export async function trustedKeys(folder: string, name: string, kind: KeyKind): Promise<KeyFile[]> {
  const keys: KeyFile[] = [];
  let at = folder;
  for (const part of [".", ...name.split("/")]) {
    if (part === "" || part === ".." || part.includes("\0")) break; // No name has such a part.
    at = join(at, part);
    for (const path of await keysIn(at, kind)) {
      const bytes = await readTrusted(path, maxKeyBytes);
      if (bytes) keys.push({ path, bytes });
      if (keys.length > maxKeys) {
        throw new KurmaError("invalid", `Cannot use ${quote(folder)}: it has over ${maxKeys} keys`);
      }
    }
  }
  return keys;
}

async function keysIn(folder: string, kind: KeyKind): Promise<string[]> {
  const paths: string[] = [];
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (isOf(kind, name)) paths.push(join(folder, name));
    }
  } catch (error) {
    const absent = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.NotADirectory;
    if (!absent) throw error;
  }
  return paths.sort();
}

function isOf(kind: KeyKind, path: string): boolean {
  return suffixes[kind].some((suffix) => path.endsWith(suffix));
}
