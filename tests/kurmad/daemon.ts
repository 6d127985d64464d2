/**
 * kurmad under test: the compiled binary as the daemon, with a client of its API, and
 * nothing left when it ends.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { ApiClient } from "../../stage1/api/client.ts";
import { Stage2 } from "../../stage2/server.ts";
import { assertEquals } from "../assert.ts";
import { binary, Running, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { exists, until, within } from "../stage2/served.ts";

/** A daemon, which may be killed and started again. */
export class Kurmad implements AsyncDisposable {
  #process: Running;
  readonly api: ApiClient;

  private constructor(
    readonly dir: string,
    /** An image with busybox, by its id. */
    readonly image: string,
    /** How it is configured, beside its folders. */
    readonly flags: readonly string[],
  ) {
    this.api = new ApiClient(`${dir}/kurma.sock`);
    this.#process = this.#spawn();
  }

  static async start(dir: string, flags: readonly string[] = []): Promise<Kurmad> {
    const { oci } = await images();
    const kurmad = new Kurmad(dir, oci, flags);
    await kurmad.ready();
    return kurmad;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Waits until the API answers; how many ms that took. */
  async ready(): Promise<number> {
    const begun = performance.now();
    await until("an answer of kurmad", async () => {
      if (!await exists(`${this.dir}/kurma.sock`)) return undefined;
      return await this.api.call("System", "Ping", {}).then(() => true, () => undefined);
    });
    return performance.now() - begun;
  }

  /** Ends it with `kill -9`, and starts another; how many ms until that one answered. */
  async killed(): Promise<number> {
    this.signal("SIGKILL");
    await this.#process.output;
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

  /** The pid of the server that makes containers. */
  stage2Pid(): number {
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

  /** Removes all that there is, and ends everything. */
  async quit(): Promise<void> {
    for (const { id } of (await this.api.call("Pods", "List", {})).pods ?? []) {
      await this.api.call("Pods", "Remove", { pod: id, force: true });
    }
    for (const { id } of (await this.api.call("Containers", "List", {})).containers ?? []) {
      await this.api.call("Containers", "Remove", { container: id, force: true });
    }
    await this.#stop();
    using stage2 = new Stage2(kernel, `${this.dir}/state/stage2/socket`);
    await until("nothing left at stage2", async () => {
      return (await stage2.list()).length === 0 || undefined;
    });
    const pid = this.stage2Pid();
    await stage2.quit();
    await until("the end of stage2", async () => !await exists(`/proc/${pid}`) || undefined);
  }

  /** After a test that failed, everything is still there. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!await exists(`${this.dir}/state/stage2/socket`)) return;
    const own = Deno.pid;
    for (const { name } of Deno.readDirSync("/proc")) {
      // All others in this world are ours; the shell that made it is the first.
      if (!/^\d+$/.test(name) || Number(name) === 1 || Number(name) === own) continue;
      const stat = await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "");
      if (!/^(kurma|init)/.test(stat) && !stat.startsWith(binary)) continue;
      try {
        Deno.kill(Number(name), "SIGKILL");
      } catch (error) {
        unlessGone(error);
      }
    }
  }

  #spawn(): Running {
    return new Running([
      binary,
      "daemon",
      `--state-directory=${this.dir}/state`,
      `--socket-path=${this.dir}/kurma.sock`,
      ...this.flags,
    ], { limitMs: 600_000 });
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

/** A test with a daemon of its own. */
export function kurmadTest(
  name: string,
  body: (kurmad: Kurmad) => Promise<void>,
  flags: readonly string[] = [],
): void {
  test(`kurmad: ${name}`, async ({ dir }) => {
    await using kurmad = await Kurmad.start(dir, flags);
    await body(kurmad);
    await kurmad.quit();
  });
}
