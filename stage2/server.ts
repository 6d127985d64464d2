/**
 * The stage2 server, seen from stage1: one process for the daemon's life that makes
 * containers, is their parent, and outlives us.
 *
 * @module
 */

import { Reply, Reply_kind, Reply_state, Request, Request_operation } from "../ffi/abi.gen.ts";
import { KurmaError } from "../ffi/errors.ts";
import type { Descriptor, Kernel, KernelError } from "../ffi/kernel.ts";
import { kernelError, textAt } from "./report.ts";
import type { ExecPlan, Plan } from "./spec.ts";

/** 0 to 2 of a process; null for the null device. All are copied. */
export type Streams = readonly [Descriptor, Descriptor, Descriptor] | null;

/** How far a container has come. */
export type State = "creating" | "created" | "running" | "stopped";

/** A container as the server knows it. */
export interface ContainerState {
  id: string;
  state: State;
  /** Of its init, on the host; 0 once it has ended. */
  pid: number;
  /** With state `stopped`: how it ended. */
  exit?: Exit;
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
  /** Called with what belongs into a log: why the connection before this one was cut off. */
  onNotice?(text: string): void;
}

/** A container that was made, its command waiting. */
export interface Created {
  /** Of its init, on the host. */
  pid: number;
  /** The master of its terminal if the plan wanted one; the caller closes it. */
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
  /** Settles when the connection is closed, by either end; never rejects. */
  readonly closed: Promise<void>;

  /**
   * Connects to the server at `path`.
   *
   * @throws {KernelError} `step` is `socket`: no server listens there.
   */
  constructor(kernel: Kernel, path: string, listener: Listener = {}) {
    this.#kernel = kernel;
    this.#socket = kernel.connect(path);
    this.#listener = listener;
    this.closed = this.#listen();
  }

  /**
   * Makes a container: everything but its command's exec, which `start` lets happen.
   *
   * @throws {KernelError} nothing of it is left.
   */
  async create(plan: Plan, streams: Streams): Promise<Created> {
    const argument = plan.config.linux.uidMappings?.[0].hostID;
    return await this.#request("create", plan.kurma.id, { plan, streams, argument });
  }

  /**
   * Lets the command of a created container run.
   *
   * @throws {KernelError} `step` is `exec` when the command cannot be run: the container is gone.
   */
  async start(id: string): Promise<void> {
    await this.#request("start", id);
  }

  /** Starts a further process in a running container. */
  async exec(plan: ExecPlan, streams: Streams): Promise<Executed> {
    const { promise, resolve } = Promise.withResolvers<Exit>();
    const answer = await this.#request("exec", plan.kurma.id, { plan, streams, ended: resolve });
    return { pid: answer.pid, terminal: answer.terminal, ended: promise };
  }

  /** Sends a signal to the container's main process. */
  async signal(id: string, number: number): Promise<void> {
    await this.#request("signal", id, { argument: number });
  }

  /** Ends every process of the container. */
  async kill(id: string): Promise<void> {
    await this.#request("kill", id);
  }

  /** Stops all processes of a container that has a cgroup. */
  async freeze(id: string): Promise<void> {
    await this.#request("freeze", id);
  }

  /** Lets the processes of a frozen container go on. */
  async thaw(id: string): Promise<void> {
    await this.#request("thaw", id);
  }

  /** Forgets a container that has ended; when this settles, its cgroup is gone. */
  async delete(id: string): Promise<void> {
    await this.#request("delete", id);
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
    view.setBigUint64(Request.argument, BigInt(options.argument ?? 0), true);
    packet.set(name, Request.id);
    const waiting = Promise.withResolvers<Answer>();
    this.#waiting.set(sequence, { ...waiting, ...options, pid: 0 });
    try {
      this.#send(packet, options);
    } catch (error) {
      this.#waiting.delete(sequence);
      throw error;
    }
    return waiting.promise;
  }

  #send(packet: Uint8Array, { plan, streams }: RequestOptions): void {
    if (!plan) return this.#kernel.send(this.#socket, packet);
    const text = new TextEncoder().encode(JSON.stringify(plan));
    const file = this.#kernel.memfd("plan", text, "data");
    try {
      this.#kernel.send(this.#socket, packet, [file, ...(streams ?? [])]);
    } finally {
      this.#kernel.close(file);
    }
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
    for (const { reject } of this.#waiting.values()) reject(cause);
    this.#waiting.clear();
  }

  #hear(view: DataView, descriptors: Descriptor[]): void {
    const sequence = view.getBigUint64(Reply.sequence, true);
    const waiting = this.#waiting.get(sequence);
    const kind = Reply_kind[view.getUint32(Reply.kind, true)];
    if (kind === "exited" && sequence === 0n) {
      const { id, exit } = containerState(view);
      if (exit) this.#end(id, exit);
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
        waiting.listed?.push(containerState(view));
        return;
      case "done":
        if (!waiting.ended) this.#waiting.delete(sequence);
        waiting.resolve({ pid: view.getInt32(Reply.pid, true), terminal: waiting.terminal });
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
  return new KurmaError("state", "Cannot go on: the connection to stage2 is closed");
}

interface RequestOptions {
  argument?: number;
  plan?: Plan | ExecPlan;
  streams?: Streams;
  /** Takes what `list` is told. */
  listed?: ContainerState[];
  /** Takes the end of an exec. */
  ended?: (exit: Exit) => void;
}

interface Answer {
  pid: number;
  terminal?: Descriptor;
}

interface Waiting extends RequestOptions, Answer {
  resolve(answer: Answer): void;
  reject(error: unknown): void;
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

/** A failure as an error: what is wrong with a plan is told in words. */
function failure(view: DataView): KernelError | KurmaError {
  const subject = subjectOf(view);
  const error = kernelError(view, Reply.failure, subject);
  if (error.step !== "plan" || error.errno !== "EINVAL") return error;
  return new KurmaError("invalid", `Cannot carry out the plan: ${subject}`);
}
