/**
 * A command in a container, run to its end, with the beginning of what it printed.
 *
 * @module
 */

import type { Host } from "./host.ts";
import { execPlanFor, type Further } from "./planning.ts";
import type { Container } from "./record.ts";
import { ignoringGone } from "./runs.ts";

/** What came of a command. */
export interface Captured {
  /** Undefined: it took longer than it may, and was killed. */
  readonly code: number | undefined;
  /** The first bytes of both its outputs, as text. */
  readonly output: string;
}

/** What is kept of the output, in bytes. */
const maxOutput = 4096;

/**
 * Runs a command in a running container.
 *
 * @param limitMs By a clock that nobody sets; then it is killed.
 * @throws {KurmaError} It cannot be run.
 */
export async function capture(
  host: Host,
  container: Container,
  wanted: Further,
  limitMs: number,
): Promise<Captured> {
  const stage2 = await host.supervisor.server();
  // A memory file and no pipe: nobody has to read it while the command runs, and what it
  // takes counts as the container's memory.
  const file = host.kernel.memfd("output", new Uint8Array(), "shared");
  let timer: number | undefined;
  try {
    const plan = execPlanFor(host, container, wanted);
    const { pid, ended } = await stage2.exec(plan, [file, file, file]);
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), limitMs);
    });
    const exit = await Promise.race([ended, late]);
    if (exit === undefined) await ignoringGone(stage2.kill(plan.kurma.id, pid));
    return { code: exit?.status, output: beginning(file) };
  } finally {
    clearTimeout(timer);
    host.kernel.close(file);
  }
}

function beginning(file: number): string {
  using reader = Deno.openSync(`/proc/self/fd/${file}`);
  const bytes = new Uint8Array(maxOutput);
  const length = reader.readSync(bytes) ?? 0;
  return new TextDecoder().decode(bytes.subarray(0, length));
}
