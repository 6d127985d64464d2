/**
 * A state folder under test, with a stage2 server and a manager in a process that may be
 * killed.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { Stage2 } from "../../stage2/server.ts";
import type { Container, Pod } from "../../stage1/containers/record.ts";
import type { Event } from "../../stage1/containers/events.ts";
import type { ContainerSpec, PodSpec } from "../../stage1/containers/spec.ts";
import { assert, assertEquals } from "../assert.ts";
import { binary, root as checkout, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { childrenOf, until, within } from "../stage2/served.ts";
import type { Operation } from "./worker.ts";

/** A refusal, as the worker tells it. */
export class Refusal extends Error {
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** The connection to a worker was lost: it was killed. */
export class Lost extends Error {}

/** A manager in a process. */
export class Worker {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #id = 0;
  /** Milliseconds that its start took. */
  readonly ready: Promise<number>;

  constructor(dir: string) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--no-check", `${checkout}/tests/kurmad/worker.ts`, dir],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    const ready = Promise.withResolvers<unknown>();
    this.#waiting.set(0, ready);
    this.ready = ready.promise as Promise<number>;
    this.#listen();
  }

  async call<Value>(operation: Operation, ...args: unknown[]): Promise<Value> {
    await this.ready;
    const id = ++this.#id;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    const line = new TextEncoder().encode(`${JSON.stringify({ id, operation, args })}\n`);
    this.#input.write(line).catch(() => waiting.reject(new Lost()));
    return await waiting.promise as Value;
  }

  /** Ends it with `kill -9`. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#input.close().catch((error) => assert(error instanceof Error));
  }

  /** Lets it end by itself. */
  async stop(): Promise<void> {
    await this.#input.close();
    assertEquals((await within("the worker's end", this.#child.status)).code, 0);
  }

  async #listen(): Promise<void> {
    let rest = "";
    for await (const chunk of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const { id, value, code, error } = JSON.parse(line);
        const waiting = this.#waiting.get(id);
        this.#waiting.delete(id);
        if (code === undefined) waiting?.resolve(value);
        else waiting?.reject(new Refusal(code, error));
      }
    }
    for (const { reject } of this.#waiting.values()) reject(new Lost());
  }
}

/** A state folder with a stage2 server, and the newest manager of it. */
export class Managed implements AsyncDisposable {
  readonly #stage2: Deno.ChildProcess;
  #worker: Worker;

  private constructor(
    readonly dir: string,
    /** An image with busybox. */
    readonly image: string,
    stage2: Deno.ChildProcess,
  ) {
    this.#stage2 = stage2;
    this.#worker = new Worker(dir);
  }

  static async start(dir: string, image: string): Promise<Managed> {
    await Deno.mkdir(`${dir}/stage2`);
    const stage2 = new Deno.Command(`${checkout}/build/tools/serve`, {
      args: [`${dir}/stage2/socket`, binary],
      env: { SPAWNER_STATE: `${dir}/stage2` },
      stdin: "null",
      stdout: "null",
    }).spawn();
    await until("stage2's socket", async () => {
      const found = await Deno.stat(`${dir}/stage2/socket`).catch(() => undefined);
      return found?.isSocket || undefined;
    });
    const managed = new Managed(dir, image, stage2);
    await managed.#worker.ready;
    return managed;
  }

  call<Value>(operation: Operation, ...args: unknown[]): Promise<Value> {
    return this.#worker.call(operation, ...args);
  }

  /** Makes a container of a shell script. */
  create(script: string, spec: Partial<ContainerSpec> = {}): Promise<Container> {
    const command = ["sh", "-c", script];
    return this.call("create", { image: this.image, command, stop: { limitMs: 2_000 }, ...spec });
  }

  /** Makes a container of a shell script and starts it. */
  async run(script: string, spec: Partial<ContainerSpec> = {}): Promise<Container> {
    const { id } = await this.create(script, spec);
    await this.call("start", id);
    return await this.get(id);
  }

  createPod(spec: PodSpec): Promise<Pod> {
    return this.call("createPod", spec);
  }

  get(name: string): Promise<Container> {
    return this.call("get", name);
  }

  list(): Promise<Container[]> {
    return this.call("list");
  }

  events(): Promise<Event[]> {
    return this.call("events");
  }

  /** Waits until a container's status is as wanted. */
  becomes(name: string, isWanted: (status: Container["status"]) => boolean): Promise<Container> {
    return until(`the wanted status of ${name}`, async () => {
      const container = await this.get(name);
      return isWanted(container.status) ? container : undefined;
    });
  }

  /** Kills the manager and starts another; returns how many ms that one took until it was ready. */
  async killed(afterMs = 0): Promise<number> {
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await this.#worker.kill();
    this.#worker = new Worker(this.dir);
    return await within("a new manager", this.#worker.ready);
  }

  /** Removes all that there is, and ends everything. */
  async quit(): Promise<void> {
    for (const { name, pod } of await this.list()) {
      if (pod === undefined) await this.call("remove", name);
    }
    await this.call("idle");
    await this.#worker.stop();
    using stage2 = new Stage2(kernel, `${this.dir}/stage2/socket`);
    const left = await until("nothing left at stage2", async () => {
      const states = await stage2.list();
      return states.length === 0 ? states : undefined;
    });
    assertEquals(left, []);
    for (const [folder, left] of [["containers", [".trash"]], ["containers/.trash", []]] as const) {
      assertEquals([...Deno.readDirSync(`${this.dir}/${folder}`)].map(({ name }) => name), left);
    }
    await stage2.quit();
    await within("stage2's end", this.#stage2.status);
  }

  /** After a test that failed, everything is still there. */
  async [Symbol.asyncDispose](): Promise<void> {
    const left = childrenOf(this.#stage2.pid);
    if (left === undefined) return;
    await this.#worker.kill().catch(() => undefined);
    for (const pid of left) Deno.kill(pid, "SIGKILL");
    this.#stage2.kill("SIGKILL");
    await this.#stage2.status;
  }
}

/** A test with a state folder of its own, which has to end with nothing left. */
export function managedTest(name: string, body: (managed: Managed) => Promise<void>): void {
  test(`manager: ${name}`, async ({ dir }) => {
    const { oci } = await images();
    await using managed = await Managed.start(dir, oci);
    await body(managed);
    await managed.quit();
  });
}
