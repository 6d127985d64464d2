import { assertEquals } from "../../tests/assert.ts";
import { type Container, statusOf, styleOf } from "./list.ts";

const now = Date.parse("2030-01-01T01:00:00Z");
const time = "2030-01-01T00:57:00Z";

const cases: [container: Container, status: string][] = [
  [{ state: "CONTAINER_STATE_NEW" }, "new"],
  [{ state: "CONTAINER_STATE_STARTING" }, "starting"],
  [{ state: "CONTAINER_STATE_RUNNING", startTime: time }, "running 3 minutes"],
  [{ state: "CONTAINER_STATE_EXITED", exit: { time } }, "exited (0) 3 minutes ago"],
  [{ state: "CONTAINER_STATE_EXITED", reason: "no such program" }, "exited"],
  [{ state: "CONTAINER_STATE_STOPPED", exit: { code: 143, time } }, "stopped (143) 3 minutes ago"],
  [
    {
      state: "CONTAINER_STATE_RUNNING",
      paused: true,
      health: "HEALTH_UNHEALTHY",
      startTime: time,
    },
    "running (paused, unhealthy) 3 minutes",
  ],
];
for (const [container, status] of cases) {
  Deno.test(`statusOf() says ${status}`, () => assertEquals(statusOf(container, now), status));
}

const styles: [container: Container, style: string | undefined][] = [
  [{ state: "CONTAINER_STATE_NEW" }, undefined],
  [{ state: "CONTAINER_STATE_STARTING" }, "yellow"],
  [{ state: "CONTAINER_STATE_RUNNING" }, "green"],
  [{ state: "CONTAINER_STATE_RUNNING", health: "HEALTH_HEALTHY" }, "green"],
  [{ state: "CONTAINER_STATE_RUNNING", health: "HEALTH_STARTING" }, "yellow"],
  [{ state: "CONTAINER_STATE_RUNNING", health: "HEALTH_UNHEALTHY" }, "red"],
  [{ state: "CONTAINER_STATE_RUNNING", paused: true }, "yellow"],
  [{ state: "CONTAINER_STATE_EXITED", exit: {} }, undefined],
  [{ state: "CONTAINER_STATE_EXITED", exit: { code: 1 } }, "red"],
  [{ state: "CONTAINER_STATE_STOPPED", exit: { code: 143 } }, undefined],
];
for (const [container, style] of styles) {
  Deno.test(`styleOf() shows ${statusOf(container, now)} ${style ?? "as it is"}`, () => {
    assertEquals(styleOf(container), style);
  });
}
