import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { moment, momentText, timestamp } from "./moments.ts";

const now = Date.parse("2030-01-31T12:00:00Z");
const flag = moment("", () => now);

for (
  const [text, expected] of [
    ["10m", "2030-01-31T11:50:00Z"],
    ["90", "2030-01-31T11:58:30Z"],
    ["2029-12-31T23:59:59.5Z", "2029-12-31T23:59:59.5Z"],
    ["2029-12-31T23:59:59+01:00", "2029-12-31T22:59:59Z"],
    ["2029-12-31", "2029-12-31T00:00:00Z"],
  ]
) {
  Deno.test(`moment() understands ${text}`, () => {
    assertEquals(flag.read([text]), Date.parse(expected));
  });
}

for (const text of ["", "yesterday", "2029-13-01", "-5m", "12:00"]) {
  Deno.test(`moment() refuses "${text}"`, async () => {
    assertMatch((await rejection(() => flag.read([text]))).message, /a time ago, as 10m/);
  });
}

Deno.test("momentText() says what timestamp() was made of", () => {
  assertEquals(momentText(timestamp(now + 0.5)), "2030-01-31T12:00:00.000500000Z");
  assertEquals(momentText(timestamp(-1)), "1969-12-31T23:59:59.999000000Z");
});
