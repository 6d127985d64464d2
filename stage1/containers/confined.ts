/**
 * Holds what is made, and what is reached into, to the restrictions of whoever asks.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Host } from "./host.ts";
import { findNamed } from "./names.ts";
import { meaningOf } from "./planning.ts";
import type { Container, Pod } from "./record.ts";
import {
  forbiddenHold,
  fromAllowedFolders,
  type Hold,
  holdsOf,
  podHoldsOf,
  requireOrigin,
  type Restrictions,
  volumesFromAllowedFolders,
} from "./restrictions.ts";
import type { ContainerSpec, NamespaceSpec, PodSpec } from "./spec.ts";

/**
 * The same specification, in which nothing means more later than it does now: containers
 * that it joins go by their ids, paths of the host by the folder that is allowed.
 *
 * @throws {KurmaError} `denied`: it joins a container that has what is forbidden; `missing`.
 */
export function confined<Spec extends Omit<ContainerSpec, "name">>(
  host: Host,
  spec: Spec,
  restrictions: Restrictions,
): Spec {
  const { namespaces, mounts } = spec;
  return {
    ...spec,
    ...(namespaces ? { namespaces: joinedById(host, namespaces, restrictions) } : {}),
    ...(mounts ? { mounts: fromAllowedFolders(mounts, restrictions) } : {}),
  };
}

function joinedById(
  host: Host,
  namespaces: NamespaceSpec,
  restrictions: Restrictions,
): NamespaceSpec {
  const entries = Object.entries(namespaces).map(([kind, whose]) => {
    const [, reference] = /^container:(.*)$/s.exec(whose ?? "") ?? [];
    if (reference === undefined) return [kind, whose];
    const other = findNamed("container", host.state.containers.values(), reference);
    requireReachable(host, other, restrictions);
    return [kind, `container:${other.id}`];
  });
  return Object.fromEntries(entries) as NamespaceSpec;
}

/**
 * Likewise for what a pod says beside its apps.
 *
 * @throws {KurmaError} `denied`: the pod itself has what is forbidden.
 */
export function confinedPod(spec: PodSpec, restrictions: Restrictions): PodSpec {
  const hold = forbiddenHold(podHoldsOf(spec), restrictions);
  if (hold) {
    throw forbidden(spec.name === undefined ? "make a pod" : `make pod "${spec.name}"`, hold);
  }
  const { volumes } = spec;
  return {
    ...spec,
    ...(volumes ? { volumes: volumesFromAllowedFolders(volumes, restrictions) } : {}),
  };
}

/**
 * Refuses a container that is about to be made, image and request taken together.
 *
 * @throws {KurmaError} `denied`.
 */
export function requireMakeable(
  host: Host,
  container: Container,
  restrictions: Restrictions,
): void {
  const hold = holdOf(host, container, restrictions);
  if (hold) throw forbidden(`make container "${container.name}"`, hold);
  const image = host.live.of(container).use?.image;
  if (image?.name === "hello") return; // Part of this program.
  requireOrigin(container.image.name, image?.pulled, restrictions);
}

/**
 * Refuses a container that has more of the host than whoever asks may give: who gets into
 * it, or has it changed, would get that too.
 *
 * @throws {KurmaError} `denied`; `missing`: its image is gone, so that nobody can tell.
 */
export function requireReachable(
  host: Host,
  container: Container,
  restrictions: Restrictions,
): void {
  const pod = container.pod === undefined ? undefined : host.state.pods.get(container.pod);
  const hold = holdOf(host, container, restrictions) ??
    (pod && forbiddenHold(podHoldsOf(pod.spec), restrictions));
  if (hold) throw forbidden(`reach container "${container.name}"`, hold);
}

/** Whether it would let it through. */
export function isReachable(
  host: Host,
  container: Container,
  restrictions: Restrictions | undefined,
): boolean {
  if (restrictions === undefined) return true;
  try {
    requireReachable(host, container, restrictions);
    return true;
  } catch (error) {
    if (error instanceof KurmaError) return false;
    throw error;
  }
}

/** As {@linkcode requireReachable}, for a pod with all its apps. */
export function requirePodReachable(
  host: Host,
  pod: Pod,
  apps: readonly Container[],
  restrictions: Restrictions,
): void {
  const hold = forbiddenHold(podHoldsOf(pod.spec), restrictions);
  if (hold) throw forbidden(`reach pod "${pod.name}"`, hold);
  for (const app of apps) requireReachable(host, app, restrictions);
}

function holdOf(host: Host, container: Container, restrictions: Restrictions): Hold | undefined {
  const holds = holdsOf(meaningOf(host, container), container.range === undefined);
  return forbiddenHold(holds, restrictions);
}

/** The error for what may not be had. */
function forbidden(task: string, { thing, words }: Hold): KurmaError {
  return new KurmaError("denied", `Cannot ${task}: it has ${words}, which you may not give it`, {
    fix: `Ask an administrator: your role or the policy forbids ${thing}`,
  });
}
