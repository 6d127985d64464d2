/**
 * What holds the namespaces that a pod's apps share, and the cgroup that theirs lie in: a
 * container of the image `hello`, which does nothing. It is there while any app is up, so
 * that any of them can be started again alone.
 *
 * @module
 */

import { isErrno } from "../../ffi/kernel.ts";
import type { Stage2 } from "../../stage2/server.ts";
import { folderOf, type Host, isUp } from "./host.ts";
import { lookUpDevices } from "./device_nodes.ts";
import { limitsOf, planContainer } from "./plan.ts";
import { hostnameOf } from "./planning.ts";
import { holderName } from "./pod_place.ts";
import { firstId } from "./ranges.ts";
import type { Pod } from "./record.ts";
import { resolve } from "./resolve.ts";
import { forget } from "./runs.ts";

/** The holder's own: its init, and the command that waits. */
const ownProcesses = 2;

/** Sees to it that the pod's namespaces are there. */
export function ensureHolder(host: Host, pod: Pod): Promise<void> {
  return host.queues.run(`holder ${pod.id}`, async () => {
    const stage2 = await host.supervisor.server();
    const run = holderName(pod);
    try {
      await make(host, stage2, pod);
    } catch (error) {
      if (!isErrno(error, "EEXIST")) throw error;
      const there = (await stage2.list()).find(({ id }) => id === run);
      if (there?.state === "running") return;
      // Of a start that was cut off, or one that was killed.
      await forget(stage2, run, true);
      await make(host, stage2, pod);
    }
    await stage2.start(run);
  });
}

/** Lets the namespaces go if no app, and no post-stop handler of one, is to be in them. */
export function dropHolder(host: Host, pod: Pick<Pod, "id">): Promise<void> {
  return host.queues.run(`holder ${pod.id}`, async () => {
    const apps = [...host.state.containers.values()].filter((app) => app.pod === pod.id);
    if (apps.some((app) => isUp(app) || app.status.postStop)) return;
    await host.supervisor.ask((stage2) => forget(stage2, holderName(pod), true));
  });
}

async function make(host: Host, stage2: Stage2, pod: Pod): Promise<void> {
  using use = await host.images.use("hello");
  const folder = `${folderOf(host, pod)}/holder`;
  host.kernel.remove(folder);
  for (const path of ["", "/upper", "/work"]) Deno.mkdirSync(folder + path, { mode: 0o755 });
  const { namespaces = {}, sysctls, hostname, resources = {} } = pod.spec;
  const meant = resolve(use.image.config, {
    image: "hello",
    command: ["pause"],
    hostname: hostname ?? hostnameOf(pod.name),
    namespaces,
    sysctls,
    security: { readOnlyRoot: true },
  });
  const plan = planContainer(
    {
      id: holderName(pod),
      layers: use.image.layers.map(({ path }) => path),
      scratch: folder,
      ephemeral: true,
      firstId: pod.range === undefined ? undefined : firstId(pod.range),
    },
    meant,
  );
  const limits = limitsOf({ devices: lookUpDevices({ resources }) }, {
    ...resources,
    ...(resources.pids === undefined || resources.pids < 0
      ? {}
      : { pids: resources.pids + ownProcesses }),
  });
  const run = plan.kurma.id;
  await stage2.create({
    kurma: { ...plan.kurma, cgroup: true },
    config: { ...plan.config, linux: { ...plan.config.linux, resources: limits } },
  }, null);
  // A cpuset does not become smaller than one below: its own first.
  await stage2.update(run, limits, pod.id);
}
