/**
 * Files with secrets: for their owner only, and whole after a crash.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";

/** What keys, certificates and lists of them may take. */
const maxBytes = 4 * 1024 * 1024;

/** Makes a folder that only its owner enters; one that is there keeps what is in it. */
export function makePrivateFolder(path: string): void {
  try {
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    Deno.chmodSync(path, 0o700); // It may have been there, and the mask is not ours.
  } catch (cause) {
    throw new KurmaError("denied", `Cannot make the folder "${path}"`, {
      cause,
      fix: "Run it as who owns the folder above, or name another",
    });
  }
}

/**
 * Writes a file with mode 0600, which appears whole or not at all and then stays.
 *
 * @throws {KurmaError} `denied`: the folder is not ours to write.
 */
export function writeSecret(path: string, text: string): void {
  const folder = path.slice(0, path.lastIndexOf("/")) || "/";
  const fresh = `${folder}/.${crypto.randomUUID()}`;
  try {
    using file = Deno.openSync(fresh, { write: true, createNew: true, mode: 0o600 });
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    file.syncSync();
    Deno.renameSync(fresh, path);
    using entries = Deno.openSync(folder);
    entries.syncSync();
  } catch (cause) {
    removeIfThere(fresh);
    throw new KurmaError("denied", `Cannot write "${path}"`, {
      cause,
      fix: "Run it as who owns the folder, or name another; it must be there",
    });
  }
}

/**
 * Reads a file that only its owner may read and write, who is root or ourselves.
 *
 * @returns undefined if it is not there.
 * @throws {KurmaError} `denied`: others may read or write it; `invalid`: it is too large.
 */
export function readSecret(path: string): string | undefined {
  let opened: Deno.FsFile;
  try {
    opened = Deno.openSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new KurmaError("denied", `Cannot read "${path}"`, {
      cause,
      fix: "Run it as who owns the file",
    });
  }
  using file = opened;
  const { isFile, mode, uid, size } = file.statSync();
  if (!isFile || size > maxBytes) {
    throw new KurmaError("invalid", `Cannot read "${path}": no file, or over ${maxBytes} bytes`);
  }
  if (((mode ?? 0) & 0o077) !== 0 || (uid !== 0 && uid !== Deno.uid())) {
    throw new KurmaError("denied", `Cannot trust "${path}": others may read or write it`, {
      fix: `Run "chmod 600 ${path}", and chown it to who uses it`,
    });
  }
  const bytes = new Uint8Array(size);
  let length = 0;
  while (length < size) {
    const count = file.readSync(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  return new TextDecoder().decode(bytes.subarray(0, length));
}

/** Removes a file, unless it is gone. */
export function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
