/**
 * A blob on its way here: a file in the store's `tmp` that outlives its process, so that
 * the next attempt goes on where this one stopped.
 *
 * @module
 */

import { fileContent } from "./bytes.ts";
import type { BlobSink } from "./sources/blob.ts";
import { identity, writeAll } from "./store.ts";

/** Such a file, for one owner at a time. Disposing of it keeps what it holds. */
export class PartialBlob implements BlobSink, Disposable {
  readonly #file: Deno.FsFile;
  #offset: number;

  private constructor(readonly path: string, file: Deno.FsFile, size: number) {
    this.#file = file;
    this.#offset = size;
  }

  /** Opens the file, or makes it; waits until nobody else has it. */
  static async open(path: string): Promise<PartialBlob> {
    for (;;) {
      const file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
      await file.lock(true);
      const { dev, ino, size } = await file.stat();
      // Who had it may have finished or dropped it meanwhile: then this file has no name.
      if ((await identity(path))?.startsWith(`${dev}:${ino}:`)) {
        await file.seek(size, Deno.SeekMode.Start);
        return new PartialBlob(path, file, size);
      }
      file.close();
    }
  }

  get offset(): number {
    return this.#offset;
  }

  replay(): AsyncIterable<Uint8Array> {
    return fileContent(this.path, 0, this.#offset).chunks();
  }

  async write(chunk: Uint8Array): Promise<void> {
    await writeAll(this.#file, chunk);
    this.#offset += chunk.length;
  }

  async clear(): Promise<void> {
    await this.#file.truncate(0);
    await this.#file.seek(0, Deno.SeekMode.Start);
    this.#offset = 0;
  }

  /**
   * What told the server's file from others when the bytes came that are held here, for
   * where no digest can tell at the end; undefined if nothing vouches for them any more.
   */
  async validator(): Promise<string | undefined> {
    try {
      const [boot, validator] = (await Deno.readTextFile(validatorPath(this.path))).split("\n");
      // What a power cut left of the bytes is nobody's word: they were never synced.
      return boot === await bootId() ? validator : undefined;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  /** Notes down what {@linkcode validator} is to say; before any byte that it vouches for. */
  async setValidator(validator: string | undefined): Promise<void> {
    if (validator === undefined) return await removeIfThere(validatorPath(this.path));
    const text = `${await bootId()}\n${validator}`;
    await Deno.writeTextFile(validatorPath(this.path), text, { mode: 0o600 });
  }

  /** Puts on disk what it holds. */
  async sync(): Promise<void> {
    await this.#file.sync();
  }

  /** Removes the file: nothing of it is worth another attempt. */
  async discard(): Promise<void> {
    await removeIfThere(validatorPath(this.path)); // First: it never stands alone.
    await Deno.remove(this.path);
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}

/** Where the validator of the download `path` is. */
export function validatorPath(path: string): string {
  return path.replace(/\.part$/, ".validator");
}

async function bootId(): Promise<string> {
  return (await Deno.readTextFile("/proc/sys/kernel/random/boot_id")).trim();
}

async function removeIfThere(path: string): Promise<void> {
  try {
    await Deno.remove(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
