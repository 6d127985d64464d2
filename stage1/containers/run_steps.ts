/**
 * What a run of a container consists of, in the order in which it is made.
 *
 * @module
 */

import { dropHolder, ensureHolder } from "./holder.ts";
import { folderOf, type Host, runName } from "./host.ts";
import { planFor } from "./planning.ts";
import type { Container } from "./record.ts";
import { forget } from "./runs.ts";
import type { Step } from "./steps.ts";

/** The steps of a run on `host`. */
export function runOf(host: Host): readonly Step<Container>[] {
  const { kernel } = host;
  return [
    {
      name: "scratch",
      apply(container) {
        const folder = folderOf(host, container);
        // A mount leaves marks in `work` by which the kernel knows one that was cut off.
        kernel.remove(`${folder}/work`);
        Deno.mkdirSync(`${folder}/work`, { mode: 0o700 });
        kernel.remove(`${folder}/rpc`);
      },
    },
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
      name: "run",
      async apply(container) {
        const stage2 = await host.supervisor.server();
        try {
          const { pid, terminal } = await stage2.run(planFor(host, container), null);
          // Its init keeps it: whoever wants it attaches.
          if (terminal !== undefined) kernel.close(terminal);
          container.status.pid = pid;
        } catch (error) {
          // How far a server came that died meanwhile, only the next one knows.
          if (stage2.isClosed) await forgetRun(host, container);
          throw error;
        }
      },
      undo: (container) => forgetRun(host, container),
    },
  ];
}

/** Ends what there is of the container's run; nothing is success. */
export function forgetRun(host: Host, container: Container): Promise<void> {
  return host.supervisor.ask((stage2) => forget(stage2, runName(container)));
}
