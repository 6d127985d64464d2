import { assertEquals } from "../../tests/assert.ts";
import { restartDelay, startsWithDaemon } from "./restarts.ts";
import type { RestartSpec } from "./spec.ts";

type Case = [
  policy: RestartSpec,
  wanted: boolean,
  code: number,
  restarts: number,
  ranMs: number,
  delay: number | undefined,
  withDaemon: boolean,
];

const cases: Case[] = [
  [{ policy: "no" }, true, 1, 0, 0, undefined, false],
  [{ policy: "always" }, true, 0, 0, 0, 100, true],
  [{ policy: "always" }, true, 1, 3, 0, 800, true],
  [{ policy: "always" }, true, 1, 40, 0, 60_000, true],
  [{ policy: "always" }, true, 1, 40, 10_000, 100, true],
  [{ policy: "always" }, false, 0, 0, 0, undefined, true],
  [{ policy: "unless-stopped" }, true, 0, 1, 0, 200, true],
  [{ policy: "unless-stopped" }, false, 0, 0, 0, undefined, false],
  [{ policy: "on-failure" }, true, 0, 0, 0, undefined, false],
  [{ policy: "on-failure" }, true, 137, 9, 0, 51_200, true],
  [{ policy: "on-failure", maxRetries: 2 }, true, 1, 1, 0, 200, true],
  [{ policy: "on-failure", maxRetries: 2 }, true, 1, 2, 0, undefined, false],
  [{ policy: "on-failure", maxRetries: 2 }, true, 1, 2, 20_000, 100, false],
];

for (const [policy, wanted, code, restarts, ranMs, delay, withDaemon] of cases) {
  const name = `${policy.policy} after ${code}, ${restarts} restarts, ${ranMs} ms` +
    (wanted ? "" : ", stopped");
  Deno.test(`${name}: ${delay ?? "no restart"}`, () => {
    const status = { wanted, exit: { code, oom: false }, restarts, run: 1 };
    assertEquals(restartDelay(policy, status, ranMs), delay);
    assertEquals(startsWithDaemon(policy, status), withDaemon);
  });
}
