/**
 * What kurmad knows, kept so that a kurmad that is killed at any moment has lost nothing:
 * containers, pods, volumes, and what happened to them.
 *
 * ```
 * ROOT/state/
 *   lock       held by the kurmad that owns the folder; its pid is in it
 *   state.db   SQLite, write-ahead log
 * ```
 *
 * All of it is in memory too; the database is read once. A change is in the database,
 * and outlives this process, when its call returns; it outlives a power cut when
 * {@linkcode State.durable} settles. Many changes share one sync of the disk.
 *
 * @module
 */

import { clearImmediate, setImmediate } from "node:timers";
import { KurmaError } from "../../ffi/errors.ts";
import { Database } from "../images/database.ts";
import { Events, type News } from "./events.ts";
import type { Container, Pod, Status, Volume } from "./record.ts";

/** Each makes the next version of the schema out of the one before. */
const migrations: readonly string[] = [
  `
  CREATE TABLE pods (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
  ) STRICT;
  CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    pod TEXT REFERENCES pods,
    record TEXT NOT NULL,
    status TEXT NOT NULL
  ) STRICT;
  CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    record TEXT NOT NULL
  ) STRICT;
  CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    record TEXT NOT NULL
  ) STRICT;
  `,
];

/** The state folder's records. One process at a time has them open. */
export class State implements AsyncDisposable {
  readonly containers = new Map<string, Container>();
  readonly pods = new Map<string, Pod>();
  /** By name. */
  readonly volumes = new Map<string, Volume>();
  readonly #events: Events;
  readonly #lock: Deno.FsFile;
  readonly #database: Database;
  readonly #log: Deno.FsFile;
  readonly #statements: ReturnType<typeof prepareAll>;
  #syncing: Promise<void> = Promise.resolve();
  #nextSync: Promise<void> | undefined;
  /** What follows once the transaction is whole; undefined outside of one. */
  #then: (() => void)[] | undefined;
  /** Changes that nobody waits for. */
  #behind: (() => void)[] = [];
  #catchingUp: ReturnType<typeof setImmediate> | undefined;

  /**
   * Opens what is below `root`, and makes what of it is missing.
   *
   * @throws {KurmaError} `state`: another kurmad has it, or a newer one made it; `kernel`:
   * the disk fails.
   */
  static open(root: string): State {
    const folder = `${root}/state`;
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
    const lock = own(folder);
    try {
      return new State(folder, lock);
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  private constructor(folder: string, lock: Deno.FsFile) {
    this.#lock = lock;
    const path = `${folder}/state.db`;
    this.#database = new Database(path);
    // NORMAL writes without a sync, which `durable` makes up for: it waits on a thread
    // pool while we go on. EXCLUSIVE: the lock says that nobody else comes.
    this.#database.exec(
      "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;",
    );
    this.#migrate(folder);
    this.#statements = prepareAll(this.#database);
    // The same file that SQLite writes to: fsync(2) is about the file, not the descriptor.
    // SQLite takes its locks on state.db, so that closing this one gives none of them up.
    this.#log = Deno.openSync(`${path}-wal`, { write: true });
    this.#load();
    const rows = this.#database.prepare("SELECT sequence, record FROM events ORDER BY sequence");
    this.#events = new Events(
      rows.all().map((row) => ({ ...JSON.parse(row.record as string), sequence: row.sequence })),
    );
  }

