import { assertEquals, rejection } from "../../tests/assert.ts";
import { runSteps, type Step, StepError, undoSteps } from "./steps.ts";

const names = ["cgroup", "rootfs", "network"];

function recorded(broken?: string, stuck?: string): Step<string[]>[] {
  return names.map((name) => ({
    name,
    apply(log) {
      if (name === broken) throw new Error(`no ${name}`);
      log.push(`+${name}`);
    },
    undo(log) {
      if (name === stuck) throw new Error(`${name} is busy`);
      log.push(`-${name}`);
    },
  }));
}

const stories = { // The step that breaks: what ran, then what was taken back.
  cgroup: "",
  rootfs: "+cgroup -cgroup",
  network: "+cgroup +rootfs -rootfs -cgroup",
};
for (const [broken, story] of Object.entries(stories)) {
  Deno.test(`what was done is taken back when ${broken} fails`, async () => {
    const log: string[] = [];
    const error = await rejection(runSteps(recorded(broken), log));
    assertEquals(error instanceof StepError && error.step, broken);
    assertEquals(log.join(" "), story);
  });
}

Deno.test("what was started elsewhere is taken back by the same list", async () => {
  const log: string[] = [];
  await undoSteps(recorded(), log);
  assertEquals(log.join(" "), "-network -rootfs -cgroup");
});

Deno.test("an undo that fails is told with the cause, and the others go on", async () => {
  const log: string[] = [];
  const error = await rejection(runSteps(recorded("network", "rootfs"), log));
  assertEquals(error instanceof StepError && String(error.leftover), "Error: rootfs is busy");
  assertEquals(String(error.cause), "Error: no network");
  assertEquals(log.join(" "), "+cgroup +rootfs -cgroup");
});
