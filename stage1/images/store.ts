/**
 * Where images are kept: blobs and unpacked layers in folders named by their digest,
 * and a database that says which of them are whole.
 *
 * ```
 * ROOT/images/
 *   images.db              what exists: layers, images, names
 *   blobs/ALGORITHM/HEX    bytes as they came: configs, manifests, layers, ACIs
 *   layers/ALGORITHM-HEX/  rootfs/, unpacked; an ACI's manifest beside it
 *   tmp/                   what is being made, each with a lock of its owner
 *   locks/                 one process at a time unpacks a layer
 * ```
 *
 * A file or folder that no row of the database names does not exist: it is written,
 * synced, renamed into place, its folder synced, and only then recorded. So a crash
 * leaves at most files that nobody sees, and the next writer sweeps `tmp`.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { KurmaError } from "../../ffi/errors.ts";
import type { ImageConfig } from "./image.ts";
import type { Digest } from "./sources/digest.ts";

/** Which kind of source an image came from. */
export type Format = "oci" | "docker" | "aci" | "hello";

/** What the store knows of an image. */
export interface ImageRecord {
  readonly id: string;
  readonly format: Format;
  /** Digests of the uncompressed layers, bottom first. */
  readonly layers: readonly Digest[];
  /** The same layers as they came: what an export writes out again. */
  readonly blobs: readonly BlobReference[];
  /** The config or ACI manifest, as it came. */
  readonly configBlob?: BlobReference;
  readonly config: ImageConfig;
}

export interface BlobReference {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

/** A folder for one piece of work, gone when the work is done or its process is dead. */
export interface Workspace extends AsyncDisposable {
  readonly path: string;
}

const schema = `
  CREATE TABLE layers (
    digest TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    blob TEXT NOT NULL
  ) STRICT;
  CREATE TABLE images (
    id TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    created INTEGER NOT NULL,
    used INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE names (name TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images ON DELETE CASCADE) STRICT;
  CREATE TABLE files (key TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images ON DELETE CASCADE) STRICT;
  PRAGMA user_version = 1;
`;

/** The images of one state folder. Several processes may have it open. */
export class Store implements Disposable {
  readonly #path: string;
  readonly #database: DatabaseSync;

  /**
   * Opens the store below `root`, and makes what of it is missing.
   *
   * @param root The state folder: an absolute host path.
   * @throws {KurmaError} `denied`: not root; `state`: made by a newer Kurma.
   */
  static open(root: string): Store {
    const path = `${root}/images`;
    try {
      for (const folder of ["", "blobs/sha256", "blobs/sha512", "layers", "tmp", "locks"]) {
        Deno.mkdirSync(`${path}/${folder}`, { recursive: true, mode: 0o700 });
      }
    } catch (cause) {
      if (!(cause instanceof Deno.errors.PermissionDenied)) throw cause;
      throw new KurmaError("denied", `Cannot use the state folder "${root}": permission denied`, {
        cause,
        fix: "Run it as root",
      });
    }
    return new Store(path);
  }

