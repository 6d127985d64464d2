import { assertEquals, rejection } from "../../tests/assert.ts";
import { programOf } from "./run.ts";

for (
  const [text, words] of [
    ["/bin/sh", ["/bin/sh"]],
    ["", [""]],
    ["a b", ["a b"]],
    ['["sh", "-c"]', ["sh", "-c"]],
    ["[]", []],
  ] as const
) {
  Deno.test(`programOf() takes ${text} for ${JSON.stringify(words)}`, () => {
    assertEquals(programOf(text), words);
  });
}

for (const text of ["[", "[1]", '["a", ["b"]]', "[sh]"]) {
  Deno.test(`programOf() refuses ${text}`, async () => {
    const error = await rejection(() => programOf(text));
    assertEquals(error.message, `Cannot use "${text}" for --entrypoint: no list of strings`);
  });
}
