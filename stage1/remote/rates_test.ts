import { assert, assertEquals } from "../../tests/assert.ts";
import { Rates } from "./rates.ts";

const limits = { callsPerSecond: 2, burst: 3, callsAtOnce: 100 };

Deno.test("a client makes a few calls at once, and then as many as time allows", () => {
  let now = 0;
  const rates = new Rates(() => now);
  const admitted = (client = "ci") => rates.admit(client, limits).admitted;
  assertEquals([admitted(), admitted(), admitted(), admitted()], [true, true, true, false]);
  const refused = rates.admit("ci", limits);
  assert(!refused.admitted);
  assertEquals([refused.reason, refused.retryAfterMs], ["You have made too many calls", 500]);
  assertEquals(admitted("another"), true);
  now += 499;
  assertEquals(admitted(), false);
  now += 1;
  assertEquals([admitted(), admitted()], [true, false]);
  now += 3_600_000;
  assertEquals([admitted(), admitted(), admitted(), admitted()], [true, true, true, false]);
});

Deno.test("calls that run count until they are over, once", () => {
  const rates = new Rates(() => 0);
  const few = { callsPerSecond: 1, burst: 100, callsAtOnce: 2 };
  const calls = [rates.admit("ci", few), rates.admit("ci", few)];
  const refused = rates.admit("ci", few);
  assert(!refused.admitted);
  assertEquals(refused.reason, "2 calls of yours run already");
  const [first] = calls;
  assert(first.admitted);
  first.call[Symbol.dispose]();
  first.call[Symbol.dispose]();
  assertEquals(rates.admit("ci", few).admitted, true);
  assertEquals(rates.admit("ci", few).admitted, false);
});

Deno.test("what there is nothing to remember of is forgotten", () => {
  let now = 0;
  const rates = new Rates(() => now);
  for (let n = 0; n < 100; n++) {
    const admission = rates.admit(`client ${n}`, limits);
    if (n > 0 && admission.admitted) admission.call[Symbol.dispose]();
  }
  assertEquals(rates.size, 100);
  now += 60_000;
  rates.admit("one more", limits);
  assertEquals(rates.size, 2); // The first one's call still runs.
});
