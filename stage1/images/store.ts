/**
 * Where images are kept: blobs and unpacked layers in folders named by their digest,
 * and a database that says which of them are whole.
 *
 * ```
 * ROOT/images/
 *   images.db              what exists: layers, images, names
 *   blobs/ALGORITHM/HEX    bytes as they came: configs, manifests, layers, ACIs
 *   layers/ALGORITHM-HEX/  rootfs/, unpacked; an ACI's manifest beside it
 *   tmp/                   what is being made, each with a lock of its owner, and
 *                          ALGORITHM-HEX.part, downloads that can be taken up again
 *   locks/                 one process at a time unpacks a layer; `removal` keeps
 *                          removing and bringing in apart
 *   reserve                space for removing images from a full disk
 *   use/                   an image that a process holds is not removed
 * ```
 *
 * A file or folder that no row of the database names does not exist: it is written,
 * synced, renamed into place, its folder synced, and only then recorded. So a crash
 * leaves at most files that nobody sees, and the next writer sweeps `tmp`.
 *
 * @module
 */

import { Database } from "./database.ts";
import { KurmaError } from "../../ffi/errors.ts";
import type { ImageConfig } from "./image.ts";
import { isFull, Reserve } from "./reserve.ts";
import type { Digest } from "./sources/digest.ts";
import type { Decision } from "./trust/policy.ts";

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
  /** The OCI or Docker config, as it came. */
  readonly configBlob?: BlobReference;
  /** The OCI manifest, as it came. */
  readonly manifestBlob?: BlobReference;
  readonly config: ImageConfig;
  /** What its only layer was made from, if it has a pathWhitelist. */
  readonly rendered?: Rendered;
  /** How it came here, if it was pulled; the last pull counts. */
  readonly pulled?: Pulled;
}

/** A layer made of others: what a pathWhitelist leaves of them. */
export interface Rendered {
  /** Bottom first. */
  readonly from: readonly Digest[];
  /** Absolute paths. */
  readonly paths: readonly string[];
}

/** All layers that the store keeps for an image: its own, and those they are made from. */
export function keptLayers({ layers, rendered }: ImageRecord): readonly Digest[] {
  return [...layers, ...(rendered?.from ?? [])];
}

/** What a pull leaves to be seen. */
export interface Pulled {
  readonly from: string;
  /** What the registry called it: of the index if there is one, else of the manifest. */
  readonly digest?: Digest;
  readonly trust: Decision;
}

export interface BlobReference {
  readonly digest: Digest;
  readonly size: number;
  readonly mediaType: string;
}

/** An image with what changes about it. */
export interface StoredImage {
  readonly record: ImageRecord;
  readonly names: readonly string[];
  /** When it came, and when it was last opened. */
  readonly created: Date;
  readonly used: Date;
  /** Bytes it takes: its layers unpacked, and as they came. Shared ones count in each. */
  readonly bytes: number;
}

/** A folder for one piece of work, gone when the work is done or its process is dead. */
export interface Workspace extends AsyncDisposable {
  readonly path: string;
}

