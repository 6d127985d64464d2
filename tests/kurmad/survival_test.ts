/**
 * A manager that is killed, at any moment, and the next one.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { count } from "../harness.ts";
import type { Event } from "../../stage1/containers/events.ts";
import { Lost, type Managed, managedTest, Refusal } from "./managed.ts";

managedTest("what runs goes on, and what ended meanwhile is told once", async (managed) => {
  const stays = await managed.run("sleep 1000", { name: "stays" });
  await managed.run("sleep 0.3; exit 9", { name: "ends" });
  await managed.create("true", { name: "new" });
  await managed.killed();
  const { status } = await managed.becomes("ends", ({ phase }) => phase === "exited");
  assertEquals(status.exit?.code, 9);
  await managed.killed(400);
  const after = await managed.get("stays");
  assertEquals([after.status.phase, after.status.pid], ["running", stays.status.pid]);
  assertEquals((await managed.get("new")).status.phase, "new");
  const exits = (await managed.events()).filter(({ action }) => action === "exit");
  assertEquals(exits.map(({ name, attributes }) => [name, attributes?.code]), [["ends", "9"]]);
});

managedTest("100 containers are back in time", async (managed) => {
  const total = count(20, 100);
  for (let n = 0; n < total; n++) await managed.run("sleep 1000", { name: `c${n}` });
  const took = await managed.killed();
  const list = await managed.list();
  assertEquals(list.filter(({ status }) => status.phase === "running").length, total);
  console.log(`${total} containers were back ${took.toFixed(0)} ms after the manager began`);
  // The promise is for a machine that does nothing else; others test beside us.
  assert(took < count(3_000, 500), `It took ${took} ms`);
});

managedTest("killed at random points of mixed work, it loses nothing", async (managed) => {
  const rounds = count(12, 200);
  const names = Array.from({ length: count(8, 50) }, (_, n) => `c${n}`);
  const random = generator(20_261_123);
  /** Names whose containers somebody asked to end: their codes say so. */
  const touched = new Set<string>();
  const made = new Set<string>();
  const busy = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    let over = false;
    const workers = Array.from({ length: 6 }, async () => {
      while (!over) {
        const name = names[random(names.length)];
        // One at a time on each name, or nobody could say what has to be there.
        if (busy.has(name)) await new Promise((resolve) => setTimeout(resolve, 1));
        else {
          busy.add(name);
          await work(managed, name, random, touched, made);
          busy.delete(name);
        }
      }
    });
    await new Promise((resolve) => setTimeout(resolve, 50 + random(400)));
    over = true;
    await managed.killed();
    await Promise.all(workers);
    for (const name of made) await managed.get(name); // 0 lost.
  }
  await managed.call("idle");
  for (const { name, status } of await managed.list()) {
    if (status.phase === "running") await managed.call("stop", name);
  }
  check(await managed.events(), touched);
  console.log(`killed ${rounds} times during work on ${names.length} containers`);
});

/** One operation; what the kill cuts off may have been done or not. */
async function work(
  managed: Managed,
  name: string,
  random: (limit: number) => number,
  touched: Set<string>,
  made: Set<string>,
): Promise<void> {
  const operations = ["start", "start", "stop", "kill", "restart", "remove"] as const;
  const operation = operations[random(operations.length)];
  try {
    if (!made.has(name)) {
      await managed.create(`sleep 0.${random(9)}; exit ${codeOf(name)}`, { name });
      made.add(name);
      return;
    }
    if (operation !== "start") touched.add(name);
    if (operation === "remove") made.delete(name);
    await managed.call(operation, name);
  } catch (error) {
    if (!(error instanceof Lost || error instanceof Refusal)) throw error;
    if (error instanceof Refusal) assert(error.code !== "bug", `${operation}: ${error.message}`);
    // It was made, although nobody heard of it.
    if (error instanceof Refusal && error.message.includes("is taken")) made.add(name);
  }
}

function codeOf(name: string): number {
  return 10 + Number(name.slice(1));
}

/** Each run that was started ended once, with a code that it can have. */
function check(events: readonly Event[], touched: ReadonlySet<string>): void {
  const ends = new Map<string, number>();
  for (const { id, name, action, attributes } of events) {
    if (action !== "exit") continue;
    const run = `${id}.${attributes?.run}`;
    ends.set(run, (ends.get(run) ?? 0) + 1);
    assertEquals(ends.get(run), 1, `${name}'s run ${run} was told to end twice`);
    const codes = touched.has(name) ? [codeOf(name), 137, 143] : [codeOf(name)];
    assert(codes.includes(Number(attributes?.code)), `${name} ended with ${attributes?.code}`);
  }
  const removed = new Set(events.filter(({ action }) => action === "remove").map(({ id }) => id));
  for (const { id, name, action, attributes } of events) {
    if (action !== "start" || removed.has(id)) continue;
    assert(ends.has(`${id}.${attributes?.run}`), `The end of ${name} was lost`);
  }
}

/** Numbers that are the same in every run. */
function generator(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = Math.imul(state, 1_103_515_245) + 12_345 & 0x7fff_ffff;
    return (state >> 8) % limit;
  };
}
