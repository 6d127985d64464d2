import { assertEquals } from "../../tests/assert.ts";
import { batched } from "./copying.ts";
import { placeOf } from "./cp.ts";

const places: [text: string, what: string][] = [
  ["-", "stream"],
  ["web:/etc/hosts", "container web /etc/hosts"],
  ["web:etc/hosts", "container web /etc/hosts"],
  ["web:", "container web /"],
  ["web:../../etc", "container web /etc"],
  ["web:/www/.", "container web /www"],
  ["web:/a:b", "container web /a:b"],
  ["./a:b", "local /here/a:b"],
  ["/tmp/a:b", "local /tmp/a:b"],
  ["../x", "local /x"],
  ["x/y:z", "local /here/x/y:z"],
  [":x", "local /here/:x"],
];
for (const [text, what] of places) {
  Deno.test(`cp takes "${text}" for: ${what}`, () => {
    const place = placeOf(text, "/here");
    const words = place.kind === "stream"
      ? [place.kind]
      : [place.kind, ...place.kind === "container" ? [place.container] : [], place.path];
    assertEquals(words.join(" "), what);
  });
}

const ends: [text: string, isFolder: boolean, isContents: boolean][] = [
  ["a", false, false],
  ["a/", true, false],
  ["a/.", true, true],
  [".", true, true],
  ["web:/", true, true],
  ["a.", false, false],
];
for (const [text, isFolder, isContents] of ends) {
  Deno.test(`cp takes "${text}" for ${isContents ? "what is in a folder" : isFolder ? "a folder" : "either"}`, () => {
    const place = placeOf(text, "/here");
    assertEquals(place.kind !== "stream" && [place.isFolder, place.isContents], [
      isFolder,
      isContents,
    ]);
  });
}

Deno.test("batched() joins what is small and cuts what is large, and loses nothing", async () => {
  const sizes = [1, 0, 512, 300_000, 7, 600_000];
  let next = 0;
  const chunks = sizes.map((size) => Uint8Array.from({ length: size }, () => next++ & 0xff));
  const pieces = await Array.fromAsync(batched((async function* () {
    yield* chunks;
  })()));
  const most = 256 * 1024;
  const total = sizes.reduce((sum, size) => sum + size, 0);
  assertEquals(pieces.slice(0, -1).every(({ length }) => length === most), true);
  assertEquals(pieces.length, Math.ceil(total / most));
  assertEquals(
    pieces.flatMap((piece) => [...piece]).every((byte, at) => byte === (at & 0xff)),
    true,
  );
});
