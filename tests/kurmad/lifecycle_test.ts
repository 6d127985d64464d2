/**
 * What the manager does with containers, and what it knows of them.
 *
 * @module
 */

import { assert, assertEquals, rejection } from "../assert.ts";
import { mustRun } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { managedTest } from "./managed.ts";
import { pause, until } from "../stage2/served.ts";

managedTest("a container goes from NEW to EXITED, and can run again", async (managed) => {
  const made = await managed.create("exit 7", { name: "web" });
  assertEquals([made.name, made.status.phase], ["web", "new"]);
  await managed.call("start", "web");
  assertEquals((await managed.call<{ code: number }>("wait", "web")).code, 7);
  const { status } = await managed.get("web");
  assertEquals([status.phase, status.exit?.code, status.run], ["exited", 7, 1]);
  await managed.call("start", made.id.slice(0, 6));
  await managed.becomes("web", ({ phase, run }) => phase === "exited" && run === 2);
  const told = (await managed.events()).map(({ action }) => action);
  assertEquals(told, ["create", "start", "exit", "start", "exit"]);
});

managedTest("stop asks, then kills; pause holds; restart starts anew", async (managed) => {
  await managed.run("trap 'exit 3' TERM; while :; do sleep 0.05; done", { name: "polite" });
  await managed.run("trap '' TERM; while :; do sleep 0.05; done", {
    name: "deaf",
    stop: { limitMs: 200 },
  });
  await managed.call("pause", "polite");
  assertEquals((await managed.get("polite")).status.paused, true);
  await managed.call("resume", "polite");
  await managed.call("pause", "polite"); // What is paused can be stopped.
  await Promise.all([managed.call("stop", "polite"), managed.call("stop", "deaf")]);
  const [deaf, polite] = await managed.list();
  assertEquals([polite.status.phase, polite.status.exit?.code], ["stopped", 3]);
  assertEquals([deaf.status.phase, deaf.status.exit?.code], ["stopped", 137]);
  await managed.call("restart", "polite");
  assertEquals((await managed.get("polite")).status.phase, "running");
  await managed.call("stop", "polite");
  await managed.call("stop", "polite"); // Again is as good as once.
});

managedTest("a command that cannot be run is told, and leaves nothing", async (managed) => {
  const { id } = await managed.create("", { name: "none", command: ["/no/such/program"] });
  const error = await rejection(managed.call("start", id));
  assert(error.message.includes("Cannot start"), error.message);
  const { status } = await managed.get("none");
  assertEquals([status.phase, status.exit?.code], ["exited", 127]);
  assert(status.reason?.includes("ENOENT"), status.reason);
});

managedTest("names are unique, for containers and pods alike", async (managed) => {
  await managed.create("true", { name: "web" });
  const taken = await rejection(managed.create("true", { name: "web" }));
  assert(taken.message.includes('Cannot use the name "web": it is taken'), taken.message);
  const pod = { name: "web", apps: [{ name: "a", image: managed.image }] };
  assert((await rejection(managed.createPod(pod))).message.includes("it is taken"));
  await managed.call("rename", "web", "front");
  await managed.create("true", { name: "web" });
  assertEquals((await managed.list()).map(({ name }) => name), ["front", "web"]);
  const tries = await Promise.allSettled([1, 2, 3, 4].map(() => managed.create("", { name: "x" })));
  assertEquals(tries.filter(({ status }) => status === "fulfilled").length, 1);
});

