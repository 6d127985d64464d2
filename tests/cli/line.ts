/**
 * The command line of a daemon, as whole processes.
 *
 * @module
 */

import { assertEquals, assertMatch } from "../assert.ts";
import { binary, type Output, run, Running, type RunOptions } from "../harness.ts";
import type { Kurmad } from "../kurmad/daemon.ts";

/** The command line of one daemon. */
export class Line {
  constructor(readonly kurmad: Kurmad) {}

  /** The daemon, and a home of its own for what the command line keeps. */
  #env() {
    const { dir, api } = this.kurmad;
    return { KURMA_HOST: api.host, HOME: dir, XDG_CONFIG_HOME: `${dir}/.config` };
  }

  /** Runs a command to its end, whatever that is. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Output> {
    const env = { ...this.#env(), ...options.env };
    return run([binary, ...args], { cwd: this.kurmad.dir, ...options, env });
  }

  /** Starts a command. */
  start(args: readonly string[], options: RunOptions = {}): Running {
    const env = this.#env();
    return new Running([binary, ...args], { ...options, env });
  }

  /** Runs a command that is to succeed silently; what it printed, without the last line end. */
  async says(args: readonly string[], options?: RunOptions): Promise<string> {
    const { status, stdout, stderr } = await this.run(args, options);
    assertEquals([status, stderr], [0, ""], args.join(" "));
    return stdout.trimEnd();
  }

  /** Runs a command that is to fail with `status`. */
  async fails(status: number, message: RegExp, args: readonly string[]): Promise<void> {
    const output = await this.run(args);
    assertMatch(output.stderr, message);
    assertEquals([output.status, output.stdout], [status, ""], args.join(" "));
  }

  /** Runs a script with `kurma` in its PATH; what it printed. */
  async script(text: string, options: RunOptions = {}): Promise<Output> {
    const bin = `${this.kurmad.dir}/bin`;
    await Deno.mkdir(bin, { recursive: true });
    await Deno.remove(`${bin}/kurma`).catch(() => undefined);
    await Deno.symlink(binary, `${bin}/kurma`);
    const env = {
      ...this.#env(),
      ...{ IMAGE: this.kurmad.image, PATH: `${bin}:/usr/bin:/bin:/usr/sbin:/sbin` },
    };
    return await run(["/bin/sh", "-euc", text], { cwd: this.kurmad.dir, ...options, env });
  }

  /** Makes a container of a shell script and starts it. */
  async started(name: string, script: string, ...flags: string[]): Promise<void> {
    const { image } = this.kurmad;
    await this.says([
      ...["create", "--start", "--name", name, "--stop-timeout", "2s", ...flags, image],
      ...["sh", "-c", script],
    ]);
  }

  async json(...args: string[]) {
    return JSON.parse(await this.says([...args, "--output", "json"]));
  }
}
