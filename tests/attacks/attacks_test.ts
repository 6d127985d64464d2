/**
 * Each attack twice: on the build whose protection is left out it has to succeed, or it
 * would prove nothing; on the binary under test it has to be refused. Where several
 * protections stand before it and each is enough, it is carried out once more for each,
 * with that one alone in place.
 *
 * @module
 */

import { assert, assertMatch } from "../assert.ts";
import { binary, root, test } from "../harness.ts";
import { calls, x32 } from "./calls.ts";
import { identity } from "./identity.ts";
import { machine } from "./machine.ts";
import { paths } from "./paths.ts";
import { program } from "./program.ts";
import { within } from "../stage2/served.ts";
import { type Attack, type Outcome, Target, type Weakness } from "./target.ts";

const tally = { tried: 0, succeeded: 0, shipped: 0 };

async function carryOut(
  dir: string,
  attack: Attack,
  leftOut?: readonly Weakness[],
): Promise<Outcome> {
  await using target = await Target.start(dir, attack, leftOut);
  const outcome = await within(attack.what, attack.carryOut(target));
  await target.quit();
  return outcome;
}

for (const attack of [...program, ...paths, ...identity, ...calls, ...machine]) {
  test(`attack ${attack.number}: ${attack.what}`, async ({ dir }) => {
    tally.tried++;
    const weakened = await carryOut(`${dir}/weakened`, attack, attack.leftOut);
    if (weakened.got) tally.succeeded++;
    const shipped = await carryOut(`${dir}/shipped`, attack);
    if (shipped.got) tally.shipped++;
    assert(weakened.got, `It fails without ${attack.leftOut} as well: ${weakened.seen}`);
    assert(!shipped.got, `It succeeds: ${shipped.seen}`);
    assertMatch(shipped.seen, attack.refused);
    for (const wall of attack.eachIsEnough ? attack.leftOut : []) {
      const others = attack.leftOut.filter((name) => name !== wall);
      const { got, seen } = await carryOut(`${dir}/${wall}`, attack, others);
      assert(!got, `It succeeds with ${wall} in place: ${seen}`);
    }
  });
}

test("attack 44: the x32 range ends the process", async ({ dir }) => {
  const attack = { number: 44, what: "", leftOut: [], carryOut: x32, refused: /^159$/ };
  const { seen } = await carryOut(dir, attack);
  assertMatch(seen, attack.refused);
});

test("what is shipped cannot be weakened", async () => {
  for (const path of [binary, `${root}/build/native/kurma-stage3`]) {
    const { code } = await new Deno.Command("grep", { args: ["-qa", "KURMA_WEAKEN", path] })
      .output();
    assert(code === 1, `${path} knows KURMA_WEAKEN`);
  }
  const { tried, succeeded, shipped } = tally;
  console.log(
    `attacks: ${tried} tried, ${succeeded} succeed on the weakened build, ${shipped} on the shipped`,
  );
});
