/**
 * What a container needs that no other may have: its name and its range of user ids.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Host } from "./host.ts";
import type { CreateOptions } from "./manager.ts";
import { checkName, type Kind } from "./names.ts";
import { confined, requireMakeable } from "./confined.ts";
import { meaningOf } from "./planning.ts";
import { daemonRanges, freeRange } from "./ranges.ts";
import type { Container } from "./record.ts";
import type { ContainerSpec, PodSpec } from "./spec.ts";
import type { State } from "./state.ts";
import { createVolume, volumesOf } from "./volumes.ts";

/** A name that nobody else gets until it is recorded or disposed of. */
export interface NameClaim extends Disposable {
  readonly text: string;
}

/** Names and ranges of one state folder. */
export class Claims {
  readonly #state: State;
  /** Names that are to be recorded. */
  readonly #names = new Set<string>();
  readonly #ranges = new Set<number>();

  constructor(state: State) {
    this.#state = state;
    for (const { range } of [...state.containers.values(), ...state.pods.values()]) {
      if (range !== undefined) this.#ranges.add(range);
    }
  }

  /**
   * Claims a name: pods and containers share them.
   *
   * @throws {KurmaError} `invalid`: it is none; `state`: it is taken.
   */
  name(kind: Kind, name: string): NameClaim {
    checkName(kind, name);
    const { containers, pods } = this.#state;
    const isTaken = this.#names.has(name) ||
      [containers, pods].some((all) => all.values().some((one) => one.name === name));
    if (isTaken) {
      throw new KurmaError("state", `Cannot use the name "${name}": it is taken`, {
        fix: "Choose another, or remove what has it",
      });
    }
    this.#names.add(name);
    return { text: name, [Symbol.dispose]: () => void this.#names.delete(name) };
  }

  /** Claims a range of user ids; @throws {KurmaError} `state`: all are taken. */
  range(): number {
    const range = freeRange(daemonRanges, this.#ranges);
    this.#ranges.add(range);
    return range;
  }

  /** Gives a range back. */
  release(range: number | undefined): void {
    if (range !== undefined) this.#ranges.delete(range);
  }
}

/** Whether a container has users of its own. */
export function usesOwnIds(
  { namespaces, security }: Pick<ContainerSpec, "namespaces" | "security">,
): boolean {
  const host = security?.privileged || security?.hostTree;
  return (namespaces?.user ?? (host ? "host" : "auto")) === "auto";
}

/** Whether a pod has; its apps have the same users, so one that wants the host's decides. */
export function podUsesOwnIds({ namespaces = {}, apps }: PodSpec): boolean {
  return namespaces.user !== "host" && apps.every(usesOwnIds);
}

/** How what is new is made. */
export type MakingOptions = Pick<CreateOptions, "pull" | "restrictions">;

/** What a new container has from the start. */
export type Beginning =
  & Pick<Container, "id" | "name" | "spec">
  & Partial<Pick<Container, "range" | "app" | "pod">>;

/**
 * A container that is about to be made. Its image is held, and goes with it; volumes that
 * it names are there.
 *
 * @throws {KurmaError} The image, or what it and the specification come to.
 */
export async function newContainer(
  host: Host,
  beginning: Beginning,
  { pull, restrictions }: MakingOptions = {},
): Promise<Container> {
  const { id, name, range, app, pod } = beginning;
  const spec = restrictions ? confined(host, beginning.spec, restrictions) : beginning.spec;
  const live = host.live.of({ id });
  live.use = await host.images.use(spec.image, pull, restrictions);
  const container: Container = {
    id,
    name,
    ...(pod === undefined ? {} : { pod, app }),
    image: { id: live.use.image.id, name: spec.image },
    spec,
    createdAt: Date.now(),
    ...(range === undefined ? {} : { range }),
    status: { phase: "new", run: 0, paused: false, wanted: false, restarts: 0 },
  };
  // What does not go together is refused here and now, not at the start.
  meaningOf(host, container);
  if (restrictions) requireMakeable(host, container, restrictions);
  if (pod === undefined) {
    for (const volume of volumesOf(container)) {
      if (!host.state.volumes.has(volume)) createVolume(host, volume);
    }
  }
  return container;
}
