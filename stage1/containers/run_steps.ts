/**
 * What a run of a container consists of, in the order in which it is made.
 *
 * @module
 */

import { isErrno } from "../../ffi/kernel.ts";
import type { Stage2 } from "../../stage2/server.ts";
import { dropHolder, ensureHolder } from "./holder.ts";
import { runPostStop, runPreStart } from "./handlers.ts";
import { folderOf, type Host, runName } from "./host.ts";
import { meaningOf, planFor } from "./planning.ts";
import type { Container } from "./record.ts";
import { forget, newWorkFolder } from "./runs.ts";
import type { Step } from "./steps.ts";

/**
 * The steps of a run on `host`.
 *
 * @param whenMade Called when all is there but the command, which then waits for it.
 */
export function runOf(host: Host, whenMade?: () => Promise<void>): readonly Step<Container>[] {
  const { kernel } = host;
  return [
    {
      name: "pod",
      async apply(container) {
        const pod = host.state.pods.get(container.pod ?? "");
        if (pod) await ensureHolder(host, pod);
      },
      async undo(container) {
        if (container.pod !== undefined) await dropHolder(host, { id: container.pod });
      },
    },
    {
      // On the way down only: once nothing of the run is left, and before the pod's
      // namespaces go, which the handler is in.
      name: "post-stop",
      undo: (container) => runPostStop(host, container),
    },
    {
      name: "run",
      async apply(container) {
        const stage2 = await host.supervisor.server();
        const plan = planFor(host, container);
        const { preStart } = meaningOf(host, container).eventHandlers;
        try {
          const { pid, terminal } = await inFolder(host, container, stage2, () => {
            return preStart || whenMade ? stage2.create(plan, null) : stage2.run(plan, null);
          });
          // Its init keeps it: whoever wants it attaches.
          if (terminal !== undefined) kernel.close(terminal);
          container.status.pid = pid;
          if (preStart || whenMade) {
            await startWhen(stage2, plan.kurma.id, async () => {
              if (preStart) await runPreStart(host, container, preStart);
              await whenMade?.();
            });
          }
        } catch (error) {
          // How far a server came that died meanwhile, only the next one knows.
          if (stage2.isClosed) await forgetRun(host, container, true);
          throw error;
        }
      },
      undo: (container) => forgetRun(host, container),
    },
  ];
}

/**
 * Why what is prepared cannot be used: it is of another image of that name, say, or it was
 * killed, and perhaps not cleared up after yet.
 */
const otherwise = ["ESTALE", "EADDRINUSE", "EEXIST"];

/** Has a run made in the container's folder, where most of it may be made already. */
async function inFolder<Made>(
  host: Host,
  container: Container,
  stage2: Stage2,
  make: () => Promise<Made>,
): Promise<Made> {
  const live = host.live.of(container);
  const isMade = live.madeBy === stage2 && container.status.run === 1;
  live.madeBy = undefined;
  try {
    if (!isMade) clear(host, container);
    return await make();
  } catch (error) {
    if (!isErrno(error, ...otherwise)) throw error;
    await forget(stage2, runName(container), true);
    clear(host, container);
    return await make();
  }
}

/** Removes from a container's folder what a run before left that the next one makes anew. */
function clear(host: Host, container: Container): void {
  newWorkFolder(host, container);
  host.kernel.remove(`${folderOf(host, container)}/rpc`);
}

/** Ends what there is of the container's run, perhaps one that was only `begun`. */
export function forgetRun(host: Host, container: Container, begun = false): Promise<void> {
  return host.supervisor.ask((stage2) => forget(stage2, runName(container), begun));
}

/** Lets the command of a run that is made start after `whenMade`; on failure it is no more. */
async function startWhen(stage2: Stage2, run: string, whenMade: () => Promise<void>) {
  try {
    await whenMade();
    await stage2.start(run);
  } catch (error) {
    if (!stage2.isClosed) await forget(stage2, run);
    throw error;
  }
}
