/**
 * Further processes in containers, with their input, output and terminal.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Descriptor } from "../../ffi/kernel.ts";
import type { Exit, Stage2 } from "../../stage2/server.ts";
import { commandHint } from "./command_hint.ts";
import { type Host, isUp, runName } from "./host.ts";
import { execPlanFor, type Further } from "./planning.ts";
import type { Container } from "./record.ts";
import { ignoringGone } from "./runs.ts";
import { Sink, Source } from "./streams.ts";

/** A process that is talked to. Disposing of it lets go of its streams, and ends nothing. */
export interface Conversation extends Disposable {
  /** As the host numbers it. */
  readonly pid: number;
  readonly input?: Sink;
  /** What a terminal shows, or standard output. */
  readonly output?: Source;
  readonly errorOutput?: Source;
  readonly ended: Promise<Exit>;
  resize(size: { rows: number; columns: number }): Promise<void>;
  signal(number: number): Promise<void>;
  /**
   * Lets it see the end of its input: of a main process once all who have it let go. A terminal
   * has no such end.
   */
  closeInput(): Promise<void>;
}

/** How a process is talked to. */
export interface ConversationOptions extends Further {
  /** Otherwise it reads /dev/null. A terminal is read and written in any case. */
  readonly openInput?: boolean;
  /** Its output goes nowhere. */
  readonly detached?: boolean;
}

/**
 * Starts a process in a running container.
 *
 * @throws {KurmaError} `state`: the container does not run; the command cannot be run.
 */
export async function converse(
  host: Host,
  container: Container,
  options: ConversationOptions,
): Promise<Conversation> {
  if (container.status.phase !== "running") {
    throw new KurmaError("state", `Cannot run a command in "${container.name}": it does not run`, {
      fix: "Start it first",
    });
  }
  const stage2 = await host.supervisor.server();
  const plan = execPlanFor(host, container, options);
  const ends = new Ends(host, options);
  try {
    const { pid, terminal, ended } = await stage2.exec(plan, ends.theirs());
    return conversation(host, stage2, runName(container), { pid, terminal, ended, ends });
  } catch (error) {
    ends.closeOurs();
    throw withHint(error);
  } finally {
    ends.closeTheirs();
  }
}

/** The same failure, with what to do about it. */
function withHint(error: unknown): unknown {
  const fix = commandHint(error);
  if (fix === undefined || !(error instanceof KurmaError)) return error;
  return new KurmaError(error.code, error.message, { cause: error, fix });
}

/** The pipes of a process without a terminal. */
class Ends {
  readonly #host: Host;
  /** 0 to 2 for the process. */
  readonly #theirs: Descriptor[] = [];
  readonly ours: { input?: Descriptor; output?: Descriptor; errorOutput?: Descriptor } = {};

  constructor(host: Host, { terminal, openInput, detached }: ConversationOptions) {
    this.#host = host;
    if (terminal || (detached && !openInput)) return;
    const { kernel } = host;
    const pipe = () => {
      const ends = kernel.pipe();
      // Its user may open it again, by /dev/stdout: nobody but its processes can reach it.
      Deno.chmodSync(`/proc/self/fd/${ends[0]}`, 0o666);
      return ends;
    };
    const [reading, writing] = pipe();
    this.#theirs.push(reading);
    if (openInput) this.ours.input = writing;
    else kernel.close(writing); // It sees the end of its input at once.
    for (const name of ["output", "errorOutput"] as const) {
      const [ours, theirs] = pipe();
      this.#theirs.push(theirs);
      this.ours[name] = ours;
    }
  }

  theirs(): [Descriptor, Descriptor, Descriptor] | null {
    const [input, output, errorOutput] = this.#theirs;
    return input === undefined ? null : [input, output, errorOutput];
  }

