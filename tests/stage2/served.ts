/**
 * A stage2 server under test: {@linkcode serverTest} starts the compiled binary as one,
 * with a client of it, and expects it to end with nothing left.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { type Descriptor, KernelError } from "../../ffi/kernel.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { type ContainerState, type Exit, Stage2, type Streams } from "../../stage2/server.ts";
import type { ExecPlan, Plan, Resources } from "../../stage2/spec.ts";
import { planContainer } from "../../stage1/containers/plan.ts";
import { resolve } from "../../stage1/containers/resolve.ts";
import { bareConfig } from "../../stage1/images/image.ts";
import { assert, assertEquals } from "../assert.ts";
import { binary, root, test } from "../harness.ts";

export const guest = "/guest";

/** The first of the host's ids that a container has, unless it has the host's own. */
export const firstId = 0x7000_0000;

/** What a test decides about a container. */
export interface Wanted {
  cgroup?: boolean;
  resources?: Resources;
  terminal?: boolean;
  /** Whether root inside is root outside: for kernels that cannot map ids. */
  hostIds?: boolean;
  /** Instead of the image with the guest. */
  layer?: string;
  /** A folder for its log. */
  log?: string;
  /** Its input stays open. */
  stdin?: boolean;
  /** Its command gets a socket to stage1. */
  stage1?: boolean;
  stop?: { signal: number; limitMs: number };
}

/** How a server is started. */
export interface Start {
  /** The soft limit of its descriptors. */
  openFiles?: number;
  /** Instead of the binary under test. */
  program?: string;
  /** Added to its environment. */
  env?: Record<string, string>;
  /** A command that becomes it. */
  prefix?: readonly string[];
}

/** A server and the newest client of it. */
export class Served implements AsyncDisposable {
  readonly dir: string;
  #process: Deno.ChildProcess;
  readonly #how: Start;
  readonly #exits = new Map<string, PromiseWithResolvers<Exit>>();
  stage2!: Stage2;
  readonly notices: string[] = [];

  private constructor(dir: string, how: Start) {
    this.dir = dir;
    this.#how = how;
    this.#process = this.#spawn();
  }

  static async start(dir: string, how: Start = {}): Promise<Served> {
    for (const folder of ["proc", "dev", "sys", "etc"]) {
      await Deno.mkdir(`${dir}/image/${folder}`, { recursive: true });
    }
    await Deno.copyFile(`${root}/build/tools/guest`, `${dir}/image/guest`);
    const served = new Served(dir, how);
    await served.#ready();
    return served;
  }

  /** Starts another server in the place of one that was killed. */
  async restart(): Promise<void> {
    this.stage2[Symbol.dispose]();
    await Deno.remove(this.socket);
    this.#process = this.#spawn();
    await this.#ready();
  }