const folders = ["", "blobs/sha256", "blobs/sha512", "layers", "tmp", "locks", "use"];

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
  readonly #database: Database;
  readonly #reserve: Reserve;

  /**
   * Opens the store below `root`, and makes what of it is missing.
   *
   * @param root The state folder: an absolute host path.
   * @throws {KurmaError} `denied`: not root; `state`: made by a newer Kurma.
   */
  static open(root: string): Store {
    const path = `${root}/images`;
    try {
      for (const folder of folders) {
        Deno.mkdirSync(`${path}/${folder}`, { recursive: true, mode: 0o700 });
      }
    } catch (cause) {
      if (!(cause instanceof Deno.errors.PermissionDenied)) throw cause;
      throw new KurmaError("denied", `Cannot use the state folder "${root}": permission denied`, {
        cause,
        fix: "Run it as root",
      });
    }
    // One at a time: SQLite answers SQLITE_BUSY at once, whatever its timeout, when two
    // connections make the same new database and turn to its write-ahead log.
    using folder = Deno.openSync(path);
    folder.lockSync(true);
    const reserve = Reserve.open(`${path}/reserve`);
    try {
      return new Store(path, reserve);
    } catch (error) {
      reserve[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(path: string, reserve: Reserve) {
    this.#path = path;
    this.#reserve = reserve;
    this.#database = new Database(`${path}/images.db`);
    this.#database.exec(
      "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;",
    );
    if (this.#version() === 0) {
      this.#database.transaction(() => {
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
    this.#database[Symbol.dispose]();
    this.#reserve[Symbol.dispose]();
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
    this.#database.transaction(() => {
      // The same image from an archive without an OCI manifest tells less than what is known.
      const known = this.image(record.id);
      const fuller = known?.manifestBlob && !record.manifestBlob ? known : record;
      const kept = { ...fuller, pulled: record.pulled ?? known?.pulled };
      this.#database.prepare(
        `INSERT INTO images VALUES (?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET record = excluded.record, used = excluded.used`,
      ).run(record.id, JSON.stringify(kept), now, now);
      for (const name of names) {
        this.#database.prepare("INSERT OR REPLACE INTO names VALUES (?, ?)").run(name, record.id);
      }
      if (file !== undefined) {
        this.#database.prepare("INSERT OR REPLACE INTO files VALUES (?, ?)").run(file, record.id);
      }
    });
  }

  /** All images, the last opened first. */
  images(): StoredImage[] {
    const names = Map.groupBy(
      this.#database.prepare("SELECT name, image FROM names ORDER BY name").all(),
      (row) => row.image as string,
    );
    const bytes = new Map(
      this.#database.prepare("SELECT digest, bytes FROM layers").all()
        .map((row) => [row.digest as string, row.bytes as number]),
    );
    return this.#database.prepare("SELECT * FROM images ORDER BY used DESC, id").all().map(
      (row) => {
        const record = JSON.parse(row.record as string) as ImageRecord;
        return {
          record,
          names: (names.get(record.id) ?? []).map(({ name }) => name as string),
          created: new Date(row.created as number),
          used: new Date(row.used as number),
          bytes: keptLayers(record).reduce((sum, layer) => sum + (bytes.get(layer) ?? 0), 0) +
            record.blobs.reduce((sum, blob) => sum + blob.size, 0),
        };
      },
    );
  }

  /** Bytes of these layers unpacked. */
  layerBytes(digests: Iterable<Digest>): number {
    const query = this.#database.prepare("SELECT bytes FROM layers WHERE digest = ?");
    let sum = 0;
    for (const digest of digests) sum += (query.get(digest)?.bytes ?? 0) as number;
    return sum;
  }

  /** Gives an image a name; another image that has it loses it. */
  addName(name: string, id: string): void {
    this.#database.prepare("INSERT OR REPLACE INTO names VALUES (?, ?)").run(name, id);
  }

  /** Takes a name away; false if there was none. */
  removeName(name: string): boolean {
    return this.#database.prepare("DELETE FROM names WHERE name = ?").run(name).changes > 0;
  }

  /** Makes an image exist no more. Its files go with {@linkcode collect}. */
  removeImage(id: string): void {
    this.#database.prepare("DELETE FROM images WHERE id = ?").run(id);
  }

  /** Says that an image was opened just now. */
  touch(id: string): void {
    this.#database.prepare("UPDATE images SET used = ? WHERE id = ?").run(Date.now(), id);
  }

  /**
   * Removes the layers and blobs that no image has. The caller holds the removal lock
   * for itself.
   *
   * @returns How many files and folders went.
   */
  async collect(): Promise<number> {
    const records = this.images().map(({ record }) => record);
    const layers = new Set(records.flatMap(keptLayers));
    const blobs = new Set(
      records.flatMap((one) => [...one.blobs, one.configBlob, one.manifestBlob])
        .flatMap((blob) => blob === undefined ? [] : [blob.digest]),
    );
    // Rows first: a layer without a row does not exist, whatever is left of its files.
    this.#database.transaction(() => {
      for (const row of this.#database.prepare("SELECT digest FROM layers").all()) {
        if (layers.has(row.digest as Digest)) continue;
        this.#database.prepare("DELETE FROM layers WHERE digest = ?").run(row.digest);
      }
    });
    let removed = 0;
    const sweepFolder = async (folder: string, isKept: (name: string) => boolean) => {
      for await (const { name } of Deno.readDir(`${this.#path}/${folder}`)) {
        if (isKept(name)) continue;
        await removeTree(`${this.#path}/${folder}/${name}`);
        removed++;
      }
    };
    const ids = new Set(records.map(({ id }) => id));
    await sweepFolder("use", (name) => ids.has(name));
    await sweepFolder("layers", (name) => layers.has(name.replace("-", ":") as Digest));
    for (const algorithm of ["sha256", "sha512"]) {
      await sweepFolder(
        `blobs/${algorithm}`,
        (name) => blobs.has(`${algorithm}:${name}` as Digest),
      );
    }
    return removed;
  }

  /** Where the bytes `digest` are while they come; see `PartialBlob`. */
  partialPath(digest: Digest): string {
    return `${this.#path}/tmp/${digest.replace(":", "-")}.part`;
  }

  /** Whether the bytes `digest` are kept. */
  async hasBlob(digest: Digest): Promise<boolean> {
    return await identity(this.blobPath(digest)) !== undefined;
  }

  /**
   * Keeps removing and bringing in apart.
   *
   * @param exclusive True to remove: waits until nobody brings an image in.
   */
  async removalLock(exclusive: boolean): Promise<Disposable> {
    return await lockFile(`${this.#path}/locks/removal`, exclusive);
  }

  /**
   * Keeps an image from being removed until the result is disposed of or this process
   * ends. The caller holds the removal lock.
   */
  async hold(id: string): Promise<Disposable> {
    this.touch(id);
    return await lockFile(`${this.#path}/use/${id}`, false);
  }

  /** Whether some process holds the image. The caller holds the removal lock for itself. */
  async isHeld(id: string): Promise<boolean> {
    using file = await openIfThere(`${this.#path}/use/${id}`);
    if (file === undefined) return false;
    return !await file.tryLock(true);
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
    return await lockFile(`${this.#path}/locks/${slot}`, true);
  }

  /**
   * Keeps what the reserve gave for removing.
   *
   * @throws {KurmaError} `kernel`: the disk was full when the store was opened.
   */
  requireSpace(): void {
    if (this.#reserve.given) throw fullDisk();
  }

  /** A new folder to work in. */
  async workspace(): Promise<Workspace> {
    this.requireSpace();
    return await withSpace(() => this.#workspace());
  }

  async #workspace(): Promise<Workspace> {
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

  /**
   * Removes what dead processes left in `tmp`, except downloads that can be taken up again.
   * A program that a process was about to start when it was killed holds its locks until it
   * runs: what they are of goes with a later sweep.
   *
   * @param idleMs Downloads that nobody has gone on with for longer go too.
   */
  async sweep(idleMs = weekMs): Promise<void> {
    const tmp = `${this.#path}/tmp`;
    for await (const { name } of Deno.readDir(tmp)) {
      if (name.endsWith(".part")) await sweepPartial(`${tmp}/${name}`, idleMs);
      if (!name.endsWith(".lock")) continue;
      using lock = await openIfThere(`${tmp}/${name}`);
      if (lock === undefined || !await lock.tryLock(true)) continue;
      const folder = `${tmp}/${name.slice(0, -".lock".length)}`;
      // Its unpacker may not have noticed yet that nobody feeds it any more.
      using unpacker = await openIfThere(`${folder}/layer/rootfs`, { read: true });
      await unpacker?.lock(true);
      await removeTree(folder);
      await removeTree(`${tmp}/${name}`);
    }
  }

  #version(): number {
    return this.#database.prepare("PRAGMA user_version").get()?.user_version as number;
  }
}

