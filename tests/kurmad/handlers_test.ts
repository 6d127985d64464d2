/**
 * appc's event handlers: what runs before a container's command and after it.
 *
 * @module
 */

import { assert, assertEquals, rejection } from "../assert.ts";
import { binary, mustRun } from "../harness.ts";
import { kurmadTest } from "./daemon.ts";
import { type Managed, managedTest } from "./managed.ts";
import { until } from "../stage2/served.ts";
import type { ContainerSpec } from "../../stage1/containers/spec.ts";

/** A folder that the test sees as well. */
const mounts: ContainerSpec["mounts"] = [{ type: "volume", source: "data", target: "/data" }];

const sh = (script: string) => ["sh", "-c", script];

function seen(managed: Managed): string {
  return Deno.readTextFileSync(`${managed.dir}/volumes/data/seen`);
}

/** Handlers that were told of, with how they ended. */
async function handled(managed: Managed): Promise<string[]> {
  return (await managed.events()).filter(({ action }) => action === "handler")
    .map(({ attributes }) => `${attributes?.handler} ${attributes?.code ?? attributes?.reason}`);
}

managedTest("handlers run in the container, before its command and after it", async (managed) => {
  const told = "$(id -u) $(cat /memory/a 2>/dev/null) $NAME";
  await managed.create(`echo main ${told} >>/data/seen; exit 3`, {
    name: "web",
    user: "1000",
    env: ["NAME=value"],
    mounts: [...mounts, { type: "tmpfs", target: "/memory" }],
    eventHandlers: {
      preStart: sh(`echo shared >/memory/a; echo before ${told} >>/data/seen`),
      postStop: sh(`echo after ${told} >>/data/seen; echo printed`),
    },
    restart: { policy: "on-failure", maxRetries: 1 },
  });
  Deno.chmodSync(`${managed.dir}/volumes/data`, 0o777);
  await managed.call("start", "web");
  await managed.becomes("web", ({ run, phase, postStop }) => {
    return run === 2 && phase === "exited" && !postStop;
  });
  const once = "before 1000 shared value\nmain 1000 shared value\nafter 1000 value\n";
  assertEquals(seen(managed), once + once);
  const each = ["pre-start 0", "post-stop 0"];
  assertEquals(await handled(managed), [...each, ...each]);
  const { id } = await managed.get("web");
  const folder = `${managed.dir}/containers/${id}/log`;
  const files = [...Deno.readDirSync(folder)].map(({ name }) => `${folder}/${name}`);
  const log = files.map((path) => Deno.readTextFileSync(path)).join("");
  assertEquals(log.match(/printed/g)?.length, 2, log);
});

managedTest("a pre-start handler that fails keeps the command from starting", async (managed) => {
  const refused = async (preStart: string[], limitMs = 60_000) => {
    await managed.create("echo ran >>/data/seen", {
      name: "web",
      mounts,
      eventHandlers: { preStart, postStop: sh("echo after >>/data/seen"), limitMs },
    });
    const { message } = await rejection(managed.call("start", "web"));
    const { status } = await managed.get("web");
    assertEquals([status.phase, status.exit?.code, status.postStop], ["exited", 125, undefined]);
    await managed.call("remove", "web");
    return `${message.replace(/^.*?Cannot/, "Cannot")}: ${status.reason}`;
  };
  const about = (command: string, cause: string) =>
    `Cannot start "web": Cannot run the pre-start handler "${command}": ${cause}`;
  assertEquals(
    await refused(sh("echo looking; echo no database >&2; exit 4")),
    about("sh", "it ended with status 4: no database"),
  );
  assertEquals(
    await refused(["/no/such"]),
    about("/no/such", 'Cannot exec "/no/such": ENOENT'),
  );
  assertEquals(await refused(["sleep", "1000"], 300), about("sleep", "it took longer than 0.3 s"));
  assertEquals([...Deno.readDirSync(`${managed.dir}/volumes/data`)], []);
});

managedTest(
  "a post-stop handler ends in time, fails aloud, and can be cut off",
  async (managed) => {
    const run = (name: string, postStop: string[], limitMs?: number) =>
      managed.run("sleep 1000", { name, mounts, eventHandlers: { postStop, limitMs } });
    await run("slow", ["sleep", "1000"], 300);
    await managed.call("stop", "slow");
    assertEquals((await managed.get("slow")).status.phase, "stopped");
    await run("fails", sh("exit 7"));
    await managed.call("stop", "fails");
    assertEquals(await handled(managed), [
      "post-stop it took longer than 0.3 s",
      "post-stop 7",
    ]);
    await run("cut", sh("echo begun >/data/seen; sleep 1000"));
    await managed.call("kill", "cut");
    await until("the handler", () => Promise.resolve(exists(managed) || undefined));
    await managed.call("remove", "cut");
    assertEquals((await managed.list()).map(({ name }) => name), ["fails", "slow"]);
  },
);

