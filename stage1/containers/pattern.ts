/**
 * What a container's file tree is mounted like, ahead of the next container that is like it.
 *
 * @module
 */

import type { Plan } from "../../stage2/spec.ts";
import type { Host } from "./host.ts";
import { goesWithItsEnd, meaningOf, planAs } from "./planning.ts";
import type { Container } from "./record.ts";
import type { Resolved } from "./resolve.ts";
import type { ContainerSpec } from "./spec.ts";

/** A container that started, as the pattern of those to come. */
export interface Pattern {
  /** What all that are like it have in common: see {@linkcode likenessOf}. */
  readonly likeness: string;
  readonly container: Container;
  readonly meant: Resolved;
  readonly layers: readonly string[];
}

/**
 * What a specification says of the file tree, as a text to compare. Two with the same text
 * have the same tree as long as the image's name stands for the same image; what is about
 * processes makes no difference.
 */
export function likenessOf(spec: ContainerSpec): string {
  const { image, imageDefaults, workingDir, terminal, namespaces, mounts, devices } = spec;
  const { sysctls, security, resources } = spec;
  return JSON.stringify([
    ...[image, imageDefaults, workingDir, terminal, namespaces, mounts, devices, sysctls],
    ...[security, resources?.shmSize, goesWithItsEnd(spec)],
  ]);
}

/**
 * The pattern that a container of that likeness makes, whose image is held; undefined if its
 * file tree has something of the host or of another container in it, which nobody may keep
 * busy unasked.
 */
export function patternOf(
  host: Host,
  container: Container,
  likeness: string,
): Pattern | undefined {
  const { use } = host.live.of(container);
  const meant = meaningOf(host, container);
  const { security, mounts, devices, terminal } = meant;
  const hasOwn = mounts.every(({ type }) => type === "tmpfs") && devices.length === 0 &&
    security.apiRole === undefined && !security.hostTree && !security.privileged && !terminal;
  if (!hasOwn || use === undefined || container.pod !== undefined) return undefined;
  const layers = use.image.layers.map(({ path }) => path);
  return { likeness, container, meant, layers };
}

/** The plan of the first run of a container like that one. */
export function planLike(
  host: Host,
  { container, meant, layers }: Pattern,
  own: Pick<Container, "id" | "range">,
): Plan {
  const status = { ...container.status, run: 1 };
  return planAs(host, { ...container, ...own, status }, meant, layers);
}
