import { assertEquals, rejection } from "../../tests/assert.ts";
import { type Event, Events } from "./events.ts";

function event(sequence: number): Event {
  return { sequence, time: sequence * 10, kind: "daemon", id: "", name: "", action: "x" };
}

Deno.test("who follows is told of earlier events and of those that come", async () => {
  const events = new Events([event(5), event(6)]);
  const seen: number[] = [];
  const following = (async () => {
    for await (const { sequence } of events.follow(5)) seen.push(sequence);
  })();
  events.publish(event(7));
  await new Promise((resolve) => setTimeout(resolve, 0));
  events.publish(event(8));
  events.close();
  await following;
  assertEquals(seen, [6, 7, 8]);
});

Deno.test("who is too slow is told so", async () => {
  const events = new Events();
  events.publish(event(1));
  const follower = events.follow(0);
  assertEquals((await follower.next()).value?.sequence, 1);
  for (let n = 2; n <= Events.kept + 2; n++) events.publish(event(n));
  const error = await rejection(follower.next());
  assertEquals(error.message, "Cannot tell what happened after event 1");
});

Deno.test("an aborted follower ends without an event", async () => {
  const events = new Events();
  const controller = new AbortController();
  const next = events.follow(0, controller.signal).next();
  controller.abort();
  assertEquals((await next).done, true);
});

Deno.test("events are found by their time", () => {
  const events = new Events([event(5), event(6), event(7)]);
  assertEquals([0, 50, 51, 70, 71].map((time) => events.before(time)), [4, 4, 5, 6, 7]);
});
