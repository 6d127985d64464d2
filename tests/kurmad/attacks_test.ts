/**
 * Attacks on kurmad itself: by callers, by images, and by what runs in containers. Each says
 * what the attacker got, beside something that shows that the attempt was a real one.
 *
 * @module
 * @see docs/decisions/097-what-kurmad-withstands.md
 */

import { assert, assertEquals } from "../assert.ts";
import { root } from "../harness.ts";
import { byCallers } from "./attacks_by_callers.ts";
import { byContents } from "./attacks_by_contents.ts";
import { kurmadTest } from "./daemon.ts";

const tally = { tried: 0, refused: 0 };

for (const { number, what, how, carryOut } of [...byContents, ...byCallers]) {
  kurmadTest(`attack ${number}: ${what}`, async (kurmad) => {
    tally.tried++;
    const got = await carryOut(kurmad);
    assertEquals(got, [], `It succeeds: ${Deno.inspect(got, { depth: 9 })}`);
    tally.refused++;
  }, how);
}

Deno.test("attack 16: there are no checkpoints whose archives could be trusted again", async () => {
  const proto = await Deno.readTextFile(`${root}/stage1/api/kurma.proto`);
  const methods = [...proto.matchAll(/^ {2}rpc (\w+)\(/gm)].map(([, name]) => name);
  assert(methods.length > 50);
  assertEquals(methods.filter((name) => /checkpoint|restore/i.test(name)), []);
});

Deno.test("attacks on kurmad, counted", () => {
  console.log(`attacks on kurmad: ${tally.tried} tried, ${tally.refused} refused or contained`);
});
