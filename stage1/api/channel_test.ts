import { assertEquals, rejection } from "../../tests/assert.ts";
import { channel } from "./channel.ts";

Deno.test("what is sent is received, in its order, and then the failure", async () => {
  const received: number[] = [];
  const error = await rejection((async () => {
    const values = channel<number>(async (send) => {
      for (const value of [1, 2, 3]) assertEquals(await send(value), true);
      throw new Error("no more");
    });
    for await (const value of values) received.push(value);
  })());
  assertEquals([received, error.message], [[1, 2, 3], "no more"]);
});

Deno.test("a receiver that stops at a value lets the work end", async () => {
  const sent: boolean[] = [];
  const values = channel<number>(async (send) => {
    while (await send(sent.length)) sent.push(true);
    sent.push(await send(0));
  });
  for await (const value of values) if (value === 2) break;
  assertEquals(sent, [true, true, false]);
});
