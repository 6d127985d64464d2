import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { linkNames, writePages, writeUnits } from "./install.ts";
import { mark } from "./man.ts";

const names = ["kurma", "kurma-api", "kurma-cli", "kurma-init", "kurmad"];

/** Runs `body` with an empty folder and an executable beside it. */
async function inFolder(body: (folder: string, executable: string) => Promise<void> | void) {
  const base = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${base}/bin`);
    await Deno.writeTextFile(`${base}/program`, "");
    await body(`${base}/bin`, `${base}/program`);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
}

function listed(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
}

Deno.test("linkNames() makes a link for each name, and a second time finds them there", () =>
  inFolder((folder, executable) => {
    const first = linkNames(`${folder}/`, executable);
    assertEquals(first[0], `${folder}/kurma -> ${executable}`);
    assertEquals(listed(folder), names);
    for (const name of names) assertEquals(Deno.readLinkSync(`${folder}/${name}`), executable);
    const second = linkNames(folder, executable);
    assertEquals(second.filter((line) => line.endsWith(" is there already")).length, names.length);
  }));

Deno.test("linkNames() leaves the executable itself alone where it has one of the names", () =>
  inFolder((folder) => {
    const executable = `${folder}/kurma`;
    Deno.writeTextFileSync(executable, "program");
    assertMatch(linkNames(folder, executable).join("\n"), /kurma is there already/);
    assertEquals(Deno.readTextFileSync(executable), "program");
    assertEquals(listed(folder), names);
  }));

for (const kind of ["a file", "a link elsewhere", "a link to nowhere", "a folder"]) {
  Deno.test(`linkNames() refuses to replace ${kind} and makes no link at all`, () =>
    inFolder(async (folder, executable) => {
      const taken = `${folder}/kurma-cli`;
      if (kind === "a file") Deno.writeTextFileSync(taken, "mine");
      else if (kind === "a folder") Deno.mkdirSync(taken);
      else Deno.symlinkSync(kind === "a link elsewhere" ? "/bin/sh" : "/nowhere", taken);
      const error = await rejection(() => linkNames(folder, executable));
      assertEquals(error.message, `Cannot link "${taken}": not a link to this program`);
      assertEquals((error as KurmaError).code, "state");
      assertEquals(listed(folder), ["kurma-cli"]);
    }));
}

Deno.test("linkNames() names a folder that is not there and how to create it", () =>
  inFolder(async (folder, executable) => {
    const error = await rejection(() => linkNames(`${folder}/new`, executable));
    assertEquals(error.message, `Cannot write in "${folder}/new": no such folder`);
    assertEquals((error as KurmaError).fix, `Create it first: mkdir -p ${folder}/new`);
  }));

Deno.test("writePages() writes over pages of ours and over nothing else", () =>
  inFolder(async (folder) => {
    const pages = [{ file: "kurma.1", text: `${mark}\nnew\n` }];
    assertEquals(writePages(folder, pages), [`${folder}/man1/kurma.1`]);
    assertEquals(writePages(`${folder}/`, pages), [`${folder}/man1/kurma.1`]);
    Deno.writeTextFileSync(`${folder}/man1/kurma-run.1`, ".TH MINE 1\n");
    const more = [...pages, { file: "kurma-run.1", text: mark }];
    const error = await rejection(() => writePages(folder, more));
    assertEquals(
      error.message,
      `Cannot write "${folder}/man1/kurma-run.1": not a page of this program`,
    );
    assertEquals(Deno.readTextFileSync(`${folder}/man1/kurma-run.1`), ".TH MINE 1\n");
  }));

Deno.test("writePages() names a folder that is not there", () =>
  inFolder(async (folder) => {
    const error = await rejection(() => writePages(`${folder}/new`, []));
    assertEquals(error.message, `Cannot write in "${folder}/new": no such folder`);
  }));

Deno.test("the unit starts this program as the daemon, and containers outlive it", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const said = writeUnits(folder, "/opt/my tools/kurma 100%");
    assert(said.startsWith(`${folder}/kurmad.service is written`));
    const text = await Deno.readTextFile(`${folder}/kurmad.service`);
    assert(text.includes('\nExecStart="/opt/my tools/kurma 100%%" daemon\n'), text);
    assert(text.includes("\nKillMode=process\n") && text.includes("\nType=notify\n"), text);
    writeUnits(`${folder}/`, "/usr/bin/kurma");
    const socket = await Deno.readTextFile(`${folder}/kurmad.socket`);
    assert(socket.includes("\nListenStream=/run/kurma/kurma.sock\nSocketMode=0660\n"), socket);
    const api = await Deno.readTextFile(`${folder}/kurma-api.service`);
    assert(api.includes("\nExecStart=/usr/bin/kurma api serve\n"), api);
    await Deno.writeTextFile(`${folder}/kurmad.service`, "[Service]\n");
    const error = await rejection(() => writeUnits(folder, "/usr/bin/kurma"));
    assertEquals(
      error.message,
      `Cannot write "${folder}/kurmad.service": not a unit of this program`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
