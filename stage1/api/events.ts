/**
 * The service of events.
 *
 * @module
 */

import type { ServiceImpl } from "@connectrpc/connect";
import type { Event as Happening } from "../containers/events.ts";
import type { Manager } from "../containers/manager.ts";
import type { Events, WatchEventsRequest } from "./kurma.gen.ts";
import { eventMessage, timeOf } from "./messages.ts";

/** The methods of `kurma.v1.Events`. */
export function eventService(manager: Manager): ServiceImpl<typeof Events> {
  return {
    async *watch(request, { signal }) {
      const { events } = manager.host.state;
      const now = events.last;
      const since = timeOf(request.since);
      const until = timeOf(request.until) ?? Infinity;
      const after = request.after !== undefined
        ? Number(request.after)
        : since === undefined
        ? now
        : events.before(since);
      let isThere = false;
      const ends = until === Infinity
        ? signal
        : AbortSignal.any([signal, AbortSignal.timeout(Math.max(0, until - Date.now()))]);
      if (after >= now) {
        yield {};
        isThere = true;
      }
      for await (const event of events.follow(after, ends)) {
        if (event.time > until) return;
        if (fits(request, event)) yield { event: eventMessage(event) };
        if (!isThere && event.sequence >= now) {
          yield {};
          isThere = true;
        }
      }
    },
  };
}

function fits({ subjects, references, actions }: WatchEventsRequest, event: Happening): boolean {
  const { subject } = eventMessage(event);
  return (subjects.length === 0 || subjects.includes(subject)) &&
    (references.length === 0 || references.includes(event.name) ||
      references.some((text) => text.length >= 4 && event.id.startsWith(text))) &&
    (actions.length === 0 || actions.includes(event.action));
}