  private constructor(path: string) {
    this.#path = path;
    this.#database = new DatabaseSync(`${path}/images.db`);
    this.#database.exec(
      "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
    );
    if (this.#version() === 0) {
      this.#transaction(() => {
        if (this.#version() === 0) this.#database.exec(schema);
      });
    }
    if (this.#version() !== 1) {
      throw new KurmaError("state", `Cannot use the image store "${path}": a newer Kurma made it`, {
        fix: "Run that version, or name another state folder",
      });
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  /** The folder of a layer that {@linkcode layerBlob} knows. */
  layerPath(digest: Digest): string {
    return `${this.#path}/layers/${digest.replace(":", "-")}`;
  }

  blobPath(digest: Digest): string {
    return `${this.#path}/blobs/${digest.replace(":", "/")}`;
  }

  /** The bytes that the layer came as; undefined if the store does not have the layer. */
  layerBlob(digest: Digest): BlobReference | undefined {
    const row = this.#database.prepare("SELECT blob FROM layers WHERE digest = ?").get(digest);
    return row === undefined ? undefined : JSON.parse(row.blob as string) as BlobReference;
  }

  /** The image with this id. */
  image(id: string): ImageRecord | undefined {
    const row = this.#database.prepare("SELECT record FROM images WHERE id = ?").get(id);
    return row === undefined ? undefined : JSON.parse(row.record as string) as ImageRecord;
  }

  /** The id of the image that was read from the file with this identity. */
  imageOfFile(key: string): string | undefined {
    const row = this.#database.prepare("SELECT image FROM files WHERE key = ?").get(key);
    return row?.image as string | undefined;
  }

  /** The id of the image with this name. */
  imageOfName(name: string): string | undefined {
    const row = this.#database.prepare("SELECT image FROM names WHERE name = ?").get(name);
    return row?.image as string | undefined;
  }

  /**
   * Makes an image exist. All its layers and blobs have been committed.
   *
   * @param names What it is called from now on; another image loses such a name.
   * @param file The identity of the file it was read from.
   */
  saveImage(record: ImageRecord, names: readonly string[], file?: string): void {
    const now = Date.now();
    this.#transaction(() => {
      this.#database.prepare(
        `INSERT INTO images VALUES (?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record, used = excluded.used`,
      ).run(record.id, JSON.stringify(record), now, now);
      for (const name of names) {
        this.#database.prepare("INSERT OR REPLACE INTO names VALUES (?, ?)").run(name, record.id);
      }
      if (file !== undefined) {
        this.#database.prepare("INSERT OR REPLACE INTO files VALUES (?, ?)").run(file, record.id);
      }
    });
  }

  /** Makes a layer exist: the folder `path` holds its rootfs, synced, and moves away. */
  async commitLayer(
    digest: Digest,
    path: string,
    about: { readonly bytes: number; readonly entries: number; readonly blob: BlobReference },
  ): Promise<void> {
    await replace(path, this.layerPath(digest));
    await syncFolder(`${this.#path}/layers`);
    this.#database.prepare("INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?)")
      .run(digest, about.bytes, about.entries, JSON.stringify(about.blob));
  }

  /** Keeps the file `path`, which is written and synced, as the blob `digest`. */
  async commitBlob(digest: Digest, path: string): Promise<void> {
    const target = this.blobPath(digest);
    await Deno.rename(path, target);
    await syncFolder(target.slice(0, target.lastIndexOf("/")));
  }

  /** Keeps small bytes as the blob `digest`. */
  async putBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    await using workspace = await this.workspace();
    const path = `${workspace.path}/blob`;
    using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
    await writeAll(file, bytes);
    await file.sync();
    await this.commitBlob(digest, path);
  }

  /** Waits until no other process, and nobody here, unpacks the layer `digest`. */
  async lock(digest: Digest): Promise<Disposable> {
    // A fixed set of files: they are never removed, so nobody locks one that is gone.
    const slot = digest.slice(digest.indexOf(":") + 1).slice(0, 3);
    const file = await Deno.open(`${this.#path}/locks/${slot}`, {
      write: true,
      create: true,
      mode: 0o600,
    });
    await file.lock(true);
    return file;
  }

  /** A new folder to work in. */
  async workspace(): Promise<Workspace> {
    for (;;) {
      const path = `${this.#path}/tmp/${crypto.randomUUID()}`;
      const lock = await Deno.open(`${path}.lock`, { write: true, createNew: true, mode: 0o600 });
      await lock.lock(true);
      // A sweep may have come between the two lines above.
      if (await identity(`${path}.lock`) === undefined) {
        lock.close();
        continue;
      }
      await Deno.mkdir(path, { mode: 0o700 });
      return {
        path,
        async [Symbol.asyncDispose]() {
          await removeTree(path);
          await Deno.remove(`${path}.lock`);
          lock.close();
        },
      };
    }
  }

  /** Removes what dead processes left in `tmp`. */
  async sweep(): Promise<void> {
    const tmp = `${this.#path}/tmp`;
    for await (const { name } of Deno.readDir(tmp)) {
      if (!name.endsWith(".lock")) continue;
      using lock = await openIfThere(`${tmp}/${name}`);
      if (lock === undefined || !await lock.tryLock(true)) continue;
      await removeTree(`${tmp}/${name.slice(0, -".lock".length)}`);
      await removeTree(`${tmp}/${name}`);
    }
  }

  #version(): number {
    return this.#database.prepare("PRAGMA user_version").get()?.user_version as number;
  }

  #transaction(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}

/** Writes all of `bytes`. */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
}

/** Renames a folder to where an earlier, unrecorded one may be. */
async function replace(from: string, to: string): Promise<void> {
  await removeTree(to);
  await Deno.rename(from, to);
}

async function removeTree(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function openIfThere(path: string): Promise<Deno.FsFile | undefined> {
  try {
    return await Deno.open(path, { write: true });
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Puts a folder's entries on disk. */
async function syncFolder(path: string): Promise<void> {
  using folder = await Deno.open(path);
  await folder.sync();
}

/**
 * What tells a file from every other content it had or will have: changes with each
 * write. Undefined if there is no such file.
 */
export async function identity(path: string): Promise<string | undefined> {
  try {
    const { dev, ino, size, mtime, ctime } = await Deno.stat(path);
    return [dev, ino, size, mtime?.getTime(), ctime?.getTime()].join(":");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