  #spawn(): Deno.ChildProcess {
    const { openFiles, prefix = [], program = binary, env } = this.#how;
    const limited = openFiles === undefined ? "" : `ulimit -Sn ${openFiles}; `;
    const serve = [...prefix, `${root}/build/tools/serve`, this.socket, program];
    return new Deno.Command("sh", {
      args: ["-c", `${limited}exec "$@"`, "sh", ...serve],
      env: { ...env, SPAWNER_STATE: this.dir },
      stdin: "null",
      stdout: "null",
    }).spawn();
  }

  async #ready(): Promise<void> {
    await until("the server's socket", async () => {
      return await refusal(Promise.try(() => this.connect())) === "done" || undefined;
    });
    // V8 is gone, and the server there, when the first list is answered.
    await this.stage2.list();
  }

  get socket(): string {
    return `${this.dir}/socket`;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /**
   * Connects anew; the client before it is cut off by the server. A forgetful one fails to
   * take note of ends.
   */
  connect({ forgetful = false } = {}): Stage2 {
    this.stage2 = new Stage2(kernel, this.socket, {
      onExit: (id, exit) => {
        this.#exit(id).resolve(exit);
        if (forgetful) throw new Error("forgotten");
      },
      onProcessExit: (_, pid, exit) => this.#exit(String(pid)).resolve(exit),
      onNotice: (text) => this.notices.push(text),
    });
    return this.stage2;
  }

  /** The plan that stage1 would make of `guest ARGS`; makes its scratch folder. */
  async plan(id: string, args: readonly string[], wanted: Wanted = {}): Promise<Plan> {
    const scratch = `${this.dir}/${id}`;
    // What a container wrote is of use to no other: the layer is volatile.
    if (await exists(scratch)) await Deno.remove(scratch, { recursive: true });
    for (const name of ["upper", "work"]) {
      await Deno.mkdir(`${scratch}/${name}`, { recursive: true });
    }
    const layers = [wanted.layer ?? `${this.dir}/image`];
    const { kurma, config } = planContainer(
      { id, layers, scratch, ...(wanted.hostIds ? {} : { firstId }) },
      resolve(bareConfig, {
        image: "guest",
        command: [guest, ...args],
        terminal: wanted.terminal ?? false,
      }),
    );
    return {
      kurma: {
        ...kurma,
        cgroup: wanted.cgroup ?? false,
        ...(wanted.log ? { log: { directory: wanted.log } } : {}),
        ...(wanted.stop ? { stop: wanted.stop } : {}),
        stdin: wanted.stdin ?? false,
        stage1: wanted.stage1 ?? false,
      },
      config: { ...config, linux: { ...config.linux, resources: wanted.resources } },
    };
  }

  /** Makes a container of `guest ARGS`, which waits. */
  async create(id: string, args: readonly string[], wanted: Wanted = {}): Promise<void> {
    await this.stage2.create(await this.plan(id, args, wanted), null);
  }

  /** Makes a container and lets it run. */
  async run(id: string, args: readonly string[], wanted: Wanted = {}): Promise<void> {
    await this.create(id, args, wanted);
    await this.stage2.start(id);
  }

  /** Starts `guest ARGS` in a container. */
  exec(id: string, args: readonly string[], streams: Streams = null, user = "0", terminal = false) {
    const process = { args: [guest, ...args], env: [], cwd: "/", terminal };
    const plan: ExecPlan = { kurma: { id, user }, process };
    return this.stage2.exec(plan, streams);
  }

  /** How the container ended, once it has. */
  ended(id: string): Promise<Exit> {
    return within(`the end of ${id}`, this.#exit(id).promise);
  }

  /** How a process of an earlier client ended, once it has. */
  processEnded(pid: number): Promise<Exit> {
    return this.ended(String(pid));
  }

  async find(id: string): Promise<ContainerState | undefined> {
    return (await this.stage2.list()).find((container) => container.id === id);
  }

  /** Kills a container that may have ended, waits for its end and forgets it. */
  async remove(id: string): Promise<void> {
    const { state } = await this.find(id) ?? {};
    if (state !== "stopped") {
      await this.stage2.kill(id);
      await this.ended(id);
    }
    this.#exits.delete(id);
    await this.stage2.delete(id);
  }

  signal(name: Deno.Signal): void {
    this.#process.kill(name);
  }

  /** Ends the server with `kill -9`, and waits until it is gone. */
  async killServer(): Promise<void> {
    this.signal("SIGKILL");
    await this.#process.status;
  }

  /** Ends the server, which has nothing left to look after. */
  async quit(): Promise<void> {
    assertEquals(await this.stage2.list(), []);
    await this.stage2.quit();
    await within("the server's end", this.#process.status);
  }

  /** After a test that failed, everything is still there. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.stage2[Symbol.dispose]();
    const left = childrenOf(this.pid);
    if (left === undefined) return;
    for (const pid of left) Deno.kill(pid, "SIGKILL");
    await this.killServer();
  }

  #exit(id: string): PromiseWithResolvers<Exit> {
    const known = this.#exits.get(id);
    if (known) return known;
    const made = Promise.withResolvers<Exit>();
    this.#exits.set(id, made);
    return made;
  }
}

/** A test with a server of its own, which has to end with nothing left. */
export function serverTest(
  name: string,
  body: (server: Served) => Promise<void>,
  openFiles?: number,
): void {
  test(`stage2 server: ${name}`, async ({ dir }) => {
    await using server = await Served.start(dir, { openFiles });
    await body(server);
    await server.quit();
  });
}

/** What a container writes to its 1 and 2. */
export class Output implements Disposable {
  readonly #file: Descriptor = kernel.memfd("output", new Uint8Array(), "shared");

  get streams(): Streams {
    return [this.#file, this.#file, this.#file];
  }

  get text(): string {
    return Deno.readTextFileSync(`/proc/self/fd/${this.#file}`);
  }

  [Symbol.dispose](): void {
    kernel.close(this.#file);
  }
}

/** Why `promise` fails: `step ERRNO` of the kernel's answers, the message of others. */
export async function refusal(promise: Promise<unknown>): Promise<string> {
  try {
    await within("the answer", promise);
  } catch (error) {
    if (error instanceof KernelError) return `${error.step} ${error.errno}`;
    if (error instanceof KurmaError) return error.message;
    throw error;
  }
  return "done";
}

/** Fails when `promise` has not settled after 20 s. */
export async function within<Value>(what: string, promise: Promise<Value>): Promise<Value> {
  let timer = 0;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited 20 s for ${what}`)), 20_000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Looks again and again until there is something; 20 s at most. */
export async function until<Value>(
  what: string,
  look: () => Promise<Value | undefined> | Value | undefined,
): Promise<Value> {
  const deadline = performance.now() + 20_000;
  while (true) {
    const seen = await look();
    if (seen !== undefined) return seen;
    assert(performance.now() < deadline, `Waited 20 s for ${what}`);
    await pause(10);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Waits until nothing of a container is left that failed. */
export async function gone(server: Served, id: string): Promise<void> {
  await until(`${id} to be gone`, async () => {
    const left = [await server.find(id), ...await cgroupFolders(id)];
    return left.filter(Boolean).length === 0 || undefined;
  });
}

/** As many ids of containers. */
export function names(amount: number): string[] {
  return Array.from({ length: amount }, (_, index) => `c${index}`);
}

/** The pids of a process's children; undefined if it is gone. */
export function childrenOf(pid: number): number[] | undefined {
  try {
    const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
    return text.split(" ").filter(Boolean).map(Number);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The folders of a container's cgroup, in all hierarchies that are mounted. */
export async function cgroupFolders(id: string): Promise<string[]> {
  const found: string[] = [];
  for (const line of (await Deno.readTextFile("/proc/self/mountinfo")).split("\n")) {
    if (!/ - cgroup2? /.test(line)) continue;
    const target = line.split(" ")[4];
    // In version 2, the group of the tests (tests/isolated) is one below the topmost.
    for (const folder of [`${target}/kurma/${id}`, `${target}/tests/kurma/${id}`]) {
      if (await exists(folder)) found.push(folder);
    }
  }
  return found;
}

/** What the file of that name in the container's cgroup says. */
export async function cgroupValue(id: string, name: string): Promise<string | undefined> {
  for (const folder of await cgroupFolders(id)) {
    if (await exists(`${folder}/${name}`)) {
      return (await Deno.readTextFile(`${folder}/${name}`)).trim();
    }
  }
}
