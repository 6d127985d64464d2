/**
 * kurmad under test: the compiled binary as the daemon, with a client of its API, and
 * nothing left when it ends.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { ApiClient } from "../../stage1/api/client.ts";
import type { ContainerSettingsJson, Event } from "../../stage1/api/kurma.gen.ts";
import { timestamp } from "../../stage1/api/messages.ts";
import { Stage2 } from "../../stage2/server.ts";
import { assert, assertEquals } from "../assert.ts";
import { binary, type Output, Running, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { exists, until, within } from "../stage2/served.ts";

/** How a daemon is started. */
export interface Start {
  /** Its socket; default: in its folder. */
  readonly socket?: string;
  /** How it is configured, beside its folders; `DIR` in them is the test's folder. */
  readonly flags?: readonly string[];
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** A command that becomes it. */
  readonly prefix?: readonly string[];
}

/** What a command in a container printed, and how it ended. */
export interface Executed {
  output: string;
  errorOutput: string;
  code: number;
}

/** A daemon, which may be killed and started again. */
export class Kurmad implements AsyncDisposable {
  #process: Running;
  /** The executable that is kurmad: another build may take over. */
  program = binary;
  readonly api: ApiClient;

  private constructor(
    readonly dir: string,
    /** An image with busybox, by its id. */
    readonly image: string,
    readonly how: Start,
  ) {
    this.api = new ApiClient(this.socket);
    this.#process = this.#spawn();
  }

  static async start(dir: string, how: Start = {}): Promise<Kurmad> {
    const { oci } = await images();
    const kurmad = new Kurmad(dir, oci, how);
    await kurmad.ready();
    return kurmad;
  }

  /** The path of its socket. */
  get socket(): string {
    return this.how.socket ?? `${this.dir}/kurma.sock`;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Waits until the API answers; how many ms that took. */
  async ready(): Promise<number> {
    const begun = performance.now();
    let ended: Output | undefined;
    this.#process.output.then((output) => (ended = output), () => undefined);
    await until("an answer of kurmad", async () => {
      assert(ended === undefined, `kurmad ended: ${ended?.stderr}`);
      if (!await exists(this.socket)) return undefined;
      return await this.api.call("System", "Ping", {}).then(() => true, () => undefined);
    });
    return performance.now() - begun;
  }

  /** Ends it with `kill -9`, and starts another; how many ms until that one answered. */
  async killed(): Promise<number> {
    await this.kill();
    return await this.again();
  }

  /** Ends it with `kill -9`. */
  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.#process.output;
  }

  /** Starts another in place of one that has ended; how many ms until that one answered. */
  async again(): Promise<number> {
    this.#process = this.#spawn();
    return await this.ready();
  }

  signal(name: Deno.Signal): void {
    this.#process.signal(name);
  }

  /** Lets it stop by itself, and starts another. */
  async restarted(): Promise<void> {
    await this.#stop();
    this.#process = this.#spawn();
    await this.ready();
  }

  /** All containers. */
  async list() {
    return (await this.api.call("Containers", "List", {})).containers ?? [];
  }

  /** Makes and starts a container of a shell script. */
  async run(name: string, script: string, settings: ContainerSettingsJson = {}): Promise<void> {
    await this.api.call("Containers", "Create", {
      name,
      image: this.image,
      start: true,
      settings: { command: ["sh", "-c", script], stopTimeout: "2s", ...settings },
    });
  }

  /** What a command in a container prints, and how it ends. */
  async exec(
    container: string,
    command: string[],
    { input, ...more }: { input?: string } & Record<string, unknown> = {},
  ): Promise<Executed> {
    using streams = await this.api.streams();
    const said = { output: "", errorOutput: "", code: -1 };
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    async function* requests() {
      const value = { container, command, openInput: input !== undefined, ...more };
      yield { message: { case: "start" as const, value } };
      if (input === undefined) return;
      yield { message: { case: "input" as const, value: new TextEncoder().encode(input) } };
      // Ending the stream means that the input ends.
    }
    for await (const { message } of streams.containers.exec(requests())) {
      if (message.case === "output") said.output += text(message.value);
      if (message.case === "errorOutput") said.errorOutput += text(message.value);
      if (message.case === "exited") said.code = message.value.code;
    }
    return said;
  }

