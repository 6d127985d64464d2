import { assertEquals, rejection } from "../../tests/assert.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { environment } from "./environment.ts";

/** Runs `body` with the path of a file that holds `content`. */
async function withFile(content: string | Uint8Array, body: (path: string) => unknown) {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    await body(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("environment() takes files first, then single variables, and the last of a name", () =>
  withFile("\ufeff# comment\n\nA=1\r\n  B=two words \nOWN\nC=\n", (path) => {
    assertEquals(
      environment([path], ["A=9", "D=x=y", "OWN", "NOT_SET"], { OWN: "mine" }),
      ["A=9", "B=two words ", "OWN=mine", "C=", "D=x=y"],
    );
  }));

for (const text of ["", "=x", "A B=c", " A=1", "A\0=b", "A=b\0"]) {
  Deno.test(`environment() refuses ${JSON.stringify(text)}`, async () => {
    const error = await rejection(() => environment([], [text], {}));
    assertEquals(error.message, `Cannot set "${text}" from --env: no name of a variable`);
  });
}

Deno.test("environment() names the line of a file that is wrong", () =>
  withFile("A=1\n=2\n", async (path) => {
    const error = await rejection(() => environment([path], [], {}));
    assertEquals(error.message, `Cannot set "=2" from ${path}, line 2: no name of a variable`);
  }));

Deno.test("environment() refuses what is no text", () =>
  withFile(new Uint8Array([0xff, 0xfe]), async (path) => {
    const error = await rejection(() => environment([path], [], {}));
    assertEquals(error.message, `Cannot use "${path}" for --env-file: not UTF-8 text`);
  }));

Deno.test("environment() says which file is not there", async () => {
  const error = await rejection(() => environment(["/nowhere/env"], [], {}));
  assertEquals([(error as KurmaError).code, error.message], [
    "missing",
    'Cannot read "/nowhere/env" for --env-file',
  ]);
});
