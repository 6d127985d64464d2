/**
 * Runs that may be gone already, as stage2 knows them.
 *
 * @module
 */

import { isErrno, KernelError } from "../../ffi/kernel.ts";
import type { Stage2 } from "../../stage2/server.ts";
import { folderOf, type Host } from "./host.ts";
import type { Container } from "./record.ts";

/** How long a killed container may take to end. */
const patienceMs = 30_000;

const pollMs = 5;

/**
 * Gives a run of the container its empty `work` folder. The mount of one that goes with its
 * end leaves marks there, by which the kernel refuses another.
 */
export function newWorkFolder(host: Host, container: Pick<Container, "id">): void {
  const work = `${folderOf(host, container)}/work`;
  host.kernel.remove(work);
  Deno.mkdirSync(work, { mode: 0o700 });
}

/**
 * Ends a run that has not ended, and clears up after it. One that is gone is success.
 *
 * @param begun Whether a stage2 that was killed may have begun it, of which the one that
 * follows knows nothing.
 */
export async function forget(stage2: Stage2, run: string, begun = false): Promise<void> {
  for (const deadline = performance.now() + patienceMs;;) {
    const answer = await refusal(stage2.delete(run, begun));
    if (answer === undefined || answer.errno === "ENOENT") return;
    // EBUSY: it has not ended yet; a kill takes a moment. EAGAIN: stage2 has too much to do.
    if (!isErrno(answer, "EBUSY", "EAGAIN") || performance.now() > deadline) throw answer;
    const killed = await refusal(stage2.kill(run));
    if (killed !== undefined && !isErrno(killed, "ESRCH", "ENOENT")) throw killed;
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

/** Waits for a request about something that may have ended meanwhile; false if it has. */
export async function ignoringGone(request: Promise<unknown>): Promise<boolean> {
  const answer = await refusal(request);
  if (answer === undefined) return true;
  if (!isErrno(answer, "ESRCH", "ENOENT")) throw answer;
  return false;
}
