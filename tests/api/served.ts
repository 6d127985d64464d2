/**
 * The daemon of {@link ./daemon.ts} as a process of a test.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { mustRun, root, Running, type RunOptions } from "../harness.ts";

export class Served implements AsyncDisposable {
  readonly socket: string;
  readonly #process: Running;
  #asked = 0;
  /** Of the service of the first Kurma, on 127.0.0.1. */
  readonly port: number;

  private constructor(socket: string, process: Running, port: number) {
    this.socket = socket;
    this.#process = process;
    this.port = port;
  }

  static async start(folder: string): Promise<Served> {
    const daemon = `${root}/tests/api/daemon.ts`;
    const process = new Running(
      [Deno.execPath(), "run", "-A", "--v8-flags=--expose-gc", daemon, folder],
      { limitMs: 120_000 },
    );
    const [, port] = await process.says(/^ready (\d+)$/m);
    return new Served(`${folder}/kurma.sock`, process, Number(port));
  }

  /** Waits for a line that the daemon says. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return await this.#process.says(pattern);
  }

  /** Bytes that are in use in it, garbage left out. */
  async live(): Promise<number> {
    this.#asked++;
    this.#process.signal("SIGUSR1");
    const said = await this.says(new RegExp(`(?:\\{"live":[^]*){${this.#asked}}\\n`));
    return Number(/^(\d+)/.exec(said[0].split('{"live":')[this.#asked])?.[1]);
  }

  /** Memory it takes, in bytes. */
  memory(): number {
    const status = Deno.readTextFileSync(`/proc/${this.#process.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  }

  /** Its open descriptors. */
  descriptors(): number {
    return [...Deno.readDirSync(`/proc/${this.#process.pid}/fd`)].length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.signal("SIGTERM");
    const { status, stdout, stderr } = await this.#process.output;
    assert(status === 0 && stderr === "", `the daemon exited ${status}: ${stderr}`);
    const bug = stdout.split("\n").find((line) =>
      line.startsWith('{"bug"') && !line.includes("deliberate")
    );
    assert(bug === undefined, `a bug of the daemon: ${bug}`);
  }
}

/** Runs `curl` on a socket, and returns the status and what came. */
export async function curl(
  socket: string,
  path: string,
  json?: unknown,
  more: readonly string[] = [],
): Promise<{ status: number; body: string }> {
  const said = await mustRun([
    ...["curl", "-sS", "--max-time", "20", "--unix-socket", socket, "-w", "\n%{http_code}"],
    ...(json === undefined
      ? []
      : ["-H", "content-type: application/json", "-d", JSON.stringify(json)]),
    ...more,
    `http://kurma${path}`,
  ]);
  const end = said.lastIndexOf("\n");
  return { status: Number(said.slice(end + 1)), body: said.slice(0, end) };
}

/** Debian's Python, which has Debian's grpcio. */
export const python = "/usr/bin/python3";

/** All .proto files as one descriptor set, for clients that know none of them. */
export async function descriptors(path: string): Promise<void> {
  const buf = new URL(import.meta.resolve("@bufbuild/buf/bin/buf")).pathname;
  const options: RunOptions = {
    cwd: `${root}/stage1/api`,
    env: { BUF_CACHE_DIR: `${path}.cache` },
  };
  await mustRun([buf, "build", "--as-file-descriptor-set", "-o", `${path}#format=binpb`], options);
}
