/**
 * `kurma run` without a daemon: one container in the foreground, and nothing left of
 * it afterwards.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Kernel, KernelError } from "../../ffi/kernel.ts";
import { type Ended, type Launch, WaitingStage2 } from "../../stage2/client.ts";
import type { Plan } from "../../stage2/spec.ts";
import { openImage, type OpenOptions } from "../images/open.ts";
import { Interrupts } from "./interrupts.ts";
import { planContainer } from "./plan.ts";
import { resolve } from "./resolve.ts";
import { claim } from "./scratch.ts";
import type { ContainerSpec } from "./spec.ts";

export interface RunRequest {
  /** What to run, on an image from a path, a name, or `hello`. */
  spec: ContainerSpec;
  /** The folder that holds images and containers, for example `/var/lib/kurma`. */
  root: string;
  /** How an image that is not in the store is pulled. */
  pull?: OpenOptions["pull"];
}

/** What is passed on to the command instead of acting on us, by its number. signal(7) */
const forwarded = {
  SIGINT: 2,
  SIGTERM: 15,
  SIGHUP: 1,
  SIGQUIT: 3,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGWINCH: 28,
} as const satisfies Partial<Record<Deno.Signal, number>>;

/** What would stop us beside a container that goes on, and reads our terminal. */
const ofTerminals = { SIGTSTP: 20 } as const;

/**
 * Runs one container with our streams until its command ends.
 *
 * @param tell Gets what the user should know although it stops nothing; it may quote the image.
 * @returns The command's exit status, 128 + n after signal n; 126 and 127 if it could not
 * be run, for the reason told.
 * @throws {KurmaError} nothing was run, and nothing is left.
 */
export async function run(
  kernel: Kernel,
  request: RunRequest,
  tell: (news: KurmaError) => void,
): Promise<number> {
  if (Deno.uid() !== 0) {
    throw new KurmaError("denied", "Cannot make a container: only root may", {
      fix: "Run it as root, for example with sudo",
    });
  }
  using waiting = new WaitingStage2(kernel);
  const { spec, root, pull } = request;
  const image = await openImage(spec.image, { root, pull });
  const layers = image.layers.map((layer) => layer.path);
  const meant = resolve(
    image.config,
    spec.terminal ? { consoleSize: ownConsoleSize(), ...spec } : spec,
  );
  const { preStart, postStop } = meant.eventHandlers;
  if (preStart ?? postStop) {
    const message = `Cannot run the event handlers of "${spec.image}" without a daemon`;
    tell(new KurmaError("state", message, { fix: "Use kurma create --start for them" }));
  }
  const attempt = async (stage2: WaitingStage2, hostUsers: boolean) => {
    using scratch = claim(kernel, root, spec.name, (path) => stage2.announce(path));
    const plan = planContainer({
      id: scratch.id,
      layers,
      scratch: scratch.path,
      ephemeral: true,
      firstId: hostUsers ? undefined : scratch.firstId,
    }, meant);
    return await foreground(stage2, plan);
  };
  const { status, reason } = await attempt(waiting, meant.namespaces.user === "host")
    .catch(async (cause) => {
      if (cause instanceof KernelError && cause.step === "user") throw unknownUser(cause);
      if (!(cause instanceof KernelError && cause.step === "idmap")) throw cause;
      const message = "Cannot give the container ids of its own; its root is the host's root";
      tell(new KurmaError("kernel", message, { cause }));
      using again = new WaitingStage2(kernel);
      return await attempt(again, true);
    });
  if (reason) tell(reason);
  return status;
}

/** The size of the terminal that we are on, if any of our streams is one. */
function ownConsoleSize(): { height: number; width: number } | undefined {
  const stream = [Deno.stdin, Deno.stdout, Deno.stderr].find((stream) => stream.isTerminal());
  if (stream === undefined) return undefined;
  const { rows, columns } = Deno.consoleSize();
  return { height: rows, width: columns };
}

function unknownUser(cause: KernelError): KurmaError {
  const message = `Cannot run as "${cause.subject}": the image's /etc/passwd and /etc/group ` +
    `know no such user or group (${cause.errno})`;
  return new KurmaError("invalid", message, { fix: "Name one of theirs, or numbers: UID:GID" });
}

/** Carries the plan out with our streams, and passes signals on to its command. */
async function foreground(stage2: WaitingStage2, plan: Plan): Promise<Ended> {
  const { terminal } = plan.config.process;
  const interrupts = new Interrupts();
  let given: number | undefined;
  let container: Launch | undefined;
  const signals = { ...forwarded, ...(terminal ? ofTerminals : {}) };
  const handlers = Object.entries(signals).map(([name, number]) => {
    const signal = name as keyof typeof signals;
    const pass = () => {
      // On a terminal of its own, what is typed comes as a key.
      if (signal !== "SIGINT" || terminal || interrupts.isPassedOn()) {
        return container?.signal(number);
      }
      given = 128 + number;
      container?.signal(9);
    };
    Deno.addSignalListener(signal, pass);
    return () => Deno.removeSignalListener(signal, pass);
  });
  try {
    // Only now: whoever has heard from the command may interrupt it at once.
    container = stage2.launch(plan);
    return await container.ended;
  } catch (error) {
    if (given === undefined) throw error;
    return { status: given };
  } finally {
    for (const remove of handlers) remove();
  }
}
