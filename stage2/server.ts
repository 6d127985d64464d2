/**
 * The stage2 server, seen from stage1: one process for the daemon's life that makes
 * containers, is their parent, and outlives us.
 *
 * @module
 */

import { Reply, Reply_kind, Reply_state, Request, Request_operation } from "../ffi/abi.gen.ts";
import { KurmaError } from "../ffi/errors.ts";
import { type Descriptor, isErrno, type Kernel, type KernelError } from "../ffi/kernel.ts";
import { kernelError, textAt } from "./report.ts";
import type { ExecPlan, Plan, Resources } from "./spec.ts";
import { type Stats, statsAt } from "./stats.ts";

/** 0 to 2 of a process; null for the null device. All are copied. */
export type Streams = readonly [Descriptor, Descriptor, Descriptor] | null;

/** How far a container has come. */
export type State = "creating" | "created" | "running" | "stopped" | "prepared";

/** A container as the server knows it. */
export interface ContainerState {
  id: string;
  state: State;
  /** Of its init, on the host; 0 once it has ended. */
  pid: number;
  /** With state `stopped`: how it ended. */
  exit?: Exit;
  /** Pids of the processes that `exec` started in it, if there are any. */
  processes?: number[];
}

/** The end of a process. */
export interface Exit {
  /** 0 to 255, or 128 + n after signal n. */
  status: number;
  /** Wall clock, milliseconds since 1970. */
  endedAt: number;
  /** Whether the kernel killed a process of it for want of memory; known with a cgroup only. */
  oom: boolean;
  /** Its number in the record on disk, for {@linkcode Stage2.acknowledge}; 0 if it is in none. */
  record: number;
}

/** Who is told what nobody asked for. */
export interface Listener {
  /**
   * Called once for each container that ends while we are connected; `list` tells of those
   * that ended before. When what it returns settles, the end counts as known for good.
   */
  onExit?(id: string, exit: Exit): void | Promise<void>;
  /** Called for each process of a client before us that ends; it is in no record. */
  onProcessExit?(id: string, pid: number, exit: Exit): void;
  /** Called with what belongs into a log: why the connection before this one was cut off. */
  onNotice?(text: string): void;
}

/** A container that was made, its command waiting. */
export interface Created {
  /** Of its init, on the host. */
  pid: number;
  /**
   * The master of its terminal if the plan wanted one; the caller closes it. With a log, what
   * comes out of it is the init's to read: see {@linkcode Stage2.attach}.
   */
  terminal?: Descriptor;
}

/** A process that runs in a container. */
export interface Executed {
  pid: number;
  terminal?: Descriptor;
  ended: Promise<Exit>;
}

/** Larger than every packet of the server. */
const packetSize = 4096;

/**
 * Starts a server that listens at `path` and does not die with us. It takes over the
 * containers of the one before it, if that has been killed.
 *
 * @param path A socket to be made, in a folder of ours. One that is left there is replaced.
 * @param state A folder for what the server has to know after it was killed, and for the
 * record of exits, which `readExits` of exits.ts reads. Only one server may have it.
 * @throws {KernelError} `step` is `socket` or `spawn`.
 */
export function startServer(kernel: Kernel, path: string, state: string): void {
  kernel.remove(path);
  const listener = kernel.listen(path);
  try {
    kernel.spawn({
      args: ["kurma-stage2"],
      env: { SPAWNER_INTERCEPT: "serve", SPAWNER_STATE: state },
      descriptors: [listener],
    });
  } finally {
    kernel.close(listener);
  }
}

/** A connection to the server. The newest one counts: an older one is cut off. */
export class Stage2 implements Disposable {
  readonly #kernel: Kernel;
  readonly #socket: Descriptor;
  readonly #listener: Listener;
  readonly #waiting = new Map<bigint, Waiting>();
  /** Ends are acknowledged in order: the acknowledgement of one holds for those before it. */
  #ends: Promise<void> = Promise.resolve();
  #acknowledges = true;
  #sequence = 0n;
  #closed = false;
  readonly #gone = Promise.withResolvers<void>();
  /** Settles when the connection is closed, by either end, before requests fail of it; never rejects. */
  readonly closed: Promise<void> = this.#gone.promise;

  /**
   * Connects to the server at `path`.
   *
   * @throws {KernelError} `step` is `socket`: no server listens there.
   */
  constructor(kernel: Kernel, path: string, listener: Listener = {}) {
    this.#kernel = kernel;
    this.#socket = kernel.connect(path);
    this.#listener = listener;
    this.#listen();
  }

  /** Whether nothing can be asked any more. */
  get isClosed(): boolean {
    return this.#closed;
  }

