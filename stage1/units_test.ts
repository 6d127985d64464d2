import { assertEquals } from "../tests/assert.ts";
import { durationText, parseDuration, parseSize, sizeText } from "./units.ts";

const times: [string, number | undefined][] = [
  ["500ms", 500],
  ["10s", 10_000],
  ["1m30s", 90_000],
  ["1.5h", 5_400_000],
  ["2", 2_000],
  ["0", 0],
  ["", undefined],
  ["10 s", undefined],
  ["-1s", undefined],
  ["1d", undefined],
  ["1e3", undefined],
];
for (const [text, milliseconds] of times) {
  Deno.test(`"${text}" is ${milliseconds ?? "no"} ms`, () => {
    assertEquals(parseDuration(text), milliseconds);
  });
}

const sizes: [string, number | undefined][] = [
  ["10", 10],
  ["10k", 10_240],
  ["10KiB", 10_240],
  ["1.5GB", 1.5 * 2 ** 30],
  ["0", 0],
  ["", undefined],
  ["10 MB", undefined],
  ["1PB", undefined],
  ["999999999999999T", undefined],
];
for (const [text, bytes] of sizes) {
  Deno.test(`"${text}" is ${bytes ?? "no"} bytes`, () => assertEquals(parseSize(text), bytes));
}

Deno.test("what is written can be read again", () => {
  for (const bytes of [0, 1, 1023, 1024, 10 * 2 ** 20, 3 * 2 ** 40]) {
    assertEquals(parseSize(sizeText(bytes)), bytes);
  }
  for (const ms of [0, 1, 999, 1_000, 60_000, 90_000, 3_600_000]) {
    assertEquals(parseDuration(durationText(ms)), ms);
  }
});
