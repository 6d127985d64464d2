/**
 * A stage2 server under measurement: what a container costs when the daemon asks for it.
 *
 * @module
 */

import { kernel } from "../ffi/mod.ts";
import { type Exit, Stage2 } from "../stage2/server.ts";
import { planContainer } from "../stage1/containers/plan.ts";
import { resolve } from "../stage1/containers/resolve.ts";
import { bareConfig } from "../stage1/images/image.ts";
import type { ExecPlan, Plan } from "../stage2/spec.ts";

/** Ids of the host: as many for each container as a user namespace has by default. */
const firstId = 0x4000_0000;
const idRange = 65_536;

/** From the request until the command's exec, and until it has ended. */
export interface Times {
  exec_us: number;
  exit_us: number;
}

/** A server and the containers that are measured; each has a cgroup and a network of its own. */
export class Server implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #stage2: Stage2;
  readonly #exits = new Map<string, (exit: Exit) => void>();
  #count = 0;

  private constructor(
    process: Deno.ChildProcess,
    socket: string,
    private readonly dir: string,
    private readonly layer: string,
  ) {
    this.#process = process;
    this.#stage2 = new Stage2(kernel, socket, {
      onExit: (id, exit) => this.#exits.get(id)?.(exit),
    });
  }

  /** Starts `program` as the server; what it needs on disk goes below `dir`. */
  static async start(tools: string, program: string, dir: string, layer: string): Promise<Server> {
    const socket = `${dir}/stage2.sock`;
    const state = `${dir}/stage2`;
    await Deno.mkdir(state);
    const process = new Deno.Command(`${tools}/serve`, {
      args: [socket, program],
      env: { SPAWNER_STATE: state },
      stdin: "null",
      stdout: "null",
    }).spawn();
    // V8 is gone, and the server there, when the first list is answered.
    await untilThere(socket);
    const server = new Server(process, socket, dir, layer);
    await server.#stage2.list();
    return server;
  }

  /** Of the server. */
  get pid(): number {
    return this.#process.pid;
  }

  /**
   * One container, run in one request as the daemon does it: `made` ahead but for its command,
   * or `prepared`, before anything is known of it; or `plain`: created and started by two
   * requests, with nothing ahead.
   */
  async run(command: readonly string[], ahead: "made" | "prepared" | "plain"): Promise<Times> {
    const container = await this.#container(command);
    const { id, plan } = container;
    const plain = ahead === "plain";
    if (!plain) {
      await this.#stage2.prepare(id, container.firstId, ahead === "made" ? plan : undefined);
    }

    const before = performance.now();
    if (plain) {
      await this.#stage2.create(plan, null);
      await this.#stage2.start(id);
    } else await this.#stage2.run(plan, null);
    const started = performance.now();
    const { status } = await container.ended;
    const exited = performance.now();

    await this.#forget(id);
    if (status !== 0) throw new Error(`${command.join(" ")} exited ${status} under the server`);
    return { exec_us: microseconds(started - before), exit_us: microseconds(exited - before) };
  }

  /** A container that runs on; returns its id, for `exec` and `end`. */
  async keep(command: readonly string[]): Promise<Kept> {
    const { id, plan, ended } = await this.#container(command);
    const { pid } = await this.#stage2.run(plan, null);
    return { id, pid, ended };
  }

  /** A further process in a container that runs. */
  async exec({ id }: Kept, command: readonly string[]): Promise<Times> {
    const process = { args: [...command], env: [], cwd: "/", terminal: false };
    const plan: ExecPlan = { kurma: { id, user: "0" }, process };
    const before = performance.now();
    const { ended } = await this.#stage2.exec(plan, null);
    const started = performance.now();
    await ended;
    const exited = performance.now();
    return { exec_us: microseconds(started - before), exit_us: microseconds(exited - before) };
  }

  /** Kills a container and waits until nothing of it is left: microseconds. */
  async end({ id, ended }: Kept): Promise<number> {
    const before = performance.now();
    await this.#stage2.kill(id);
    await ended;
    await this.#stage2.delete(id);
    const gone = performance.now();
    this.#exits.delete(id);
    await Deno.remove(`${this.dir}/${id}`, { recursive: true });
    return microseconds(gone - before);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stage2.quit();
    this.#stage2[Symbol.dispose]();
    await this.#process.status;
  }

  async #container(command: readonly string[]) {
    const number = this.#count++;
    const id = `bench-${number}`;
    const scratch = `${this.dir}/${id}`;
    for (const name of ["upper", "work"]) {
      await Deno.mkdir(`${scratch}/${name}`, { recursive: true });
    }
    const { promise: ended, resolve: end } = Promise.withResolvers<Exit>();
    this.#exits.set(id, end);
    // The daemon gives a range to the next container when it is free again.
    const first = firstId + (number % 16) * idRange;
    const place = { id, layers: [this.layer], scratch, firstId: first };
    const plan = planContainer(place, resolve(bareConfig, { image: "bench", command }));
    const withCgroup: Plan = { ...plan, kurma: { ...plan.kurma, cgroup: true } };
    return { id, plan: withCgroup, firstId: first, ended };
  }

  async #forget(id: string): Promise<void> {
    this.#exits.delete(id);
    await this.#stage2.delete(id);
    await Deno.remove(`${this.dir}/${id}`, { recursive: true });
  }
}

/** A container that runs. */
export interface Kept {
  id: string;
  /** Of its init. */
  pid: number;
  ended: Promise<Exit>;
}

function microseconds(ms: number): number {
  return Math.round(ms * 1000);
}

/** Waits for a server's socket; 10 s at most. */
async function untilThere(path: string): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (true) {
    try {
      await Deno.stat(path);
      return;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound) || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
