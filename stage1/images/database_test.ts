import { assertEquals, rejection } from "../../tests/assert.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { Database } from "./database.ts";

/** Runs `test` with the path of a database that is not there yet. */
async function withPath(test: (path: string) => unknown): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(`${folder}/test.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("a transaction that throws changes nothing", () =>
  withPath(async (path) => {
    using database = new Database(path);
    database.exec("CREATE TABLE names (name)");
    const insert = () => database.prepare("INSERT INTO names VALUES (?)").run("a");
    database.transaction(() => insert());
    const error = await rejection(() =>
      database.transaction(() => {
        insert();
        throw new Error("no");
      })
    );
    assertEquals(error.message, "no");
    assertEquals(database.prepare("SELECT count(*) AS n FROM names").get()?.n, 1);
  }));

Deno.test("a statement that is kept sees what others write, and keeps them from nothing", () =>
  withPath((path) => {
    using ours = new Database(path);
    ours.exec("PRAGMA journal_mode = WAL; CREATE TABLE names (name)");
    ours.exec("INSERT INTO names VALUES ('a'), ('b')");
    const sql = "SELECT name FROM names WHERE name <> ?";
    const statement = ours.prepare(sql);
    assertEquals(statement.get("")?.name, "a"); // There is one more row, which nobody reads.
    using theirs = new Database(path);
    theirs.transaction(() => theirs.exec("UPDATE names SET name = 'c'"));
    assertEquals(theirs.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()?.busy, 0);
    assertEquals([ours.prepare(sql) === statement, statement.get("")?.name], [true, "c"]);
  }));

Deno.test("a full disk is named, with what to do", () =>
  withPath(async (path) => {
    using database = new Database(path);
    database.exec("CREATE TABLE blobs (bytes); PRAGMA max_page_count = 3");
    const error = await rejection(() =>
      database.transaction(() =>
        database.prepare("INSERT INTO blobs VALUES (?)").run(new Uint8Array(100_000))
      )
    );
    assertEquals(error.message, `Cannot use "${path}": ENOSPC`);
    assertEquals(error instanceof KurmaError && [error.code, error.fix], [
      "kernel",
      "Free some space, or name another folder with --root",
    ]);
    assertEquals(database.prepare("SELECT count(*) AS n FROM blobs").get()?.n, 0);
  }));

Deno.test("a file that is no database is named", () =>
  withPath(async (path) => {
    await Deno.writeTextFile(path, "no database, whatever its name says ".repeat(100));
    using database = new Database(path);
    const error = await rejection(() => database.exec("PRAGMA journal_mode = WAL"));
    assertEquals(error.message, `Cannot use "${path}": EUCLEAN`);
  }));
