import { assert, assertEquals } from "../../tests/assert.ts";
import { printable, printableLines } from "./printable.ts";

for (
  const [raw, shown, what] of [
    ["\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07", "a sequence that writes to the clipboard"],
    ["\x1b[2J", "\\x1b[2J", "a sequence that clears the screen"],
    ["\x9b31m", "\\x9b31m", "an eight-bit control"],
    ["a\r\nb\tc\0", "a\\r\\nb\\tc\\x00", "line ends and tabs"],
    ["\u202egnp.exe", "\\u202egnp.exe", "a turn of direction"],
    ["a\u2028b", "a\\u2028b", "a line separator"],
    ["\ud800x", "\\ud800x", "half a surrogate pair"],
    ["größe 容器 😀", "größe 容器 😀", "letters of any script"],
  ]
) {
  Deno.test(`printable() shows ${what} as ${shown}`, () => assertEquals(printable(raw), shown));
}

Deno.test("printableLines() keeps lines and tabs and nothing else that controls", () => {
  assertEquals(printableLines("a\n\tb\r\x07"), "a\n\tb\\r\\x07");
});

Deno.test("printable() leaves no control character, whatever it is given", () => {
  for (let code = 0; code <= 0xffff; code++) {
    const shown = printable(`<${String.fromCharCode(code)}>`);
    assert.doesNotMatch(shown, /\p{Cc}|\p{Cs}|\p{Bidi_Control}/u);
    assert.ok(shown.startsWith("<") && shown.endsWith(">"));
  }
});
