/**
 * What a container is made like, ahead of the next one that is like it.
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

/** What a container is given later, and what is no matter of stage2's. */
const later: ReadonlySet<string> = new Set<keyof ContainerSpec>([
  ...["name", "hostname", "command", "entrypoint", "env"] as const,
  ...["labels", "annotations", "restart", "healthCheck", "eventHandlers", "autoRemove"] as const,
]);

/**
 * What a specification says of what is made ahead of its command, as a text to compare. Two
 * with the same text come to the same as long as the image's name stands for the same image.
 */
export function likenessOf(spec: ContainerSpec): string {
  const made = Object.entries(spec).filter(([key]) => !later.has(key));
  return JSON.stringify([made, goesWithItsEnd(spec)]);
}

/**
 * The pattern that a container of that likeness makes, whose image is held; undefined if it
 * has something of the host or of another container, which nobody may keep busy unasked, or
 * what stage2 does not make ahead: a terminal, or a filter of its own.
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
    security.apiRole === undefined && !security.hostTree && !security.privileged &&
    typeof security.seccomp === "string" && !terminal;
  if (!hasOwn || use === undefined || container.pod !== undefined) return undefined;
  const layers = use.image.layers.map(({ path }) => path);
  return { likeness, container, meant, layers };
}

/**
 * The plan of the first run of a container like that one. What it executed and its environment,
 * which may have secrets, are for no other.
 */
export function planLike(
  host: Host,
  { container, meant, layers }: Pattern,
  own: Pick<Container, "id" | "range">,
): Plan {
  const status = { ...container.status, run: 1 };
  const { kurma, config } = planAs(host, { ...container, ...own, status }, meant, layers);
  return { kurma, config: { ...config, process: { ...config.process, args: ["-"], env: [] } } };
}
