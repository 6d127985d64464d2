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
import type { Plan } from "../stage2/spec.ts";

/** The first id of the host that every container here has. */
const firstId = 0x7000_0000;

/** A server with one container at a time. */
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
    const process = new Deno.Command(`${tools}/serve`, {
      args: [socket, program],
      stdin: "null",
      stdout: "null",
    }).spawn();
    // V8 is gone, and the server there, when the first list is answered.
    await untilThere(socket);
    const server = new Server(process, socket, dir, layer);
    await server.#stage2.list();
    return server;
  }

  /** Microseconds from the request until the command's exec, and until it has ended. */
  async run(command: readonly string[]): Promise<{ exec_us: number; exit_us: number }> {
    const id = `bench-${this.#count++}`;
    const scratch = `${this.dir}/${id}`;
    for (const name of ["upper", "work"]) {
      await Deno.mkdir(`${scratch}/${name}`, { recursive: true });
    }
    const { promise: ended, resolve } = Promise.withResolvers<Exit>();
    this.#exits.set(id, resolve);
    const plan = this.#plan(id, scratch, command);
    await this.#stage2.prepare(id, firstId);

    const before = performance.now();
    await this.#stage2.create(plan, null);
    await this.#stage2.start(id);
    const started = performance.now();
    const { status } = await ended;
    const exited = performance.now();

    this.#exits.delete(id);
    await this.#stage2.delete(id);
    await Deno.remove(scratch, { recursive: true });
    if (status !== 0) throw new Error(`${command.join(" ")} exited ${status} under the server`);
    return { exec_us: microseconds(started - before), exit_us: microseconds(exited - before) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stage2.quit();
    this.#stage2[Symbol.dispose]();
    await this.#process.status;
  }

  /** What `kurma run` would ask for. */
  #plan(id: string, scratch: string, command: readonly string[]): Plan {
    const place = { id, layers: [this.layer], scratch, firstId };
    return planContainer(place, resolve(bareConfig, { image: "floor", command }));
  }
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
