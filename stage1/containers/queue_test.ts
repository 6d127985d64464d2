import { assertEquals, rejection } from "../../tests/assert.ts";
import { Queues } from "./queue.ts";

Deno.test("work on one thing waits, work on another does not", async () => {
  const queues = new Queues();
  const log: string[] = [];
  const gate = Promise.withResolvers<void>();
  const work = (name: string, until?: Promise<void>) => async () => {
    log.push(`${name} begins`);
    await until;
    log.push(`${name} ends`);
  };
  const all = [
    queues.run("a", work("first", gate.promise)),
    queues.run("a", work("second")),
    queues.run("b", work("other")),
  ];
  await all[2];
  assertEquals(log, ["first begins", "other begins", "other ends"]);
  gate.resolve();
  await Promise.all(all);
  assertEquals(log.slice(3), ["first ends", "second begins", "second ends"]);
  assertEquals([queues.isBusy("a"), queues.isBusy("b")], [false, false]);
});

Deno.test("work that fails lets the next go on", async () => {
  const queues = new Queues();
  const failing = queues.run("a", () => Promise.reject(new Error("no")));
  const next = queues.run("a", () => Promise.resolve(7));
  assertEquals((await rejection(failing)).message, "no");
  assertEquals(await next, 7);
  await queues.idle();
});
