/**
 * The root of a container from outside: of the running one, or of one that is made for
 * this alone and never let run.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Inside } from "./copy.ts";
import { type Host, isUp, runName } from "./host.ts";
import { planFor } from "./planning.ts";
import { firstId } from "./ranges.ts";
import type { Container } from "./record.ts";
import { forget, newWorkFolder } from "./runs.ts";

/**
 * Does `work` with the container's root at hand. One that does not run is not started
 * meanwhile.
 */
export async function withRoot<Value>(
  host: Host,
  container: Container,
  work: (inside: Inside) => Promise<Value>,
): Promise<Value> {
  if (container.status.phase === "running") {
    return await inRootOf(host, container, container.status.pid ?? 0, work);
  }
  return await host.queues.run(container.id, async () => {
    if (isUp(container)) return await inRootOf(host, container, container.status.pid ?? 0, work);
    const stage2 = await host.supervisor.server();
    const plan = planFor(host, container);
    const id = runName(container, "files");
    newWorkFolder(host, container);
    const { log: _log, rpc: _rpc, ...kurma } = plan.kurma;
    await forget(stage2, id);
    const { pid, terminal } = await stage2.create({ ...plan, kurma: { ...kurma, id } }, null);
    if (terminal !== undefined) host.kernel.close(terminal);
    try {
      return await inRootOf(host, container, pid, work);
    } finally {
      await forget(stage2, id);
    }
  });
}

async function inRootOf<Value>(
  host: Host,
  container: Container,
  pid: number,
  work: (inside: Inside) => Promise<Value>,
): Promise<Value> {
  const { kernel } = host;
  const root = kernel.openRoot(pid);
  try {
    // The number may be another process's by now. Only if stage2 has it still was it the
    // container's when its root was opened: what ends is told before it is asked.
    const there = await (await host.supervisor.server()).list();
    if (!there.some((each) => each.pid === pid && each.id.startsWith(runName(container, "")))) {
      throw new KurmaError("state", `Cannot reach the files of "${container.name}": it has ended`, {
        fix: "Try again",
      });
    }
    const first = container.range === undefined ? 0 : firstId(container.range);
    return await work({ kernel, root, firstId: first });
  } finally {
    kernel.close(root);
  }
}
