import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { digester, digestOf, isDigest, parseDigest, quote } from "./digest.ts";

const hex = "0123456789abcdef".repeat(4);

Deno.test("parseDigest() takes the two registered algorithms", () => {
  assertEquals<string>(parseDigest(`sha256:${hex}`), `sha256:${hex}`);
  assertEquals<string>(parseDigest(`sha512:${hex}${hex}`), `sha512:${hex}${hex}`);
});

const refusals = {
  [hex]: 'no "algorithm:"',
  [`sha1:${hex.slice(0, 40)}`]: "not sha256 or sha512",
  [`__proto__:${hex}`]: "not sha256 or sha512",
  "sha256:": "0 digits, not 64",
  [`sha256:${hex.slice(1)}`]: "63 digits, not 64",
  [`sha512:${hex}`]: "64 digits, not 128",
  [`sha256:${hex.toUpperCase()}`]: "not lower-case",
  "sha256:../../../etc/passwd": "not lower-case",
  "sha256:..%2f..%2fx": "not lower-case",
  [`sha256:${hex}\n`]: "not lower-case",
};
for (const [text, why] of Object.entries(refusals)) {
  Deno.test(`parseDigest() refuses ${JSON.stringify(text.slice(0, 30))}`, async () => {
    const error = await rejection(() => parseDigest(text));
    assertMatch(error.message, new RegExp(why));
    assert(!isDigest(text));
  });
}

Deno.test("digester() agrees with digestOf() however the bytes are cut", () => {
  const bytes = crypto.getRandomValues(new Uint8Array(5000));
  for (const like of [undefined, parseDigest(`sha512:${hex}${hex}`)]) {
    const cut = digester(like);
    cut.update(bytes.subarray(0, 1234));
    cut.update(bytes.subarray(1234));
    assertEquals(cut.digest(), digestOf(bytes, like));
  }
});

Deno.test("quote() keeps terminals safe and messages short", () => {
  assertEquals(quote("a\x1b[2J\u202eb\x9b"), '"a\\u001b[2J?b?"');
  assertEquals(quote("x".repeat(200)).length, 82);
});
