import { assertEquals } from "../../tests/assert.ts";
import type { Progress } from "./image.ts";
import { metered } from "./progress.ts";

/** A meter whose clock is `clock.ms`, and what it told. */
function recorded() {
  const told: Progress[] = [];
  const clock = { ms: 0 };
  const { onProgress } = metered(
    { onProgress: (progress: Progress) => void told.push(progress) },
    () => clock.ms,
  );
  return { told, clock, tell: (progress: Progress) => onProgress(progress) };
}

const read = (bytes: number, total?: number): Progress => {
  return { step: "read", subject: "a", bytes, ...(total ? { total } : {}) };
};

Deno.test("progress is told five times a second, and always at the end", () => {
  const { told, clock, tell } = recorded();
  for (; clock.ms < 1000; clock.ms++) tell(read(clock.ms, 999));
  tell({ step: "unpacked", subject: "a", bytes: 5 });
  assertEquals(told.map(({ bytes }) => bytes), [0, 200, 400, 600, 800, 999, 5]);
});

Deno.test("progress has a speed and what is left once there is something to measure", () => {
  const { told, clock, tell } = recorded();
  tell(read(0, 4000));
  clock.ms = 400;
  tell(read(400, 4000));
  clock.ms = 1000;
  tell(read(1000, 4000));
  assertEquals(told.map(({ perSecond }) => perSecond), [undefined, undefined, 1000]);
  assertEquals(told[2].leftMs, 3000);
});

Deno.test("what an earlier attempt left is no speed, and what has no end no time left", () => {
  const { told, clock, tell } = recorded();
  tell(read(1_000_000));
  clock.ms = 1000;
  tell(read(1_001_000));
  assertEquals(told[1], { ...read(1_001_000), perSecond: 1000 });
});

Deno.test("subjects are measured each for itself, and each time anew", () => {
  const { told, clock, tell } = recorded();
  tell(read(0));
  tell({ ...read(7), subject: "b" });
  clock.ms = 100;
  tell({ step: "present", subject: "a", bytes: 0 });
  tell(read(1));
  assertEquals(told.map(({ subject, bytes }) => `${subject}${bytes}`), ["a0", "b7", "a0", "a1"]);
});
