import { assertEquals, rejection } from "../../tests/assert.ts";
import { checkName, findNamed, newId } from "./names.ts";

const all = [
  { id: "abcdef01234567890123456789abcdef", name: "web" },
  { id: "abcd00000000000000000000000000ff", name: "db" },
  { id: "1234567890abcdef1234567890abcdef", name: "abcd" },
];

for (
  const [text, found] of [
    ["web", "web"],
    ["abcdef01234567890123456789abcdef", "web"],
    ["abcdef01-2345-6789-0123-456789abcdef", "web"],
    ["abcde", "web"],
    ["1234", "abcd"],
    ["abcd", "abcd"], // The name, although two ids begin so.
  ]
) {
  Deno.test(`"${text}" means ${found}`, () => {
    assertEquals(findNamed("container", all, text).name, found);
  });
}

for (
  const [text, message] of [
    ["abc", 'Cannot find container "abc": there is none'],
    ["WEB", 'Cannot find container "WEB": there is none'],
    ["abcd0", "db"],
    ["", 'Cannot find container "": there is none'],
  ]
) {
  Deno.test(`"${text}" is looked up as a whole`, async () => {
    const found = await Promise.try(() => findNamed("container", all, text).name)
      .catch((error) => error.message);
    assertEquals(found, message);
  });
}

Deno.test("digits that several ids begin with are refused with their names", async () => {
  const error = await rejection(() => findNamed("pod", all.slice(0, 2), "abcd"));
  assertEquals(error.message, 'Cannot choose a pod by "abcd": it may be web, db');
});

Deno.test("no text is a name that is not made for one", async () => {
  const alphabet = ["a", "-", ".", "_", "/", "\0", "\n", " ", "é", "0", "\u202e", "%"];
  let random = 7;
  for (let round = 0; round < 20_000; round++) {
    let text = "";
    const length = round % 140;
    for (let at = 0; at < length; at++) {
      random = random * 1_103_515_245 + 12_345 & 0x7fffffff;
      text += alphabet[(random >> 8) % (round % 3 === 0 ? 2 : alphabet.length)];
    }
    const good = text.length >= 1 && text.length <= 128 && /^[a0]/.test(text) &&
      ![.../[^a0._-]/g[Symbol.matchAll](text)].length;
    const allowed = await Promise.try(() => checkName("volume", text) === text)
      .catch((error) => error.code !== "invalid");
    assertEquals(allowed, good, JSON.stringify(text));
  }
});

Deno.test("ids are hexadecimal and differ", () => {
  const ids = new Set(Array.from({ length: 100 }, newId));
  assertEquals(ids.size, 100);
  for (const id of ids) assertEquals(/^[0-9a-f]{32}$/.test(id), true);
});
