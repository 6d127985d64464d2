import { assertEquals } from "../../tests/assert.ts";
import { type LogOptions, readLog } from "./logs.ts";

async function withLog(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const start = Date.UTC(2026, 0, 1);

/** A record of second `at`. */
function line(at: number, text: string, tag = "F", stream = "stdout"): string {
  return `${
    new Date(start + at * 1000).toISOString().replace("Z", "000000Z")
  } ${stream} ${tag} ${text}\n`;
}

async function texts(folder: string, options?: LogOptions): Promise<string[]> {
  const found: string[] = [];
  for await (const records of readLog(folder, options)) {
    for (const { text, partial } of records) {
      found.push(new TextDecoder().decode(text) + (partial ? "…" : ""));
    }
  }
  return found;
}

/** What stage3 does when a file is full. */
function rotate(folder: string, keep: number): void {
  for (let number = keep - 1; number > 0; number--) {
    const from = number === 1 ? "log" : `log.${number - 1}`;
    try {
      Deno.renameSync(`${folder}/${from}`, `${folder}/log.${number}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

Deno.test("rotated files read as one, the oldest first", () =>
  withLog(async (folder) => {
    Deno.writeTextFileSync(`${folder}/log.2`, line(1, "one"));
    Deno.writeTextFileSync(`${folder}/log.1`, line(2, "two") + line(3, "half", "P"));
    Deno.writeTextFileSync(`${folder}/log`, line(4, "three"));
    assertEquals(await texts(folder), ["one", "two", "half…", "three"]);
    assertEquals(await texts(folder, { tail: 0 }), []);
    assertEquals(await texts(folder, { tail: 1 }), ["half…", "three"]);
    assertEquals(await texts(folder, { tail: 2 }), ["two", "half…", "three"]);
    assertEquals(await texts(folder, { tail: 9 }), ["one", "two", "half…", "three"]);
    assertEquals(await texts(folder, { since: start + 2000, until: start + 3000 }), [
      ...["two", "half…"],
    ]);
  }));

Deno.test("a container without a log has nothing to tell", () =>
  withLog(async (folder) => assertEquals(await texts(`${folder}/none`), [])));

Deno.test("what a container prints is never a record, whatever it looks like", () =>
  withLog(async (folder) => {
    const forged = line(9, "forged").trimEnd();
    const bytes = `${line(1, forged)}${line(2, "")}torn li\n${"x".repeat(100_000)}\n${
      line(3, "ok")
    }`;
    Deno.writeTextFileSync(`${folder}/log`, `${bytes}${line(4, "no end").trimEnd()}`);
    assertEquals(await texts(folder), [forged, "", "ok"]);
  }));

Deno.test("a follower sees every line once over many rotations", () =>
  withLog(async (folder) => {
    const total = 3_000;
    let written = 0;
    const following = texts(folder, { follow: true, ended: () => written === total });
    while (written < total) {
      let text = "";
      for (let n = 0; n < 25; n++) text += line(written, String(written++));
      Deno.writeTextFileSync(`${folder}/log`, text, { append: true });
      if (written % 250 === 0) {
        rotate(folder, 3);
        // Files are dropped after two rotations; a follower has that long.
        await new Promise((resolve) => setTimeout(resolve, 40));
      }
    }
    assertEquals(await following, Array.from({ length: total }, (_, n) => String(n)));
  }));

Deno.test("a follower of whom two files were dropped goes on with the oldest", () =>
  withLog(async (folder) => {
    Deno.writeTextFileSync(`${folder}/log`, line(1, "one"));
    const controller = new AbortController();
    const reader = readLog(folder, { follow: true, signal: controller.signal });
    const first = await reader.next();
    assertEquals(first.value?.length, 1);
    for (const text of ["two", "three", "four"]) {
      rotate(folder, 2);
      Deno.writeTextFileSync(`${folder}/log`, line(2, text));
    }
    const seen: string[] = [];
    while (seen.length < 2) {
      const { value } = await reader.next();
      for (const { text } of value ?? []) seen.push(new TextDecoder().decode(text));
    }
    assertEquals(seen, ["three", "four"]);
    controller.abort();
    assertEquals((await reader.next()).done, true);
  }));

Deno.test("whatever a log file holds, reading it ends, and yields only records", () =>
  withLog(async (folder) => {
    const pieces = [line(1, "a"), "\n", "x".repeat(70_000), "\0", line(2, "b", "P"), "2026-"];
    let random = 11;
    for (let round = 0; round < 60; round++) {
      let text = "";
      for (let n = 0; n < 12; n++) {
        random = random * 1_103_515_245 + 12_345 & 0x7fffffff;
        text += pieces[(random >> 8) % pieces.length];
      }
      Deno.writeTextFileSync(`${folder}/log`, text);
      for (const found of await texts(folder)) assertEquals(/^[ab]…?/.test(found), true, found);
    }
  }));
