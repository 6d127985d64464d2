import { assertEquals } from "../../tests/assert.ts";
import { Interrupts } from "./interrupts.ts";

for (
  const [name, times, passed] of [
    ["the first one is the command's", [0], [true]],
    ["a second within a second is not", [0, 999], [true, false]],
    ["a later one is", [0, 1000], [true, true]],
    ["a third is not, however late", [0, 5000, 60_000], [true, true, false]],
  ] as const
) {
  Deno.test(`of interrupts, ${name}`, () => {
    let now = 0;
    const interrupts = new Interrupts(() => now);
    const answers = times.map((time) => {
      now = time;
      return interrupts.isPassedOn();
    });
    assertEquals(answers, [...passed]);
  });
}
