/**
 * What a pod may use as a whole: of all its apps together, beside each one's own limits.
 *
 * @module
 */

import { assert, assertEquals, rejection } from "../assert.ts";
import { binary, mustRun } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { cgroupValue } from "../stage2/served.ts";
import { kurmadTest } from "./daemon.ts";
import { managedTest } from "./managed.ts";

const mebibyte = 1024 * 1024;

/** What a file of a cgroup says, by its names in version 1 and version 2. */
async function value(cgroup: string, one: string, two: string): Promise<string | undefined> {
  return await cgroupValue(cgroup, one) ?? await cgroupValue(cgroup, two);
}

managedTest("a pod's limits hold for its apps together", async (managed) => {
  const app = (name: string, script: string, more = {}) => ({
    name,
    image: managed.image,
    command: ["sh", "-c", script],
    mounts: [{ type: "volume", source: "signal", target: "/signal" } as const],
    ...more,
  });
  const pod = await managed.createPod({
    name: "shop",
    apps: [
      app("sleeps", "for i in $(seq 10); do sleep 1000 & done; wait", {
        resources: { cpus: 64, memory: 1024 * mebibyte },
      }),
      app(
        "forks",
        "while ! [ -e /signal/go ]; do sleep 0.05; done; for i in $(seq 100); do sleep 1000 & done; wait",
      ),
      app("eats", "head -c 100000000 /dev/zero | tail -c 100000000 >/dev/null"),
    ],
    volumes: [{ name: "signal", kind: "empty" }],
    resources: { memory: 48 * mebibyte, pids: 40, cpus: 1.5 },
  });
  await managed.call("startPod", "shop");
  assertEquals(
    await value(pod.id, "memory.limit_in_bytes", "memory.max"),
    String(48 * mebibyte),
  );
  assertEquals(await value(pod.id, "pids.max", "pids.max"), "42"); // With the pod's own two.
  assertEquals(
    (await value(pod.id, "cpu.cfs_quota_us", "cpu.max"))?.split(" ")[0],
    "150000",
  );
  const { status: eats } = await managed.becomes("shop-eats", ({ phase }) => phase === "exited");
  assertEquals(eats.exit?.oom, true, JSON.stringify(eats));
  // What nobody has room for is refused, and ends who asked.
  Deno.writeTextFileSync(`${managed.dir}/containers/${pod.id}/volumes/signal/go`, "");
  const { status: forks } = await managed.becomes("shop-forks", ({ phase }) => phase === "exited");
  assert(forks.exit?.code !== 0, JSON.stringify(forks));
  assertEquals((await managed.get("shop-sleeps")).status.phase, "running");
  // An app may come and go; the limits stay while one is up.
  await managed.call("start", "shop-forks");
  assertEquals(await value(pod.id, "pids.max", "pids.max"), "42");
  await managed.killed();
  assertEquals((await managed.get("shop-sleeps")).status.phase, "running");
  await managed.call("removePod", "shop");
  assertEquals(await value(pod.id, "pids.max", "pids.max"), undefined);
});

kurmadTest(
  "a pod's limits come from isolators or the API, and what is no pod's is refused",
  async (kurmad) => {
    const apps = [{ name: "a", image: kurmad.image, settings: { command: ["sleep", "1000"] } }];
    const create = (more: Record<string, unknown>) =>
      kurmad.api.call("Pods", "Create", { start: true, ...more });
    const each = { processLimits: [{ type: "RLIMIT_NOFILE", soft: "10", hard: "10" }] };
    const { message } = await rejection(create({ name: "x", apps, resources: each }));
    assertEquals(message, "Cannot limit each process of a pod as a whole");
    const { pod } = await create({
      name: "plain",
      apps,
      resources: { pids: 50, cpuMillis: "500" },
    });
    assertEquals(await value(pod?.id ?? "", "pids.max", "pids.max"), "52");
    // The kernel may refuse more below than above; the pod's counts.
    await kurmad.api.call("Containers", "Update", {
      container: "plain-a",
      resources: { cpuMillis: "3000" },
    });
    const { aci } = await images();
    const imported = ["image", "import", "--root", `${kurmad.dir}/state`, aci];
    const manifest = {
      acVersion: "0.8.11",
      acKind: "PodManifest",
      apps: [{
        name: "a",
        image: { id: (await mustRun([binary, ...imported])).trim() },
        app: { exec: ["/bin/sleep", "1000"], user: "0", group: "0" },
      }],
      isolators: [
        { name: "resource/memory", value: { limit: "64Mi" } },
        { name: "resource/cpu", value: { limit: "250m" } },
      ],
    };
    const made = await create({ name: "manifest", manifest: JSON.stringify(manifest) });
    const id = made.pod?.id ?? "";
    assertEquals(await value(id, "memory.limit_in_bytes", "memory.max"), String(64 * mebibyte));
    assertEquals((await value(id, "cpu.cfs_quota_us", "cpu.max"))?.split(" ")[0], "25000");
  },
);
