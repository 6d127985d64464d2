/**
 * The plan of a container's next run: what its specification and its image say, at the
 * places that this host has for it.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { ExecPlan, Plan } from "../../stage2/spec.ts";
import { ownCapabilities } from "./capabilities.ts";
import { lookUpDevices } from "./device_nodes.ts";
import { apiFolderOf, folderOf, type Host, isUp, runName } from "./host.ts";
import { findNamed } from "./names.ts";
import { planContainer } from "./plan.ts";
import type { VolumePlace } from "./plan_mounts.ts";
import { placeOfPod, type PodPlace, withinPod } from "./pod_place.ts";
import { firstId } from "./ranges.ts";
import type { Container } from "./record.ts";
import { resolve, type Resolved } from "./resolve.ts";
import type { ContainerSpec } from "./spec.ts";
import { volumeFolder } from "./volumes.ts";

/** What a container's specification and image come to; the image is held. */
export function meaningOf(host: Host, container: Container): Resolved {
  const live = host.live.of(container);
  if (live.use === undefined) {
    throw new KurmaError("missing", `Cannot find the image of "${container.name}"`, {
      fix: `Pull ${container.image.name} again`,
    });
  }
  const pod = container.pod === undefined ? undefined : host.state.pods.get(container.pod);
  if (live.meant !== undefined) return live.meant;
  const meant = resolve(
    live.use.image.config,
    { ...container.spec, hostname: container.spec.hostname ?? hostnameOf(container.name) },
    {
      defaults: host.settings().containerDefaults,
      podVolumes: pod?.spec.volumes?.map(({ name }) => name),
      appName: container.app,
    },
  );
  // Until its pod is recorded, nothing is known of the pod's volumes: that was a check.
  if (container.pod === undefined || pod !== undefined) live.meant = meant;
  return meant;
}

/** Makes the plan of the run that the status counts. */
export function planFor(host: Host, container: Container): Plan {
  const layers = host.live.of(container).use?.image.layers.map((layer) => layer.path) ?? [];
  return planAs(host, container, meaningOf(host, container), layers);
}

/** As {@linkcode planFor}, of one that means this and has these layers, the lowest first. */
export function planAs(
  host: Host,
  container: Container,
  meaning: Resolved,
  layers: readonly string[],
): Plan {
  const pod = placeOfPod(host, container);
  const meant = withPod(meaning, pod);
  const folder = folderOf(host, container);
  const plan = planContainer(
    {
      id: runName(container),
      layers,
      scratch: folder,
      ephemeral: goesWithItsEnd(container.spec),
      firstId: container.range === undefined ? undefined : firstId(container.range),
      volumes: volumePlaces(host, meant, pod),
      devices: lookUpDevices({ ...container.spec, resources: meant.resources }),
      capabilities: meant.allCapabilities ? ownCapabilities() : [],
      containers: pod?.containers ?? joined(host, container.spec),
      apiFolder: apiFolderOf(host.folders),
    },
    meant,
  );
  return {
    ...plan,
    kurma: {
      ...plan.kurma,
      cgroup: true,
      log: { directory: `${folder}/log`, ...meant.log },
      rpc: `${folder}/rpc`,
      ...(meant.openStdin ? { stdin: true } : {}),
    },
  };
}

function withPod(meant: Resolved, pod: PodPlace | undefined): Resolved {
  if (pod === undefined) return meant;
  return {
    ...meant,
    namespaces: { ...meant.namespaces, ...pod.namespaces },
    resources: withinPod(meant.resources, pod.resources),
  };
}

/** Whether nothing is left of a container once it has ended, however that comes. */
export function goesWithItsEnd({ autoRemove = false, restart }: ContainerSpec): boolean {
  return autoRemove && (restart?.policy ?? "no") === "no";
}

/** Where the volumes are that a container mounts. */
function volumePlaces(
  host: Host,
  { mounts }: Resolved,
  pod: PodPlace | undefined,
): Map<string, VolumePlace> {
  const places = new Map<string, VolumePlace>();
  for (const mount of mounts) {
    if (mount.type !== "volume") continue;
    const own = pod?.volumes.get(mount.source);
    if (own) places.set(mount.source, own);
    else if (host.state.volumes.has(mount.source)) {
      places.set(mount.source, { path: volumeFolder(host, mount.source) });
    }
  }
  return places;
}

/**
 * What stage2 calls the containers that a specification joins, by the words it has for them.
 *
 * @throws {KurmaError} `missing`: there is none; `state`: it does not run.
 */
function joined(host: Host, { namespaces = {} }: ContainerSpec): Map<string, string> {
  const names = new Map<string, string>();
  for (const whose of Object.values(namespaces)) {
    if (!whose?.startsWith("container:")) continue;
    const reference = whose.slice("container:".length);
    const other = findNamed("container", host.state.containers.values(), reference);
    if (!isUp(other)) {
      throw new KurmaError("state", `Cannot join "${other.name}": it does not run`, {
        fix: "Start it first",
      });
    }
    names.set(reference, runName(other));
  }
  return names;
}

/** A name as a host name: 63 characters at most, none that DNS does not have. */
export function hostnameOf(name: string): string {
  return name.replaceAll(/[^a-zA-Z0-9-]/g, "-").slice(0, 63);
}

/** A further process in a container: what is left out is as its main process has it. */
export interface Further {
  readonly args: readonly string[];
  /** `NAME=value`, over the container's. */
  readonly env?: readonly string[];
  readonly workingDir?: string;
  readonly user?: string;
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
}

/** The plan of a further process in a running container: confined as its main process. */
export function execPlanFor(host: Host, container: Container, wanted: Further): ExecPlan {
  const { kurma, config } = planFor(host, container);
  const { process } = config;
  const env = new Map<string, string>();
  for (const variable of [...process.env, ...wanted.env ?? []]) {
    env.set(variable.slice(0, variable.indexOf("=")), variable);
  }
  if (wanted.terminal && !env.has("TERM")) env.set("TERM", "TERM=xterm");
  return {
    kurma: {
      id: kurma.id,
      user: wanted.user ?? kurma.user,
      seccomp: kurma.seccomp,
      ...(kurma.landlock ? { landlock: kurma.landlock } : {}),
    },
    process: {
      ...process,
      args: wanted.args,
      env: [...env.values()],
      cwd: wanted.workingDir ?? process.cwd,
      terminal: wanted.terminal ?? false,
      consoleSize: wanted.consoleSize,
    },
  };
}