const weekMs = 7 * 24 * 60 * 60 * 1000;

async function sweepPartial(path: string, idleMs: number): Promise<void> {
  using file = await openIfThere(path);
  if (file === undefined || !await file.tryLock(true)) return;
  const { mtime } = await file.stat();
  if (mtime !== null && Date.now() - mtime.getTime() < idleMs) return;
  await removeTree(path.replace(/\.part$/, ".validator")); // First: it never stands alone.
  await removeTree(path);
}

async function lockFile(path: string, exclusive: boolean): Promise<Disposable> {
  const file = await Deno.open(path, { write: true, create: true, mode: 0o600 });
  await file.lock(exclusive);
  return file;
}

/**
 * Writes all of `bytes`.
 *
 * @throws {KurmaError} `kernel`: the disk is full.
 */
export async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  await withSpace(async () => {
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
  });
}

/** Says of a full disk what to do. */
async function withSpace<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    if (!isFull(cause)) throw cause;
    throw fullDisk(cause);
  }
}

function fullDisk(cause?: unknown): KurmaError {
  return new KurmaError("kernel", "Cannot write the image to disk: ENOSPC", {
    cause,
    fix: "Free some space: `kurma image prune` removes what nothing uses",
  });
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

async function openIfThere(
  path: string,
  options: Deno.OpenOptions = { write: true },
): Promise<Deno.FsFile | undefined> {
  try {
    return await Deno.open(path, options);
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
