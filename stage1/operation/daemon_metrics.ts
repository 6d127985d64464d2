/**
 * What kurmad tells Prometheus about.
 *
 * @module
 */

import type { Event } from "../containers/events.ts";
import { Registry } from "./metrics.ts";

/** Seconds; the budget for a start is a few milliseconds. */
const startBounds = [
  ...[0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
];

/** The daemon's metrics. */
export class DaemonMetrics {
  readonly registry: Registry = new Registry();

  /** Seconds from the beginning of the start to the command's exec. */
  readonly startSeconds = this.registry.histogram(
    "kurma_container_start_seconds",
    "Time from the beginning of a container's start until its command runs.",
    startBounds,
  );

  /** By `outcome`: `ok` or the code of the error. */
  readonly starts = this.registry.counter(
    "kurma_container_starts_total",
    "Starts of containers, by how they went.",
  );

  /** By `reason`: `exit`, `signal`, `oom`. */
  readonly ends = this.registry.counter(
    "kurma_container_ends_total",
    "Ends of containers, by their kind.",
  );

  readonly restarts = this.registry.counter(
    "kurma_container_restarts_total",
    "Starts by a restart policy.",
  );

  /** By `method` and `code`. */
  readonly calls = this.registry.counter(
    "kurma_api_calls_total",
    "Calls of the API, by method and by the code of the answer.",
  );

  /**
   * @param version The build's.
   * @param containers How many there are in each state, when somebody asks.
   */
  constructor(version: string, containers: () => ReadonlyMap<string, number>) {
    this.registry.gauge("kurma_build_info", "Which build this is; always 1.").set(1, { version });
    this.registry.observed(
      "kurma_containers",
      "Containers by their state.",
      () => [...containers()].map(([state, count]) => [{ state }, count] as const),
    );
    this.registry.observed(
      "process_resident_memory_bytes",
      "Resident memory of the daemon.",
      () => [[{}, Deno.memoryUsage().rss]],
    );
    this.registry.observed(
      "process_heap_bytes",
      "Objects of the daemon, garbage among them.",
      () => [[{}, Deno.memoryUsage().heapUsed]],
    );
    this.registry.gauge(
      "process_start_time_seconds",
      "When the daemon was started, in seconds since 1970.",
    ).set(Math.round(performance.timeOrigin / 1000));
  }

  /** Counts what happened to a container. */
  note({ kind, action, attributes = {} }: Event): void {
    if (kind !== "container") return;
    switch (action) {
      case "start":
        this.starts.add({ outcome: "ok" });
        if (attributes.restart !== undefined) this.restarts.add({});
        // One that an earlier kurmad began took an unknown time.
        if (attributes.took_ms !== undefined) {
          this.startSeconds.observe(Number(attributes.took_ms) / 1000);
        }
        return;
      case "fail":
        this.starts.add({ outcome: attributes.code });
        return;
      case "exit":
        this.ends.add({ reason: attributes.oom ? "oom" : attributes.signal ? "signal" : "exit" });
    }
  }
}