  /**
   * Makes a container: everything but its command's exec, which `start` lets happen.
   *
   * @param stage1 A socket for the command to inherit, with a plan that says `stage1`; copied.
   * @throws {KernelError} nothing of it is left.
   */
  create(plan: Plan, streams: Streams, stage1?: Descriptor): Promise<Created> {
    return this.#make("create", plan, streams, stage1);
  }

  /**
   * As `create` and `start`, in one request.
   *
   * @throws {KernelError} nothing of it is left; `step` is `exec` when the command cannot be run.
   */
  run(plan: Plan, streams: Streams, stage1?: Descriptor): Promise<Created> {
    return this.#make("run", plan, streams, stage1);
  }

  async #make(
    operation: "create" | "run",
    plan: Plan,
    streams: Streams,
    stage1?: Descriptor,
  ): Promise<Created> {
    const argument = plan.config.linux.uidMappings?.[0].hostID;
    const descriptors = [...streams ?? [], ...stage1 === undefined ? [] : [stage1]];
    const options = { plan, descriptors, argument };
    const { pid, terminal } = await this.#request(operation, plan.kurma.id, options);
    return { pid, terminal };
  }

  /**
   * Makes what any container has, for one that is about to be created: the namespaces and the
   * cgroup, where moving a process takes the kernel a while. Worth it for whoever knows the id
   * ahead of the plan. `delete` undoes it, and so does the end of the connection.
   *
   * @param firstId The first id of the host that the container is going to have.
   * @param plan What it is expected to be: all is made but what its command executes. A
   * `create` or `run` that has streams, or whose plan differs in more than the command's words,
   * its environment and the host name, fails with step `plan` and ESTALE, and nothing is left.
   * @throws {KernelError} `errno` is EAGAIN: 16 are prepared already; with a plan, why it cannot
   * be made, with EOPNOTSUPP because it wants other namespaces, devices, hooks, a terminal, a
   * socket to stage1, or a filter of its own.
   */
  async prepare(id: string, firstId: number, plan?: Plan): Promise<void> {
    await this.#request("prepare", id, { argument: firstId, plan });
  }

  /**
   * Lets the command of a created container run.
   *
   * @throws {KernelError} `step` is `exec` when the command cannot be run: the container is gone.
   */
  async start(id: string): Promise<void> {
    await this.#request("start", id);
  }

  /**
   * Starts a further process in a container that runs, or whose command waits for `start`.
   * Its end is not told any more once the connection is closed: `ended` rejects then.
   */
  async exec(plan: ExecPlan, streams: Streams): Promise<Executed> {
    const { promise, resolve, reject } = Promise.withResolvers<Exit>();
    promise.catch(() => {}); // Who does not wait for the end need not hear of it.
    const options = { plan, descriptors: streams ?? [], ended: resolve, lost: reject };
    const answer = await this.#request("exec", plan.kurma.id, options);
    return { pid: answer.pid, terminal: answer.terminal, ended: promise };
  }

  /** Sends a signal to the container's main process, or to `process` that `exec` started. */
  async signal(id: string, number: number, process = 0): Promise<void> {
    await this.#request("signal", id, { argument: number, process });
  }

  /** Ends every process of the container, or `process` alone that `exec` started. */
  async kill(id: string, process = 0): Promise<void> {
    await this.#request("kill", id, { process });
  }

  /**
   * Sees what the main process prints from now on, beside its log. Whoever takes nothing for
   * 10 s is cut off; it may attach again.
   *
   * @param outputs Where stdout and stderr go, or one for both: writing ends of pipes or
   * sockets, which become non-blocking. Copied. None: only the input is wanted.
   * @param process A process that `exec` started; for it, the answer is its terminal.
   * @returns Where its input can be written to, if the plan says `stdin`, else the master of
   * its terminal, else undefined. The caller closes it; others may have copies.
   * @throws {KernelError} `errno` is EOPNOTSUPP: it has no log, and outputs are wanted.
   */
  async attach(
    id: string,
    outputs: readonly Descriptor[] = [],
    process = 0,
  ): Promise<Descriptor | undefined> {
    const answer = await this.#request("attach", id, { descriptors: outputs, process });
    return answer.terminal;
  }

  /**
   * Lets the main process see the end of its input, once all who attached have closed theirs.
   * What a terminal reads has no end.
   */
  async closeInput(id: string): Promise<void> {
    await this.#request("close_input", id);
  }

  /**
   * Gives a terminal another size; its processes hear SIGWINCH.
   *
   * @throws {KernelError} `errno` is ENOTTY: there is no terminal.
   */
  async resize(id: string, size: { rows: number; columns: number }, process = 0): Promise<void> {
    const argument = size.rows * 65_536 + size.columns;
    await this.#request("resize", id, { argument, process });
  }

  /**
   * What the container uses now.
   *
   * @throws {KernelError} `errno` is EOPNOTSUPP: it has no cgroup.
   */
  async stats(id: string): Promise<Stats> {
    const { view } = await this.#request("stats", id);
    return statsAt(view, Reply.subject);
  }

  /**
   * Changes limits of a container that has a cgroup; those not given stay as they are.
   *
   * @param cgroup What its id begins with before a slash: those of all containers there.
   * @throws {KernelError} `step` is `limit`; those before it in the list are changed.
   */
  async update(id: string, resources: Resources, cgroup = id): Promise<void> {
    await this.#request("update", id, { plan: { kurma: { id: cgroup }, resources } });
  }

  /** Stops all processes of a container that has a cgroup. */
  async freeze(id: string): Promise<void> {
    await this.#request("freeze", id);
  }

  /** Lets the processes of a frozen container go on. */
  async thaw(id: string): Promise<void> {
    await this.#request("thaw", id);
  }

  /**
   * Forgets a container that has ended; when this settles, its cgroup is gone.
   *
   * @param begun Whether one that the server does not know may have been begun by another,
   * which was killed: then what that left of it goes, and there being nothing is success.
   * @throws {KernelError} `errno` is EBUSY: it has not ended; ENOENT: it is not known.
   */
  async delete(id: string, begun = false): Promise<void> {
    await this.#request("delete", id, { argument: begun ? 1 : 0 });
  }

  /** All containers that the server knows. */
  async list(): Promise<ContainerState[]> {
    const listed: ContainerState[] = [];
    await this.#request("list", "", { listed });
    return listed;
  }

  /**
   * Says that all ends up to this one are known for good: they need not stay on disk. Those
   * that `onExit` is told are acknowledged by themselves.
   *
   * @param record The highest {@linkcode Exit.record} that is known.
   */
  async acknowledge(record: number): Promise<void> {
    await this.#request("acknowledge", "", { argument: record });
  }

  /**
   * Ends the server. The connection is closed with it.
   *
   * @throws {KernelError} `errno` is EBUSY: there are containers that have not ended.
   */
  async quit(): Promise<void> {
    await this.#request("quit", "");
  }

  /** Cuts the connection; containers go on. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#kernel.hangUp(this.#socket);
  }

  /** Tells of an end at once, and acknowledges it when it and those before it are known. */
  #end(id: string, exit: Exit): void {
    const known = Promise.try(() => this.#listener.onExit?.(id, exit));
    known.catch(() => {}); // Told below, in its turn.
    this.#ends = this.#ends.then(async () => {
      try {
        await known;
        if (this.#acknowledges && exit.record > 0) await this.acknowledge(exit.record);
      } catch (error) {
        // It stays on disk, and so does all that follows it.
        if (this.#acknowledges && !this.#closed) {
          this.#listener.onNotice?.(`Cannot take note of the end of ${id}: ${error}`);
        }
        this.#acknowledges = false;
      }
    });
  }

  #request(
    operation: typeof Request_operation[number],
    id: string,
    options: RequestOptions = {},
  ): Promise<Answer> {
    if (this.#closed) return Promise.reject(closedByServer());
    const name = new TextEncoder().encode(id);
    if (name.length >= Request.size - Request.id) {
      throw new KurmaError("invalid", `Cannot use "${id}" as a container's id: it is too long`);
    }
    const packet = new Uint8Array(Request.size);
    const view = new DataView(packet.buffer);
    const sequence = ++this.#sequence;
    view.setBigUint64(Request.sequence, sequence, true);
    view.setUint32(Request.operation, Request_operation.indexOf(operation), true);
    view.setInt32(Request.process, options.process ?? 0, true);
    view.setBigUint64(Request.argument, BigInt(options.argument ?? 0), true);
    packet.set(name, Request.id);
    const waiting = Promise.withResolvers<Answer>();
    this.#waiting.set(sequence, { ...waiting, ...options });
    try {
      this.#send(packet, options);
    } catch (error) {
      // The other end is closed. That is read in a moment, and then told to all who wait.
      if (isErrno(error, "EPIPE", "ECONNRESET")) return waiting.promise;
      this.#waiting.delete(sequence);
      throw error;
    }
    return waiting.promise;
  }

  #send(packet: Uint8Array, { plan, descriptors = [] }: RequestOptions): void {
    if (!plan) return this.#kernel.send(this.#socket, packet, descriptors);
    const text = new TextEncoder().encode(JSON.stringify(plan));
    this.#kernel.sendFile(this.#socket, packet, text, descriptors);
  }

  async #listen(): Promise<void> {
    let cause: unknown = closedByServer();
    try {
      while (!this.#closed) {
        const packet = await this.#kernel.receive(this.#socket, packetSize);
        if (!packet) break;
        this.#hear(new DataView(packet.bytes.buffer, packet.bytes.byteOffset), packet.descriptors);
      }
    } catch (error) {
      cause = error;
    }
    this.#closed = true; // Before the number of the socket may be another's.
    this.#kernel.close(this.#socket);
    this.#gone.resolve();
    for (const { reject, lost } of this.#waiting.values()) {
      reject(cause);
      lost?.(cause);
    }
    this.#waiting.clear();
  }

  #hear(view: DataView, descriptors: Descriptor[]): void {
    const sequence = view.getBigUint64(Reply.sequence, true);
    const waiting = this.#waiting.get(sequence);
    const kind = Reply_kind[view.getUint32(Reply.kind, true)];
    if (kind === "exited" && sequence === 0n) {
      const { id, exit } = containerState(view);
      const process = view.getInt32(Reply.process, true);
      if (exit && process !== 0) this.#listener.onProcessExit?.(id, process, exit);
      else if (exit) this.#end(id, exit);
      return;
    }
    if (kind === "notice") {
      this.#listener.onNotice?.(subjectOf(view));
      return;
    }
    if (!waiting) { // Its caller gave up; what came with it is nobody's.
      for (const descriptor of descriptors) this.#kernel.close(descriptor);
      return;
    }
    switch (kind) {
      case "state":
        waiting.terminal = descriptors[0] ?? waiting.terminal;
        if (waiting.listed) addListed(waiting.listed, view);
        return;
      case "done":
        if (!waiting.ended) this.#waiting.delete(sequence);
        waiting.resolve({
          pid: view.getInt32(Reply.pid, true),
          terminal: waiting.terminal,
          view,
        });
        return;
      case "exited": {
        this.#waiting.delete(sequence);
        const { exit } = containerState(view);
        if (exit) waiting.ended?.(exit);
        return;
      }
      case "failed":
        this.#waiting.delete(sequence);
        waiting.reject(failure(view));
    }
  }
}

