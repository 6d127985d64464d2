/**
 * Whether containers are well: a command in each that says so by its exit status, again
 * and again.
 *
 * @module
 */

import { capture } from "./captured.ts";
import { type Host, isUp, oneLine } from "./host.ts";
import type { Container, Health } from "./record.ts";
import type { HealthCheckSpec } from "./spec.ts";

/** A check of which nothing is left open. */
export type Check = Required<HealthCheckSpec>;

/** What is done with a container that is not well any more. */
export type Remedy = (container: Container, action: "restart" | "stop") => void;

/**
 * What a check that has been made leads to.
 *
 * @param sinceStartMs How long the container runs, by a clock that nobody sets.
 */
export function judge(
  { startPeriodMs, retries }: Pick<Check, "startPeriodMs" | "retries">,
  before: Health,
  isWell: boolean,
  sinceStartMs: number,
): Omit<Health, "output"> {
  if (isWell) return { state: "healthy", failures: 0 };
  if (before.state === "starting" && sinceStartMs < startPeriodMs) {
    return { state: "starting", failures: 0 };
  }
  const failures = before.failures + 1;
  return { state: failures >= retries ? "unhealthy" : before.state, failures };
}

/**
 * Checks a container until its run ends or `signal` is aborted. Told is each change of
 * its state; the remedy is called when it becomes unhealthy.
 */
export async function watchHealth(
  host: Host,
  container: Container,
  check: Check,
  remedy: Remedy,
  signal: AbortSignal,
): Promise<void> {
  const { run } = container.status;
  const { startedAt } = host.live.of(container);
  const goesOn = () => !signal.aborted && container.status.run === run && isUp(container);
  save(host, container, container.status.health ?? { state: "starting", failures: 0, output: "" });
  while (goesOn()) {
    await pause(check.intervalMs, signal);
    if (!goesOn()) return;
    if (container.status.paused || container.status.phase !== "running") continue;
    const { isWell, output } = await look(host, container, check);
    if (!goesOn()) return;
    const before = container.status.health ?? { state: "starting", failures: 0, output: "" };
    const after = judge(check, before, isWell, performance.now() - startedAt);
    save(host, container, { ...after, output });
    const fell = after.state === "unhealthy" && before.state !== "unhealthy";
    if (fell && check.action !== "none") remedy(container, check.action);
  }
}

async function look(host: Host, container: Container, check: Check) {
  try {
    const { code, output } = await capture(
      host,
      container,
      { args: check.command },
      check.limitMs,
    );
    const late = `took longer than ${check.limitMs} ms`;
    return { isWell: code === 0, output: code === undefined ? late : output };
  } catch (error) {
    return { isWell: false, output: oneLine(error) };
  }
}

/** Keeps what a check said, and tells of it if the state is another one. */
function save(host: Host, container: Container, health: Health): void {
  const before = container.status.health;
  if (before?.state === health.state && before.output === health.output) {
    container.status.health = health;
    return;
  }
  const { id, name } = container;
  host.state.change(() => {
    host.state.updateStatus(container, { health });
    if (before?.state === health.state) return;
    const attributes = { health: health.state };
    host.state.tell({ kind: "container", id, name, action: "health", attributes });
  });
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
