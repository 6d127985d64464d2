/**
 * What a run of a container consists of, in the order in which it is made.
 *
 * @module
 */

import { KernelError } from "../../ffi/kernel.ts";
import type { Stage2 } from "../../stage2/server.ts";
import { folderOf, type Host, runName } from "./host.ts";
import { planFor } from "./planning.ts";
import type { Container } from "./record.ts";
import type { Step } from "./steps.ts";

/** How long a killed container may take to end. */
const patienceMs = 30_000;

const pollMs = 5;

/** The steps of a run on `host`. */
export function runOf(host: Host): readonly Step<Container>[] {
  const { kernel, live } = host;
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
      name: "stage2",
      async apply(container) {
        const stage2 = await host.supervisor.server();
        const { pid, terminal } = await stage2.create(planFor(host, container), null);
        live.of(container).terminal = terminal;
        container.status.pid = pid;
      },
      async undo(container) {
        const { terminal } = live.of(container);
        if (terminal !== undefined) kernel.close(terminal);
        live.of(container).terminal = undefined;
        const stage2 = await host.supervisor.server();
        await forget(stage2, runName(container));
      },
    },
    {
      name: "command",
      async apply(container) {
        const stage2 = await host.supervisor.server();
        await stage2.start(runName(container));
      },
    },
  ];
}

/** Ends a run that has not ended, and clears up after it. One that is gone is success. */
export async function forget(stage2: Stage2, run: string): Promise<void> {
  for (const deadline = performance.now() + patienceMs;;) {
    const answer = await refusal(stage2.delete(run));
    if (answer === undefined || answer.errno === "ENOENT") return;
    // EBUSY: it has not ended yet; a kill takes a moment.
    if (answer.errno !== "EBUSY" || performance.now() > deadline) throw answer;
    const killed = await refusal(stage2.kill(run));
    if (killed !== undefined && !/^(ESRCH|ENOENT)$/.test(killed.errno)) throw killed;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}

/** Why the kernel or stage2 does not do it; undefined if it did. */
async function refusal(request: Promise<unknown>): Promise<KernelError | undefined> {
  try {
    await request;
    return undefined;
  } catch (error) {
    if (error instanceof KernelError) return error;
    throw error;
  }
}

/** Waits for a request about something that may have ended meanwhile. */
export async function ignoringGone(request: Promise<unknown>): Promise<void> {
  const answer = await refusal(request);
  if (answer !== undefined && !/^(ESRCH|ENOENT)$/.test(answer.errno)) throw answer;
}