  /** What happened behind that number, up to now. */
  async told(after = 0n): Promise<Event[]> {
    using streams = await this.api.streams();
    const events: Event[] = [];
    for await (const { event } of streams.events.watch({ after, until: timestamp(Date.now()) })) {
      if (event !== undefined) events.push(event);
    }
    return events;
  }

  /** The pid of the server that makes containers. */
  stage2Pid(): number {
    return stage2Pid();
  }

  /** Removes all that there is, and ends everything. */
  async quit(): Promise<void> {
    for (const { id } of (await this.api.call("Pods", "List", {})).pods ?? []) {
      await this.api.call("Pods", "Remove", { pod: id, force: true });
    }
    for (const { id } of await this.list()) {
      await this.api.call("Containers", "Remove", { container: id, force: true });
    }
    await this.#stop();
    await endStage2(`${this.dir}/state`);
  }

  /** After a test that failed, everything is still there. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!await exists(`${this.dir}/state/stage2/socket`)) return;
    const own = Deno.pid;
    for (const { name } of Deno.readDirSync("/proc")) {
      // All others in this world are ours; the shell that made it is the first.
      if (!/^\d+$/.test(name) || Number(name) === 1 || Number(name) === own) continue;
      const stat = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
      if (!/^(kurma|init)/.test(stat) && !stat.startsWith(this.program)) continue;
      try {
        Deno.kill(Number(name), "SIGKILL");
      } catch (error) {
        unlessGone(error);
      }
    }
  }

  #spawn(): Running {
    const { flags = [], env, prefix = [] } = this.how;
    const folders = [
      `--state-directory=${this.dir}/state`,
      `--socket-path=${this.socket}`,
    ];
    const others = flags.map((flag) => flag.replace("DIR", this.dir));
    return new Running([...prefix, this.program, "daemon", ...folders, ...others], {
      env,
      limitMs: 1_800_000,
    });
  }

  async #stop(): Promise<void> {
    this.signal("SIGTERM");
    const { status, stderr } = await within("kurmad's end", this.#process.output);
    assertEquals(status, 0, stderr);
  }
}

/** What ends while we look at it is no failure. */
function unlessGone(error: unknown): void {
  const gone = error instanceof Deno.errors.NotFound ||
    (error instanceof Error && "code" in error && error.code === "ESRCH");
  if (!gone) throw error;
}

/** The pid of the server that makes containers. */
function stage2Pid(): number {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const words = Deno.readTextFileSync(`/proc/${name}/cmdline`).split("\0");
      if (words[0] === "kurma-stage2") return Number(name);
    } catch (error) {
      unlessGone(error);
    }
  }
  throw new Error("There is no stage2");
}

/** Ends the server that a daemon with the state folder `state` leaves, once it has no containers. */
export async function endStage2(state: string): Promise<void> {
  using stage2 = new Stage2(kernel, `${state}/stage2/socket`);
  const left: string[] = [];
  await until("nothing left at stage2", async () => {
    left.splice(0, Infinity, ...(await stage2.list()).map(({ id, state }) => `${id} ${state}`));
    return left.length === 0 || undefined;
  }).catch((cause) => {
    throw new Error(`Left at stage2: ${left.join(", ")}`, { cause });
  });
  const pid = stage2Pid();
  await stage2.quit();
  await until("the end of stage2", async () => !await exists(`/proc/${pid}`) || undefined);
}

/** A test with a daemon of its own. */
export function kurmadTest(
  name: string,
  body: (kurmad: Kurmad) => Promise<void>,
  how: Start = {},
): void {
  test(`kurmad: ${name}`, async ({ dir }) => {
    await using kurmad = await Kurmad.start(dir, how);
    await body(kurmad);
    await kurmad.quit();
  });
}
