import { assertEquals } from "../../tests/assert.ts";
import { judge } from "./health.ts";
import type { Health } from "./record.ts";

const check = { startPeriodMs: 1_000, retries: 3 };

type Case = [
  before: Health["state"],
  failures: number,
  isWell: boolean,
  sinceMs: number,
  after: Health["state"],
  failuresAfter: number,
];

const cases: Case[] = [
  ["starting", 0, true, 10, "healthy", 0],
  ["starting", 0, false, 999, "starting", 0],
  ["starting", 0, false, 1_000, "starting", 1],
  ["starting", 2, false, 5_000, "unhealthy", 3],
  ["healthy", 0, false, 10, "healthy", 1], // The start period is over with the first success.
  ["healthy", 2, false, 9_000, "unhealthy", 3],
  ["unhealthy", 3, false, 9_000, "unhealthy", 4],
  ["unhealthy", 7, true, 9_000, "healthy", 0],
];

for (const [state, failures, isWell, sinceMs, after, failuresAfter] of cases) {
  const name = `${state} with ${failures} failures, ${
    isWell ? "well" : "not well"
  } at ${sinceMs} ms`;
  Deno.test(`${name}: ${after}`, () => {
    assertEquals(judge(check, { state, failures, output: "" }, isWell, sinceMs), {
      state: after,
      failures: failuresAfter,
    });
  });
}