managedTest("a policy restarts what fails, with more and more time between", async (managed) => {
  await managed.run("exit 5", { name: "crash", restart: { policy: "on-failure", maxRetries: 2 } });
  const { status } = await managed.becomes(
    "crash",
    ({ run, phase }) => run === 3 && phase === "exited",
  );
  assertEquals([status.restarts, status.exit?.code], [2, 5]);
  await pause(900);
  assertEquals((await managed.get("crash")).status.run, 3);
  const starts = (await managed.events()).filter(({ action }) => /start|exit/.test(action));
  const waits = [2, 4].map((at) => starts[at].time - starts[at - 1].time);
  assert(waits[0] >= 95 && waits[1] >= 195, waits.join());

  await managed.run("exit 0", { name: "always", restart: { policy: "always" } });
  await managed.becomes("always", ({ run }) => run >= 2);
  await managed.call("stop", "always");
  const { run } = (await managed.get("always")).status;
  await pause(600);
  assertEquals((await managed.get("always")).status.run, run);
});

managedTest("a container that is to go with its end goes", async (managed) => {
  const { id } = await managed.run("exit 0", { autoRemove: true });
  assertEquals(id.length, 32);
  await until("its removal", async () => (await managed.list()).length === 0 || undefined);
});

managedTest("what a container wrote is there when it runs again", async (managed) => {
  await managed.run(
    "echo $((1 + $(cat /count 2>/dev/null || echo 0))) >/count; exit $(cat /count)",
    {
      name: "count",
    },
  );
  for (const code of [1, 2, 3]) {
    const { status } = await managed.becomes(
      "count",
      ({ phase, run }) => phase === "exited" && run === code,
    );
    assertEquals(status.exit?.code, code);
    await managed.call("start", "count");
  }
});

managedTest("a clock that is set changes no time limit", async (managed) => {
  const day = 24 * 3_600_000;
  await managed.run("trap '' TERM; while :; do sleep 0.05; done", { name: "deaf" });
  await managed.create("true", {
    name: "slow",
    eventHandlers: { preStart: ["sleep", "1000"], limitMs: 700 },
  });
  const begun = performance.now();
  const took = async (work: Promise<unknown>) => {
    await work;
    return performance.now() - begun;
  };
  await managed.run("exit 5", { name: "crash", restart: { policy: "on-failure", maxRetries: 4 } });
  const stopped = took(managed.call("stop", "deaf"));
  const late = took(rejection(managed.call("start", "slow")));
  // Back, so that what waits for a moment would wait for days; forth, and it would be over.
  for (const ms of [-2 * day, 4 * day, -day]) await managed.call("jump", ms);
  const { status } = await managed.becomes("crash", ({ phase, run }) => {
    return run === 5 && phase === "exited";
  });
  assertEquals(status.restarts, 4);
  const waited = performance.now() - begun;
  assert(waited >= 1_490, `${waited} ms`); // 100, 200, 400 and 800.
  assert(await stopped >= 990, `${await stopped} ms`);
  assertEquals((await managed.get("deaf")).status.exit?.code, 137);
  assert(await late >= 690, `${await late} ms`);
  const { reason } = (await managed.get("slow")).status;
  assert(reason?.includes("it took longer than 0.7 s"), reason);
});

managedTest(
  "a pod's volume fills the mount point of its name from the first start on",
  async (managed) => {
    const { folder } = await images();
    const layout = `${managed.dir}/aci`;
    await Deno.mkdir(layout);
    await mustRun(["cp", "-a", `${folder}/aci/rootfs`, layout]);
    await Deno.writeTextFile(
      `${layout}/manifest`,
      JSON.stringify({
        acKind: "ImageManifest",
        acVersion: "0.8.11",
        name: "example.com/points",
        app: {
          exec: ["/bin/sh", "-c", "grep -q ' /data ' /proc/mounts"],
          user: "0",
          group: "0",
          mountPoints: [{ name: "work", path: "/data" }],
        },
      }),
    );
    await mustRun(["actool", "build", layout, `${layout}.aci`]);
    await managed.createPod({
      name: "points",
      apps: [{ name: "app", image: `${layout}.aci` }],
      volumes: [{ name: "work", kind: "empty" }],
    });
    await managed.call("startPod", "points");
    const { status } = await managed.becomes("points-app", ({ phase }) => phase === "exited");
    assertEquals(status.exit?.code, 0);
    await managed.call("removePod", "points");
  },
);