  #migrate(folder: string): void {
    const row = this.#database.prepare("PRAGMA user_version").get();
    const version = Number(row?.user_version);
    if (version > migrations.length) {
      throw new KurmaError("state", `Cannot use the state in "${folder}": a newer Kurma made it`, {
        fix: "Run that version, or name another state folder",
      });
    }
    this.#database.transaction(() => {
      for (const sql of migrations.slice(version)) this.#database.exec(sql);
      this.#database.exec(`PRAGMA user_version = ${migrations.length}`);
    });
  }

  #load(): void {
    for (const row of this.#database.prepare("SELECT record FROM pods").all()) {
      const pod = JSON.parse(row.record as string) as Pod;
      this.pods.set(pod.id, pod);
    }
    for (const row of this.#database.prepare("SELECT record, status FROM containers").all()) {
      const record = JSON.parse(row.record as string) as Omit<Container, "status">;
      const status = JSON.parse(row.status as string) as Status;
      this.containers.set(record.id, { ...record, status });
    }
    for (const row of this.#database.prepare("SELECT record FROM volumes").all()) {
      const volume = JSON.parse(row.record as string) as Volume;
      this.volumes.set(volume.name, volume);
    }
  }

  /** What happened, and happens. */
  get events(): Events {
    this.#catchUp();
    return this.#events;
  }

  /**
   * Has `work` change the database in a moment, before any other change and before anybody
   * looks. It does not throw. A kurmad that is killed first has not done it.
   */
  soon(work: () => void): void {
    this.#behind.push(work);
    this.#catchingUp ??= setImmediate(() => this.#catchUp());
  }

  #catchUp(): void {
    if (this.#behind.length === 0) return;
    clearImmediate(this.#catchingUp);
    this.#catchingUp = undefined;
    for (const work of this.#behind.splice(0)) work();
  }

  /**
   * Waits until all changes so far are on disk.
   *
   * @throws {Error} The disk did not take them; they may be lost with the power.
   */
  durable(): Promise<void> {
    this.#catchUp();
    // A sync that has begun may have missed what was changed since: the next one counts.
    return this.#nextSync ??= this.#syncing.catch(() => {}).then(() => {
      this.#nextSync = undefined;
      return this.#syncing = this.#log.syncData();
    });
  }

  /** Does all of `work` and tells of it, or nothing of both if it throws. */
  change<Value>(work: () => Value): Value {
    if (this.#then !== undefined) return work();
    this.#catchUp();
    const then: (() => void)[] = this.#then = [];
    let value: Value | undefined;
    try {
      this.#database.transaction(() => {
        value = work();
      });
    } finally {
      this.#then = undefined;
    }
    for (const step of then) step();
    return value as Value;
  }

  /** Changes the database, and memory when that is done. */
  #write(work: () => void, then: () => void): void {
    this.change(() => {
      work();
      this.#then?.push(then);
    });
  }

  /**
   * Notes that something happened, together with the change that makes it so.
   *
   * @param time Milliseconds since 1970; default now.
   */
  tell(news: News, time = Date.now()): void {
    this.change(() => {
      const record = { ...news, time };
      const { lastInsertRowid } = this.#statements.addEvent.run(JSON.stringify(record));
      const sequence = Number(lastInsertRowid);
      if (sequence > Events.kept) this.#statements.dropEvent.run(sequence - Events.kept);
      this.#then?.push(() => this.#events.publish({ ...record, sequence }));
    });
  }

  /** Adds containers; those of a pod together with it. */
  add(containers: readonly Container[], pod?: Pod): void {
    this.#write(() => {
      if (pod) this.#statements.addPod.run(pod.id, pod.name, JSON.stringify(pod));
      for (const { status, ...record } of containers) {
        this.#statements.addContainer.run(
          record.id,
          record.name,
          record.pod ?? null,
          JSON.stringify(record),
          JSON.stringify(status),
        );
      }
    }, () => {
      if (pod) this.pods.set(pod.id, pod);
      for (const container of containers) this.containers.set(container.id, container);
    });
  }

  /** Changes what is kept of a container beside its status. */
  updateRecord(container: Container, changes: Partial<Pick<Container, "name" | "spec">>): void {
    const { status: _, ...record } = { ...container, ...changes };
    this.#write(
      () => this.#statements.saveRecord.run(record.name, JSON.stringify(record), record.id),
      () => Object.assign(container, changes),
    );
  }

  /** Changes a container's status. Memory has it even if the disk does not take it. */
  updateStatus(container: Container, changes: Partial<Status>): void {
    if (this.#then === undefined) this.#catchUp();
    container.status = { ...container.status, ...changes };
    this.#statements.saveStatus.run(JSON.stringify(container.status), container.id);
  }

  /** Makes containers, and the pod they were, exist no more. */
  remove(containers: readonly Container[], pod?: Pod): void {
    this.#write(() => {
      for (const { id } of containers) this.#statements.removeContainer.run(id);
      if (pod) this.#statements.removePod.run(pod.id);
    }, () => {
      for (const { id } of containers) this.containers.delete(id);
      if (pod) this.pods.delete(pod.id);
    });
  }

  /** Changes what is kept of a pod. */
  savePod(pod: Pod): void {
    this.#write(
      () => this.#statements.savePod.run(pod.name, JSON.stringify(pod), pod.id),
      () => this.pods.set(pod.id, pod),
    );
  }

  /** Adds a volume, or changes the one of its name. */
  saveVolume(volume: Volume): void {
    this.#write(
      () => this.#statements.saveVolume.run(volume.name, JSON.stringify(volume)),
      () => this.volumes.set(volume.name, volume),
    );
  }

  removeVolume(name: string): void {
    this.#write(
      () => this.#statements.removeVolume.run(name),
      () => this.volumes.delete(name),
    );
  }

  /** Closes the database; everything is on disk then. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.durable();
    this.#log.close();
    this.#database[Symbol.dispose]();
    this.#lock.close();
  }
}

function prepareAll(database: Database) {
  return {
    addContainer: database.prepare("INSERT INTO containers VALUES (?, ?, ?, ?, ?)"),
    saveRecord: database.prepare("UPDATE containers SET name = ?, record = ? WHERE id = ?"),
    saveStatus: database.prepare("UPDATE containers SET status = ? WHERE id = ?"),
    removeContainer: database.prepare("DELETE FROM containers WHERE id = ?"),
    addPod: database.prepare("INSERT INTO pods VALUES (?, ?, ?)"),
    savePod: database.prepare("UPDATE pods SET name = ?, record = ? WHERE id = ?"),
    removePod: database.prepare("DELETE FROM pods WHERE id = ?"),
    saveVolume: database.prepare("INSERT OR REPLACE INTO volumes VALUES (?, ?)"),
    removeVolume: database.prepare("DELETE FROM volumes WHERE name = ?"),
    addEvent: database.prepare("INSERT INTO events (record) VALUES (?)"),
    dropEvent: database.prepare("DELETE FROM events WHERE sequence = ?"),
  };
}

/**
 * The ids of the containers and pods below `root`, told from a copy: whoever takes the state
 * over meanwhile is not held up. Undefined if they cannot be read.
 */
