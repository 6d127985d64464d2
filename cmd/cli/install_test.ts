import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { linkNames } from "./install.ts";

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
    const first = linkNames(`${folder}/`, executable).split("\n");
    assertEquals(first[0], `${folder}/kurma -> ${executable}`);
    assertEquals(listed(folder), names);
    for (const name of names) assertEquals(Deno.readLinkSync(`${folder}/${name}`), executable);
    const second = linkNames(folder, executable).split("\n");
    assertEquals(second.filter((line) => line.endsWith(" is there already")).length, names.length);
  }));

Deno.test("linkNames() leaves the executable itself alone where it has one of the names", () =>
  inFolder((folder) => {
    const executable = `${folder}/kurma`;
    Deno.writeTextFileSync(executable, "program");
    assertMatch(linkNames(folder, executable), /kurma is there already/);
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
    assertEquals(error.message, `Cannot make links in "${folder}/new": no such folder`);
    assertEquals((error as KurmaError).fix, `Create it first: mkdir -p ${folder}/new`);
  }));