function closedByServer(): KurmaError {
  return new KurmaError("unavailable", "Cannot go on: the connection to stage2 is closed", {
    fix: "Try again: another one takes its place",
  });
}

interface RequestOptions {
  process?: number;
  argument?: number;
  plan?: Plan | ExecPlan | { kurma: { id: string }; resources: Resources };
  descriptors?: readonly Descriptor[];
  /** Takes what `list` is told. */
  listed?: ContainerState[];
  /** Takes the end of an exec. */
  ended?: (exit: Exit) => void;
  /** Is told that nobody will tell of the end. */
  lost?: (cause: unknown) => void;
}

interface Answer {
  pid: number;
  terminal?: Descriptor;
  /** The whole reply. */
  view: DataView;
}

interface Waiting extends RequestOptions {
  terminal?: Descriptor;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/** Notes what one reply to `list` says. A container comes before its processes. */
function addListed(listed: ContainerState[], view: DataView): void {
  const process = view.getInt32(Reply.process, true);
  const state = containerState(view);
  if (process === 0) {
    listed.push(state);
    return;
  }
  const container = listed.find(({ id }) => id === state.id);
  if (container) container.processes = [...container.processes ?? [], process];
}

function containerState(view: DataView): ContainerState {
  const id = textAt(view, Reply.id, Reply.oom - Reply.id).replace(/\0.*$/s, "");
  const named = Reply_state[view.getUint32(Reply.state, true)];
  const state = named === "none" ? "stopped" : named;
  const pid = view.getInt32(Reply.pid, true);
  if (state !== "stopped") return { id, state, pid };
  const wait = view.getUint32(Reply.status, true);
  const signal = wait & 0x7f;
  const exit = {
    status: signal ? 128 + signal : wait >> 8 & 0xff,
    endedAt: Number(view.getBigInt64(Reply.ended_ns, true) / 1_000_000n),
    oom: view.getUint32(Reply.oom, true) === 1,
    record: Number(view.getBigUint64(Reply.record, true)),
  };
  return { id, state, pid, exit };
}

function subjectOf(view: DataView): string {
  return textAt(view, Reply.subject, view.getUint32(Reply.subject_len, true));
}

/** A failure as an error: what is wrong with a plan, or with a hook, is told in words. */
function failure(view: DataView): KernelError | KurmaError {
  const subject = subjectOf(view);
  const error = kernelError(view, Reply.failure, subject);
  if (error.step === "hook" && error.errno === "ECANCELED") {
    return new KurmaError("kernel", subject);
  }
  if (error.step !== "plan" || error.errno !== "EINVAL") return error;
  return new KurmaError("invalid", `Cannot carry out the plan: ${subject}`);
}
