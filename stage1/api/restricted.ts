/**
 * Keeps callers with restrictions out of containers that have more than they may give: one
 * interceptor before all methods, so that none can be forgotten. What is made is checked
 * where it is made; see `containers/confined.ts`.
 *
 * @module
 */

import type { DescMethod } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import type { Interceptor } from "@connectrpc/connect";
import { KurmaError } from "../../ffi/errors.ts";
import { requirePodReachable, requireReachable } from "../containers/confined.ts";
import type { Manager } from "../containers/manager.ts";
import type { Restrictions } from "../containers/restrictions.ts";
import { startOf } from "./calls.ts";
import { Containers, Pods } from "./kurma.gen.ts";
import { restrictionsKey } from "./via.ts";

/** Methods that heed restrictions by themselves: they make things, or choose what they touch. */
const heeding: readonly DescMethod[] = [
  Containers.method.create,
  Containers.method.prune,
  Containers.method.run,
  Pods.method.create,
  Pods.method.prune,
];

/** Whether a method gets into containers or changes them. */
function reachesIn(method: DescMethod): boolean {
  if (method.parent !== Containers && method.parent !== Pods) return false;
  if (heeding.includes(method)) return false;
  // It changes nothing, but reads what is mounted inside.
  if (method === Containers.method.copyOut) return true;
  return method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

/** Refuses calls about containers and pods of `manager` that the caller may not reach. */
export function restricted(manager: Manager): Interceptor {
  return (next) => (request) => {
    const restrictions = request.contextValues.get(restrictionsKey);
    const { method } = request;
    if (restrictions === undefined || !reachesIn(method)) return next(request);
    const hold = (message: unknown) => holdTo(manager, restrictions, method, message);
    if (!request.stream) {
      hold(request.message);
      return next(request);
    }
    return next({ ...request, message: heldFirst(request.message, hold) });
  };
}

async function* heldFirst<T>(messages: AsyncIterable<T>, hold: (message: T) => void) {
  let isFirst = true;
  for await (const message of messages) {
    if (isFirst) hold(message);
    isFirst = false;
    yield message;
  }
}

/**
 * Checks what a request is about. It names it by its id afterwards: a name may be another's
 * by the time the method looks it up.
 */
function holdTo(
  manager: Manager,
  restrictions: Restrictions,
  method: DescMethod,
  message: unknown,
): void {
  const about = startOf(message) as { container?: unknown; pod?: unknown; privileged?: unknown };
  if (about.privileged === true && restrictions.forbid.includes("privileged")) {
    throw new KurmaError("denied", "Cannot run a privileged command: you may not give it that", {
      fix: "Ask an administrator: your role or the policy forbids privileged",
    });
  }
  if (typeof about.container === "string") {
    const container = manager.get(about.container);
    requireReachable(manager.host, container, restrictions);
    about.container = container.id;
  } else if (typeof about.pod === "string" && about.pod !== "") {
    const pod = manager.pods.get(about.pod);
    requirePodReachable(manager.host, pod, manager.pods.apps(pod), restrictions);
    about.pod = pod.id;
  } else {
    throw new KurmaError("denied", `Cannot call ${method.name}: it does not say what it is about`);
  }
}
