/**
 * Starts that are killed at any moment, many at once: whoever made what, and whatever it had
 * said by then, nothing of it stays.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { count } from "../harness.ts";
import { cgroupFolders, pause, refusal, type Served, serverTest, until } from "./served.ts";

/** How many start at once. */
const clients = 12;

/** Starts one and kills it after up to 120 ms; what both came to. */
async function killStart(server: Served, id: string, n: number, afterMs: number): Promise<string> {
  const plan = await server.plan(id, ["exit", "0"], { cgroup: true });
  const firstId = 0x1000_0000 + n % 512 * 65_536;
  const mappings = [{ containerID: 0, hostID: firstId, size: 65_536 }];
  const { scratch } = plan.kurma;
  const starting = refusal(server.stage2.run({
    kurma: { ...plan.kurma, rpc: `${scratch}/rpc` },
    config: {
      ...plan.config,
      linux: { ...plan.config.linux, uidMappings: mappings, gidMappings: mappings },
    },
  }, null));
  await pause(afterMs);
  await refusal(server.stage2.kill(id));
  const outcome = await starting;
  await until(`${id} to be deleted`, async () => {
    const answer = await refusal(server.stage2.delete(id));
    return answer === "done" || answer.endsWith("ENOENT") || undefined;
  });
  await until(`no cgroup of ${id}`, async () => {
    return (await cgroupFolders(id)).filter(Boolean).length === 0 || undefined;
  });
  await Deno.remove(scratch, { recursive: true });
  return outcome;
}

serverTest("a start that is killed at any moment leaves nothing", async (server) => {
  const random = new Mutator(20_261_128);
  const rounds = count(240, 5_000);
  const outcomes = new Map<string, number>();
  let begun = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (begun < rounds) {
      const n = begun++;
      const outcome = await killStart(server, `k${n}`, n, random.below(120));
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
  }));
  const { done = 0, "clone ECHILD": killed = 0, ...others } = Object.fromEntries(outcomes);
  assertEquals(others, {});
  assert(killed > 0, "None was killed during its start");
  console.log(`      ${rounds} starts: ${killed} were killed before they were done, ${done} later`);
});
