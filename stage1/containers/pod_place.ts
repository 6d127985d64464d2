/**
 * What a pod's app has in common with the others: namespaces, users, volumes.
 *
 * The shared namespaces belong to a container that is made and never let run: its init
 * waits, holds them, and takes next to nothing. So any app may be started again alone.
 *
 * @module
 */

import { folderOf, type Host } from "./host.ts";
import type { VolumePlace } from "./plan_mounts.ts";
import type { Container, Pod } from "./record.ts";
import type { Resolved } from "./resolve.ts";
import { defaults, type ResourceSpec } from "./spec.ts";
import { volumeFolder } from "./volumes.ts";

/** An app's place in its pod. */
export interface PodPlace {
  /** The pod's namespaces take the place of the app's own. */
  readonly namespaces: Partial<Resolved["namespaces"]>;
  /** What stage2 calls the holder, by the word for it. */
  readonly containers: ReadonlyMap<string, string>;
  readonly volumes: ReadonlyMap<string, VolumePlace>;
  /** What all apps together may use. */
  readonly resources: ResourceSpec | undefined;
}

/** What stage2 calls the container that holds a pod's namespaces. */
export function holderName(pod: Pick<Pod, "id">): string {
  return `${pod.id}/pod`;
}

/**
 * What an app may use of what its pod may. The kernel takes the lower of both by itself, but
 * with cgroups of version 1 refuses more processor time below than above.
 */
export function withinPod(app: ResourceSpec, pod: ResourceSpec = {}): ResourceSpec {
  if (app.cpus === undefined || pod.cpus === undefined) return app;
  return { ...app, cpus: Math.min(app.cpus, pod.cpus) };
}

/** The app's place; undefined for a container that is in no pod. */
export function placeOfPod(host: Host, container: Container): PodPlace | undefined {
  const pod = container.pod === undefined ? undefined : host.state.pods.get(container.pod);
  if (pod === undefined) return undefined;
  const shared = pod.spec.share ?? defaults.podShare;
  const namespaces = Object.fromEntries(
    shared.map((kind) => {
      const wanted = pod.spec.namespaces?.[kind];
      return [kind, wanted === "host" ? "host" as const : "container:pod" as const];
    }),
  );
  return {
    namespaces,
    containers: new Map([["pod", holderName(pod)]]),
    resources: pod.spec.resources,
    volumes: new Map(
      (pod.spec.volumes ?? []).map(({ name, kind, source, subPath, readOnly }) => {
        const path = kind === "host"
          ? source ?? "/"
          : kind === "named"
          ? volumeFolder(host, source ?? name)
          : `${folderOf(host, pod)}/volumes/${name}`;
        return [name, { path, subPath, readOnly }];
      }),
    ),
  };
}
