import { assertEquals } from "../../tests/assert.ts";
import { ago, size } from "./units.ts";

for (
  const [bytes, text] of [
    [0, "0 B"],
    [1, "1 B"],
    [999, "999 B"],
    [1023, "1023 B"],
    [1024, "1.00 KiB"],
    [1536, "1.50 KiB"],
    [10 * 1024, "10.0 KiB"],
    [100 * 1024, "100 KiB"],
    [1000 * 1024, "1000 KiB"],
    [1024 * 1024 - 1, "1.00 MiB"],
    [1024 ** 2, "1.00 MiB"],
    [12_900_000, "12.3 MiB"],
    [3 * 1024 ** 3, "3.00 GiB"],
    [Number.MAX_SAFE_INTEGER, "8.00 PiB"],
  ] as const
) {
  Deno.test(`size() says ${text} for ${bytes}`, () => assertEquals(size(bytes), text));
}

const second = 1000, minute = 60 * second, hour = 60 * minute, day = 24 * hour;
for (
  const [elapsed, text] of [
    [-5 * second, "just now"],
    [999, "just now"],
    [second, "1 second ago"],
    [59 * second, "59 seconds ago"],
    [minute, "1 minute ago"],
    [3 * hour + 59 * minute, "3 hours ago"],
    [6 * day, "6 days ago"],
    [13 * day, "1 week ago"],
    [45 * day, "1 month ago"],
    [800 * day, "2 years ago"],
  ] as const
) {
  Deno.test(`ago() says ${text} after ${elapsed} ms`, () => {
    const now = Date.UTC(2030, 0, 1);
    assertEquals(ago(now - elapsed, now), text);
  });
}
