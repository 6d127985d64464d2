/**
 * The service of containers.
 *
 * @module
 */

import type { ServiceImpl } from "@connectrpc/connect";
import { KurmaError } from "../../ffi/errors.ts";
import { isReachable } from "../containers/confined.ts";
import { isUp } from "../containers/host.ts";
import type { Manager } from "../containers/manager.ts";
import { planFor } from "../containers/planning.ts";
import type { Container as Record } from "../containers/record.ts";
import { signalNumber } from "../containers/signals.ts";
import { copyInto, copyOutOf } from "./copy.ts";
import {
  type Containers,
  PullPolicy,
  WaitContainerRequest_Condition as Condition,
} from "./kurma.gen.ts";
import { logsOf } from "./logs.ts";
import { containerMessage, exitStatus, stateOf, timeOf } from "./messages.ts";
import { run } from "./run.ts";
import { containerSpec, milliseconds, resourceSpec, restartSpec } from "./settings.ts";
import { attach, enter, execute } from "./streams.ts";
import { statsOf, topOf } from "./usage.ts";
import { restrictionsKey } from "./via.ts";

/** The methods of `kurma.v1.Containers`. */
export function containerService(manager: Manager): ServiceImpl<typeof Containers> {
  // The record, not what is found by its name now: it may have another, or be removed.
  const answer = (record: Record) => ({ container: containerMessage(manager, record) });
  return {
    async create(request, { values }) {
      requireNoPod(request);
      return answer(
        await manager.create(containerSpec(request), {
          start: request.start,
          pull: pullPolicy(request.pull),
          restrictions: values.get(restrictionsKey),
        }),
      );
    },
    run: (requests, { signal, values }) => {
      return run(manager, requests, { signal, restrictions: values.get(restrictionsKey) });
    },
    start: async ({ container }) => answer(await manager.start(container)),
    async stop({ container, signal, timeout }) {
      return answer(
        await manager.stop(container, {
          ...(signal === "" ? {} : { signal: signalOf(signal) }),
          ...(timeout === undefined ? {} : { limitMs: milliseconds(timeout) }),
        }),
      );
    },
    async kill({ container, signal }) {
      await manager.kill(container, signal === "" ? 9 : signalOf(signal));
      return {};
    },
    async restart({ container, timeout }) {
      return answer(
        await manager.restart(container, {
          ...(timeout === undefined ? {} : { limitMs: milliseconds(timeout) }),
        }),
      );
    },
    async pause({ container }) {
      await manager.pause(container);
      return {};
    },
    async resume({ container }) {
      await manager.resume(container);
      return {};
    },
    async remove({ container, force }) {
      const { id } = manager.get(container);
      await manager.remove(id, { force });
      return { id };
    },
    rename: async ({ container, name }) => answer(await manager.rename(container, name)),
    async update({ container, resources, restart, labels }) {
      return answer(
        await manager.update(container, {
          ...(resources ? { resources: resourceSpec(resources) } : {}),
          ...(restart ? { restart: restartSpec(restart) } : {}),
          labels,
        }),
      );
    },
    async wait({ container, condition }, { signal }) {
      const record = manager.get(container);
      await manager.waitFor(record, conditions[condition] ?? "ended", signal);
      const { exit, endedAt } = record.status;
      return exit ? { exit: exitStatus(exit, endedAt) } : {};
    },
    exec: (requests, { signal }) => execute(manager, requests, signal),
    enter: (requests, { signal }) => enter(manager, requests, signal),
    attach: (requests, { signal }) => attach(manager, requests, signal),
    logs: (request, { signal }) => logsOf(manager, request, signal),
    top: ({ container }) => topOf(manager, manager.get(container)),
    stats: (request, { signal }) => statsOf(manager, request, signal),
    copyIn: (requests) => copyInto(manager, requests),
    copyOut: (request) => copyOutOf(manager, request),
    get({ container }) {
      const record = manager.get(container);
      const plan = record.status.run === 0 ? "" : JSON.stringify(planFor(manager.host, record));
      return { container: containerMessage(manager, record), plan };
    },
    list(request) {
      const image = request.image;
      const pod = request.pod === "" ? undefined : manager.pods.get(request.pod).id;
      const found = manager.list().filter((record) =>
        (request.states.length === 0 || request.states.includes(stateOf(manager, record))) &&
        hasLabels(record.spec.labels, request.labels) &&
        (record.name.startsWith(request.prefix) || record.id.startsWith(request.prefix)) &&
        (image === "" || record.image.name === image || record.image.id === image) &&
        (pod === undefined || record.pod === pod)
      );
      return { containers: found.map((record) => containerMessage(manager, record, false)) };
    },
    async prune({ until, labels }, { values }) {
      const before = timeOf(until) ?? Infinity;
      const restrictions = values.get(restrictionsKey);
      const { removed, bytes } = await manager.prune((record) =>
        hasLabels(record.spec.labels, labels) && endOf(record) < before &&
        isReachable(manager.host, record, restrictions)
      );
      return { ids: removed.map(({ id }) => id), freedBytes: BigInt(bytes) };
    },
  };
}

const conditions = {
  [Condition.UNSPECIFIED]: "ended",
  [Condition.ENDED]: "ended",
  [Condition.NEXT_END]: "next-end",
  [Condition.REMOVED]: "removed",
  [Condition.HEALTHY]: "healthy",
} as const;

const policies = {
  [PullPolicy.UNSPECIFIED]: "missing",
  [PullPolicy.MISSING]: "missing",
  [PullPolicy.ALWAYS]: "always",
  [PullPolicy.NEVER]: "never",
} as const;

/** When an image is fetched. */
export function pullPolicy(policy: PullPolicy): typeof policies[PullPolicy] {
  return policies[policy] ?? "missing";
}

/** @throws {KurmaError} `invalid`: a container is to become the member of a pod. */
export function requireNoPod({ pod }: { readonly pod: string }): void {
  if (pod === "") return;
  throw new KurmaError("invalid", "Cannot add a container to a pod that is there", {
    fix: "Create the pod with all its containers",
  });
}

/** Whether all labels are there; an empty value fits any. */
export function hasLabels(
  labels: Readonly<{ [name: string]: string }> = {},
  wanted: Readonly<{ [name: string]: string }>,
): boolean {
  return Object.entries(wanted).every(([name, value]) =>
    Object.hasOwn(labels, name) && (value === "" || labels[name] === value)
  );
}

/** @throws {KurmaError} `invalid`: there is no such signal. */
export function signalOf(text: string): number {
  const number = signalNumber(text);
  if (number !== undefined) return number;
  throw new KurmaError("invalid", `Cannot send signal ${JSON.stringify(text.slice(0, 40))}`, {
    fix: "Name one of signal(7), as in SIGTERM or 15",
  });
}

/** When a container that does not run came to rest. */
function endOf(record: Record): number {
  return isUp(record) ? Infinity : record.status.endedAt ?? record.createdAt;
}
