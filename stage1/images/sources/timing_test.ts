import { assert, assertEquals, rejection } from "../../../tests/assert.ts";
import { defaultTiming, PeerError, retryAfter, retrying, type Timing } from "./timing.ts";

const timing: Timing = { ...defaultTiming, attempts: 4, backoffMs: 8, backoffMaxMs: 16 };
const busy = (transient: boolean) => new PeerError("busy", { transient });

Deno.test("retrying() tries again after what may pass, longer each time", async () => {
  const times: number[] = [];
  const error = await rejection(retrying(timing, undefined, () => {
    times.push(performance.now());
    return Promise.reject(busy(true));
  }));
  assertEquals([error.message, times.length], ["busy", 4]);
  const gaps = times.slice(1).map((time, at) => time - times[at]);
  [4, 8, 8].forEach((least, at) => assert(gaps[at] >= least - 1, `${gaps}`));
});

Deno.test("retrying() leaves other errors alone", async () => {
  for (const error of [busy(false), new Error("bug")]) {
    let tries = 0;
    await rejection(retrying(timing, undefined, () => Promise.reject((tries++, error))));
    assertEquals(tries, 1);
  }
});

Deno.test("retrying() ends in the middle of a wait when it is cancelled", async () => {
  const slow = { ...timing, backoffMs: 60_000, backoffMaxMs: 60_000 };
  const start = performance.now();
  const signal = AbortSignal.timeout(20);
  const error = await rejection(retrying(slow, signal, () => Promise.reject(busy(true))));
  assertEquals(error.name, "TimeoutError");
  assert(performance.now() - start < 5_000);
});

Deno.test("retryAfter() reads seconds and dates", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  assertEquals(retryAfter("7", now), 7000);
  assertEquals(retryAfter("Thu, 01 Jan 2026 00:00:30 GMT", now), 30_000);
  assertEquals(retryAfter("Thu, 01 Jan 2025 00:00:30 GMT", now), 0);
  for (const header of [null, "", "-1", "soon", "9".repeat(20)]) {
    assertEquals(retryAfter(header, now), undefined);
  }
});
