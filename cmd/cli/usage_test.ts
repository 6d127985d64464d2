import { assertEquals } from "../../tests/assert.ts";
import { timeText } from "./usage.ts";

for (
  const [time, text] of [
    [undefined, "0.00s"],
    ["0.004s", "0.00s"],
    ["1.236s", "1.24s"],
    ["59.999s", "1m0.00s"],
    ["61.234567s", "1m1.23s"],
    ["7200s", "120m0.00s"],
  ]
) {
  Deno.test(`timeText() says ${text} for ${time}`, () => assertEquals(timeText(time), text));
}