  closeTheirs(): void {
    for (const descriptor of this.#theirs) this.#host.kernel.close(descriptor);
  }

  closeOurs(): void {
    for (const descriptor of Object.values(this.ours)) this.#host.kernel.close(descriptor);
  }
}

function conversation(
  host: Host,
  stage2: Stage2,
  run: string,
  made: { pid: number; terminal?: Descriptor; ended: Promise<Exit>; ends: Ends },
): Conversation {
  const { kernel, reactor } = host;
  const { pid, terminal, ended, ends } = made;
  // One set to wait in takes a descriptor once: reading and writing a terminal are two.
  const typing = terminal === undefined ? ends.ours.input : kernel.duplicate(terminal);
  const shown = terminal ?? ends.ours.output;
  const { errorOutput } = ends.ours;
  const input = typing === undefined ? undefined : new Sink(kernel, reactor, typing);
  const output = shown === undefined ? undefined : new Source(kernel, reactor, shown);
  const errors = errorOutput === undefined ? undefined : new Source(kernel, reactor, errorOutput);
  return {
    pid,
    input,
    output,
    errorOutput: errors,
    ended,
    resize: async (size) => void await ignoringGone(stage2.resize(run, size, pid)),
    signal: async (number) => void await ignoringGone(stage2.signal(run, number, pid)),
    closeInput() {
      if (terminal === undefined) input?.[Symbol.dispose]();
      return Promise.resolve();
    },
    [Symbol.dispose]() {
      input?.[Symbol.dispose]();
      output?.[Symbol.dispose]();
      errors?.[Symbol.dispose]();
    },
  };
}

/**
 * Connects to the main process of a running container.
 *
 * @throws {KurmaError} `state`: it does not run.
 */
export async function attachTo(
  host: Host,
  container: Container,
  wantsInput: boolean,
): Promise<Conversation> {
  if (container.status.phase !== "running") {
    throw new KurmaError("state", `Cannot attach to "${container.name}": it does not run`, {
      fix: "Start it first",
    });
  }
  return await connectTo(host, container, wantsInput);
}

/** As {@linkcode attachTo}, also to one whose command is about to run: nothing of it is missed. */
export async function connectTo(
  host: Host,
  container: Container,
  wantsInput: boolean,
): Promise<Conversation> {
  const { kernel, reactor, live } = host;
  const stage2 = await host.supervisor.server();
  const run = runName(container);
  const isTerminal = container.spec.terminal ?? false;
  const outputs = isTerminal ? [kernel.pipe()] : [kernel.pipe(), kernel.pipe()];
  let typing: Descriptor | undefined;
  try {
    typing = await stage2.attach(run, outputs.map(([, theirs]) => theirs));
  } catch (error) {
    for (const [ours] of outputs) kernel.close(ours);
    throw error;
  } finally {
    for (const [, theirs] of outputs) kernel.close(theirs);
  }
  if (typing !== undefined && !wantsInput) {
    kernel.close(typing);
    typing = undefined;
  }
  const input = typing === undefined ? undefined : new Sink(kernel, reactor, typing);
  const [output, errorOutput] = outputs.map(([ours]) => new Source(kernel, reactor, ours));
  const ended = Promise.withResolvers<Exit>();
  const { listeners } = live.of(container);
  const onEnd = () => {
    const { exit, endedAt = Date.now() } = container.status;
    ended.resolve({ status: exit?.code ?? 0, endedAt, oom: exit?.oom ?? false, record: 0 });
  };
  if (isUp(container)) listeners.add(onEnd);
  else onEnd();
  return {
    pid: container.status.pid ?? 0,
    input,
    output,
    errorOutput,
    ended: ended.promise,
    resize: async (size) => void await ignoringGone(stage2.resize(run, size)),
    signal: async (number) => void await ignoringGone(stage2.signal(run, number)),
    async closeInput() {
      input?.[Symbol.dispose]();
      await ignoringGone(stage2.closeInput(run));
    },
    [Symbol.dispose]() {
      listeners.delete(onEnd);
      for (const stream of [input, output, errorOutput]) stream?.[Symbol.dispose]();
    },
  };
}
