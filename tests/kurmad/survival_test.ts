/**
 * A manager that is killed, at any moment, and the next one.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { count } from "../harness.ts";
import { Lost, managedTest, Refusal } from "./managed.ts";
import { MixedWork } from "./mixed_work.ts";

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
  const containers = count(8, 50);
  const work = new MixedWork({
    create: (name, script) => managed.create(script, { name }),
    act: (act, name) => managed.call(act, name),
    reason(error) {
      if (error instanceof Lost) return "lost";
      if (!(error instanceof Refusal) || error.code === "bug") return undefined;
      return error.message.includes("is taken") ? "taken" : "refused";
    },
    killed: async () => void await managed.killed(),
    names: async () => (await managed.list()).map(({ name }) => name),
  }, containers);
  for (let round = 0; round < rounds; round++) await work.round();
  await managed.call("idle");
  for (const { name, status } of await managed.list()) {
    if (status.phase === "running") await managed.call("stop", name);
  }
  const told = (await managed.events()).map(({ attributes = {}, ...event }) => ({
    ...event,
    run: attributes.run,
    code: Number(attributes.code),
  }));
  const ends = work.check(told);
  console.log(`killed ${rounds} times during work on ${containers} containers, ${ends} ends kept`);
});
