/**
 * Space that is kept for a full disk: removing an image, and even listing them, takes some for
 * the database's log and its index.
 *
 * @module
 */

import { statfsSync } from "node:fs";

/** What a transaction that removes thousands of images needs. */
const bytes = 4 * 1024 * 1024;

/**
 * The reserve of one folder. Opening it on a full disk gives its space to whoever writes until
 * it is disposed of; then it is filled again, by the last of several processes.
 *
 * The space is the file's own: on the file systems we know, zeros take as much as anything else.
 */
export class Reserve implements Disposable {
  readonly #file: Deno.FsFile;
  #given = false;

  private constructor(file: Deno.FsFile) {
    this.#file = file;
  }

  /** Whether the disk was full: what is free now is only for making it less so. */
  get given(): boolean {
    return this.#given;
  }

  /** @param path The file, made if it is missing. */
  static open(path: string): Reserve {
    const reserve = new Reserve(
      Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 }),
    );
    const { bavail, bsize } = statfsSync(path);
    if (bavail * bsize < bytes) {
      reserve.#file.lockSync(false);
      reserve.#file.truncateSync(0);
      reserve.#given = true;
    } else {
      reserve.#fill();
      reserve.#file.lockSync(false);
    }
    return reserve;
  }

  [Symbol.dispose](): void {
    this.#file.unlockSync();
    this.#fill();
    this.#file.close();
  }

  /** Fills it up, unless another process may be using its space. */
  #fill(): void {
    const { size } = this.#file.statSync();
    if (size >= bytes || !this.#file.tryLockSync(true)) return;
    try {
      this.#file.seekSync(size, Deno.SeekMode.Start);
      const rest = new Uint8Array(bytes - size);
      for (let done = 0; done < rest.length;) done += this.#file.writeSync(rest.subarray(done));
      this.#file.syncDataSync(); // Else the space may still be promised to others.
    } catch (error) {
      // What there was is kept; the next one goes on.
      if (!isFull(error)) throw error;
    } finally {
      this.#file.unlockSync();
    }
  }
}

/** Whether `error` is the kernel's about a full disk, or a used-up quota. */
export function isFull(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT";
}