export function recordedIds(root: string): ReadonlySet<string> | undefined {
  const copy = Deno.makeTempDirSync({ prefix: "kurma-" });
  try {
    for (const name of ["state.db", "state.db-wal"]) {
      copyIfThere(`${root}/state/${name}`, `${copy}/${name}`);
    }
    using database = new Database(`${copy}/state.db`);
    const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
    if (!tables.some(({ name }) => name === "containers")) return new Set();
    const rows = database.prepare("SELECT id FROM containers UNION SELECT id FROM pods").all();
    return new Set(rows.map(({ id }) => String(id)));
  } catch (error) {
    if (error instanceof KurmaError) return undefined;
    throw error;
  } finally {
    Deno.removeSync(copy, { recursive: true });
  }
}

function copyIfThere(from: string, to: string): void {
  try {
    Deno.copyFileSync(from, to);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    throw new KurmaError("denied", `Cannot read "${from}": EACCES`, { fix: "Run it as root" });
  }
}

/** Takes the folder for this process. */
function own(folder: string): Deno.FsFile {
  const path = `${folder}/lock`;
  const lock = Deno.openSync(path, { read: true, write: true, create: true, mode: 0o600 });
  if (!lock.tryLockSync(true)) {
    const owner = Deno.readTextFileSync(path).trim();
    lock.close();
    throw new KurmaError("state", `Cannot use the state in "${folder}": kurmad ${owner} has it`, {
      fix: "Stop that one, or name another state folder",
    });
  }
  lock.truncateSync();
  lock.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
  return lock;
}
