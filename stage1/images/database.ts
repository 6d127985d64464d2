/**
 * The store's database, with failures that say what to do.
 *
 * @module
 * @see https://sqlite.org/rescode.html
 */

import {
  DatabaseSync,
  type SQLInputValue,
  type SQLOutputValue,
  type StatementResultingChanges,
} from "node:sqlite";
import { KurmaError } from "../../ffi/errors.ts";

/** A row, by column. */
export type Row = Record<string, SQLOutputValue>;

/** A statement that can be run again and again. */
export interface Statement {
  /** The first row. */
  get(...values: SQLInputValue[]): Row | undefined;
  all(...values: SQLInputValue[]): Row[];
  run(...values: SQLInputValue[]): StatementResultingChanges;
}

/**
 * Results with a cause outside the program, by SQLite's own text of them
 * (sqlite3_errstr): Deno gives their number for some calls only.
 */
const causes: Readonly<Record<string, { errno: string; fix: string }>> = {
  "attempt to write a readonly database": {
    errno: "EROFS",
    fix: "Make the state folder writable, or name another with --root",
  },
  "disk I/O error": {
    errno: "EIO",
    fix: "Look at the kernel's log: the disk or the file system is failing",
  },
  "database disk image is malformed": {
    errno: "EUCLEAN",
    fix: "Move the folder away and import the images anew",
  },
  "file is not a database": {
    errno: "EUCLEAN",
    fix: "Move the folder away and import the images anew",
  },
  "database or disk is full": {
    errno: "ENOSPC",
    fix: "Free some space, or name another folder with --root",
  },
};

/** An SQLite file. Its methods throw {@linkcode KurmaError} `kernel` for what is the disk's fault. */
export class Database implements Disposable {
  readonly #path: string;
  readonly #database: DatabaseSync;
  /** By their text: parsing one anew takes about as long as running it. */
  readonly #statements = new Map<string, Statement>();

  /** @param path A file, made if it is missing. */
  constructor(path: string) {
    this.#path = path;
    this.#database = this.#try(() => new DatabaseSync(path));
  }

  /** Runs statements that return nothing. */
  exec(sql: string): void {
    this.#try(() => this.#database.exec(sql));
  }

  /** A statement with `?` for each value; it is kept, so its text is no place for values. */
  prepare(sql: string): Statement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#try(() => this.#database.prepare(sql));
    const kept: Statement = {
      get: (...values) => this.#try(() => statement.get(...values)),
      all: (...values) => this.#try(() => statement.all(...values)),
      run: (...values) => this.#try(() => statement.run(...values)),
    };
    this.#statements.set(sql, kept);
    return kept;
  }

  /** Does all of `work`, or nothing if it throws. */
  transaction(work: () => void): void {
    this.prepare("BEGIN IMMEDIATE").run();
    try {
      work();
      this.prepare("COMMIT").run();
    } catch (error) {
      // A full disk ends the transaction by itself.
      if (this.#database.isTransaction) this.exec("ROLLBACK");
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  #try<Result>(work: () => Result): Result {
    try {
      return work();
    } catch (cause) {
      const known = cause instanceof Error ? causes[cause.message] : undefined;
      if (known === undefined) throw cause;
      throw new KurmaError("kernel", `Cannot use "${this.#path}": ${known.errno}`, {
        cause,
        fix: known.fix,
      });
    }
  }
}
