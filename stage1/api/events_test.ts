/**
 * What Watch tells, and when it ends.
 *
 * @module
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { createHandlerContext } from "@connectrpc/connect";
import { assertEquals } from "../../tests/assert.ts";
import { Events as Happenings } from "../containers/events.ts";
import { eventService } from "./events.ts";
import { Events, WatchEventsRequestSchema } from "./kurma.gen.ts";
import { timestamp } from "./messages.ts";

/** Numbers of what is told, 0 for the moment from which on nothing is missed. */
async function told(
  events: Happenings,
  request: MessageInitShape<typeof WatchEventsRequestSchema>,
): Promise<number[]> {
  const { watch } = eventService({ events });
  const context = createHandlerContext({
    service: Events,
    method: Events.method.watch,
    protocolName: "connect",
    requestMethod: "POST",
    url: "http://kurma/",
  });
  const numbers: number[] = [];
  for await (const { event } of watch(create(WatchEventsRequestSchema, request), context)) {
    numbers.push(Number(event?.sequence ?? 0));
    // Whoever reads takes his time, far longer than it takes to notice that a time is past.
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return numbers;
}

function happened(times: number): Happenings {
  const events = new Happenings();
  for (let sequence = 1; sequence <= times; sequence++) {
    const news = { kind: "volume", id: "v", name: "v", action: "create" } as const;
    events.publish({ ...news, sequence, time: sequence });
  }
  return events;
}

Deno.test("Watch until a time that is past tells all that there was, however slowly it is read", async () => {
  const all = await told(happened(20), { after: 0n, until: timestamp(Date.now()) });
  assertEquals(all, [...Array.from({ length: 20 }, (_, n) => n + 1), 0]);
  assertEquals(await told(happened(20), { after: 17n, until: timestamp(19) }), [18, 19]);
  assertEquals(await told(happened(20), { after: 20n, until: timestamp(30) }), [0]);
});

Deno.test("Watch until a time to come ends then", async () => {
  const events = happened(2);
  const telling = told(events, { after: 0n, until: timestamp(Date.now() + 300) });
  const news = { kind: "volume", id: "v", name: "v", action: "remove" } as const;
  events.publish({ ...news, sequence: 3, time: Date.now() });
  assertEquals(await telling, [1, 2, 0, 3]);
  const century = told(events, { after: 1n, until: timestamp(Date.now() + 1e12) });
  events.publish({ ...news, sequence: 4, time: Date.now() });
  // Later than any timer, and than what is told here.
  events.publish({ ...news, sequence: 5, time: Date.now() + 2e12 });
  assertEquals(await century, [2, 3, 0, 4]);
});