managedTest(
  "killed with handlers under way, the next manager goes on with them",
  async (managed) => {
    await managed.create("echo main >>/data/seen; sleep 1000", {
      name: "web",
      mounts,
      eventHandlers: {
        preStart: sh("echo before >>/data/seen; while ! [ -e /data/go ]; do sleep 0.02; done"),
        postStop: sh("echo after >>/data/seen; while [ -e /data/go ]; do sleep 0.02; done; exit 5"),
      },
    });
    const lines = (wanted: string) =>
      until(
        wanted,
        () => Promise.resolve(exists(managed) && seen(managed) === wanted || undefined),
      );
    const start = rejection(managed.call("start", "web"));
    await lines("before\n");
    await managed.killed();
    await start;
    // That one was taken back, and begins again.
    await lines("before\nbefore\n");
    Deno.writeTextFileSync(`${managed.dir}/volumes/data/go`, "");
    await managed.becomes("web", ({ phase }) => phase === "running");
    await lines("before\nbefore\nmain\n");
    await managed.call("kill", "web");
    await lines("before\nbefore\nmain\nafter\n");
    await managed.killed();
    // This one goes on, whoever waits for it.
    assertEquals((await managed.get("web")).status.postStop, true);
    Deno.removeSync(`${managed.dir}/volumes/data/go`);
    await managed.becomes("web", ({ postStop }) => !postStop);
    assertEquals(seen(managed), "before\nbefore\nmain\nafter\n");
    assertEquals(await handled(managed), ["pre-start 0", "post-stop 5"]);
  },
);

managedTest("handlers of a pod's apps are in the pod", async (managed) => {
  const shown = "$(hostname) $(readlink /proc/self/ns/net)";
  const app = (name: string) => ({
    name,
    image: managed.image,
    command: sh(`echo ${shown} >>/data/seen`),
    mounts,
    eventHandlers: {
      preStart: sh(`echo ${shown} >>/data/seen`),
      postStop: sh(`echo ${shown} >>/data/seen`),
    },
  });
  await managed.createPod({
    name: "pair",
    apps: [app("a"), { ...app("b"), command: ["sleep", "1000"] }],
    volumes: [{ name: "data", kind: "named" }],
  });
  await managed.call("startPod", "pair");
  await managed.becomes("pair-a", ({ phase, postStop }) => phase === "exited" && !postStop);
  const lines = seen(managed).trim().split("\n");
  assertEquals(new Set(lines).size, 1, lines.join());
  assert(lines[0].startsWith("pair net:["), lines[0]);
  await managed.call("kill", "pair-b");
  await managed.becomes("pair-b", ({ phase, postStop }) => phase === "exited" && !postStop);
  assertEquals(new Set(seen(managed).trim().split("\n")).size, 1);
  await managed.call("removePod", "pair");
});

kurmadTest("handlers come over the API, and outlive stage2", async (kurmad) => {
  const eventHandlers = [
    { name: "pre-start", command: sh("echo before >/data/seen") },
    { name: "post-stop", command: sh("while ! [ -e /data/go ]; do sleep 0.02; done; exit 6") },
  ];
  const call = kurmad.api.call.bind(kurmad.api);
  await call("Containers", "Create", {
    name: "web",
    image: kurmad.image,
    start: true,
    settings: {
      command: ["cat", "/data/seen"],
      mounts: [{ target: "/data", volume: { name: "data" } }],
      eventHandlers,
      eventHandlerTimeout: "50s",
    },
  });
  const { container } = await call("Containers", "Get", { container: "web" });
  assertEquals(container?.settings?.eventHandlers, eventHandlers);
  assertEquals(container?.settings?.eventHandlerTimeout, "50s");
  const { exit } = await call("Containers", "Wait", { container: "web" });
  assertEquals(exit?.code ?? 0, 0);
  Deno.kill(kurmad.stage2Pid(), "SIGKILL");
  Deno.writeTextFileSync(`${kurmad.dir}/state/volumes/data/go`, "");
  await call("Containers", "Remove", { container: "web" });
  const told = await mustRun([
    ...[binary, "events", "-H", `${kurmad.dir}/kurma.sock`],
    ...["--since", "1h", "--until", "0s", "--filter", "event=handler"],
  ]);
  const codes = told.match(/(?<=code=)\d+/g);
  assertEquals(codes, ["0", "6"], told);
  await call("Volumes", "Remove", { volume: "data" });
});

function exists(managed: Managed): boolean {
  return [...Deno.readDirSync(`${managed.dir}/volumes/data`)].some(({ name }) => name === "seen");
}
