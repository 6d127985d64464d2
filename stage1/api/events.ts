/**
 * The service of events.
 *
 * @module
 */

import type { ServiceImpl } from "@connectrpc/connect";
import { longestTimer } from "../units.ts";
import type { Event as Happening, Events as Happenings } from "../containers/events.ts";
import type { Events, WatchEventsRequest } from "./kurma.gen.ts";
import { eventMessage, timeOf } from "./messages.ts";

/** The methods of `kurma.v1.Events`, of a state that has the events. */
export function eventService(
  state: { readonly events: Happenings },
): ServiceImpl<typeof Events> {
  return {
    async *watch(request, { signal }) {
      const { events } = state;
      const now = events.last;
      const since = timeOf(request.since);
      const until = timeOf(request.until) ?? Infinity;
      const after = request.after !== undefined
        ? Number(request.after)
        : since === undefined
        ? now
        : events.before(since);
      let isThere = false;
      // With a time that is past, what there is ends it: how long that takes is the reader's.
      const left = until - Date.now();
      // Where a timer cannot wait so long, the first event behind the end ends it.
      const ends = left <= 0 || left > longestTimer
        ? signal
        : AbortSignal.any([signal, AbortSignal.timeout(left)]);
      if (after >= now) {
        yield {};
        if (left <= 0) return;
        isThere = true;
      }
      for await (const event of events.follow(after, ends)) {
        if (event.time > until) return;
        if (fits(request, event)) yield { event: eventMessage(event) };
        if (!isThere && event.sequence >= now) {
          yield {};
          if (left <= 0) return;
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
