/**
 * What whole-binary tests stand on: {@linkcode test} gives each one a temporary
 * folder and ways to run the compiled binary with a time limit, and afterwards
 * fails it by name for whatever it left on the machine.
 *
 * Run them through `make test`, or one file with
 * `tests/isolated deno test -A tests/run_test.ts`.
 *
 * @module
 */

import { assert } from "./assert.ts";
import { leftovers, removeCgroups, snapshot } from "./leaks.ts";

/** The checkout, without a slash at the end. */
export const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");

/** The binary under test. */
export const binary = `${root}/dist/kurma`;

/** `usual` times in `make test`, `soak` times in `make soak`. */
export function count(usual: number, soak: number): number {
  return Deno.env.has("KURMA_SOAK") ? soak : usual;
}

/** How a program ended. */
export interface Output {
  /** Its exit status; 128 + n if signal n ended it. */
  status: number;
  stdout: string;
  stderr: string;
}

/** How a program is started. */
export interface RunOptions {
  /** What it reads on stdin; nothing (/dev/null) if left out, a pipe kept open if `"open"`. */
  stdin?: string | "open";
  /** Added to the environment. */
  env?: Record<string, string>;
  cwd?: string;
  /** After this it is killed and the test fails. Default 30 s. */
  limitMs?: number;
}

/** A program that runs. */
export class Running {
  readonly #child: Deno.ChildProcess;
  readonly #command: string;
  readonly #readers: ReadableStreamDefaultReader<Uint8Array>[] = [];
  readonly #timer: number;
  #late = false;
  #ended = false;
  #stdout = "";
  #stderr = "";
  #heard: () => void = () => {};
  /** Settles when it has ended and its output is complete. */
  readonly output: Promise<Output>;

  constructor([program, ...args]: readonly string[], options: RunOptions = {}) {
    this.#command = [program, ...args].join(" ");
    this.#child = new Deno.Command(program, {
      args,
      cwd: options.cwd,
      env: options.env,
      stdin: options.stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#timer = setTimeout(() => {
      this.#late = true;
      if (!this.#ended) this.signal("SIGKILL");
      // What outlives the program may keep its output open for ever.
      for (const reader of this.#readers) reader.cancel().catch(brokenPipe);
    }, options.limitMs ?? 30_000);
    this.output = this.#run(options.stdin);
  }

  get pid(): number {
    return this.#child.pid;
  }

  signal(name: Deno.Signal): void {
    this.#child.kill(name);
  }

  /** Waits until stdout matches `pattern`, and returns the match. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    let ended = false;
    const end = this.output.then(() => (ended = true), () => (ended = true));
    while (true) {
      const match = pattern.exec(this.#stdout);
      if (match) return match;
      assert(!ended, `${this.#command} ended without saying ${pattern}: ${this.#said()}`);
      await Promise.race([end, new Promise<void>((resolve) => (this.#heard = resolve))]);
    }
  }

  /** Writes to its stdin, which was opened with `stdin: "open"`. */
  async write(text: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  async #run(stdin: string | undefined): Promise<Output> {
    const reading = Promise.all([
      this.#read(this.#child.stdout, (text) => (this.#stdout += text)),
      this.#read(this.#child.stderr, (text) => (this.#stderr += text)),
    ]);
    if (stdin !== undefined && stdin !== "open") {
      await this.write(stdin).catch(brokenPipe);
      await this.#child.stdin.close().catch(brokenPipe);
    }
    const { code } = await this.#child.status;
    this.#ended = true;
    if (stdin === "open") await this.#child.stdin.close().catch(brokenPipe);
    await reading;
    clearTimeout(this.#timer);
    assert(!this.#late, `${this.#command} or what it left did not end in time: ${this.#said()}`);
    return { status: code, stdout: this.#stdout, stderr: this.#stderr };
  }

  async #read(stream: ReadableStream<Uint8Array>, add: (text: string) => void) {
    const reader = stream.getReader();
    this.#readers.push(reader);
    const decoder = new TextDecoder();
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      add(decoder.decode(value, { stream: true }));
      this.#heard();
    }
  }

  #said(): string {
    return JSON.stringify({ stdout: this.#stdout, stderr: this.#stderr });
  }
}

/** A program may end before it has read what it was given. */
function brokenPipe(error: Error): void {
  if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
}

/** Runs a program to its end. */
export function run(command: readonly string[], options?: RunOptions): Promise<Output> {
  return new Running(command, options).output;
}

/** Runs a program that is to succeed, and returns what it printed. */
export async function mustRun(command: readonly string[], options?: RunOptions): Promise<string> {
  const { status, stdout, stderr } = await run(command, options);
  assert.equal(status, 0, `${command.join(" ")} exited ${status}: ${stderr}${stdout}`);
  return stdout;
}

/** What a test is given. */
export interface Scratch {
  /** A folder of its own, removed afterwards. */
  dir: string;
  /** Runs `dist/kurma` to its end. */
  kurma(args: readonly string[], options?: RunOptions): Promise<Output>;
  /** Starts `dist/kurma`. */
  start(args: readonly string[], options?: RunOptions): Running;
}

/**
 * A test of the whole binary. Everything it starts has to be gone when it ends; the
 * leak check names what is not.
 */
export function test(name: string, body: (scratch: Scratch) => Promise<void>): void {
  Deno.test(name, async () => {
    assert(
      Deno.env.has("KURMA_TEST_ISOLATED"),
      "Whole-binary tests run in a world of their own: tests/isolated deno test -A FILE",
    );
    const before = await snapshot();
    const dir = await Deno.makeTempDir({ prefix: "kurma-test-" });
    try {
      await body({
        dir,
        kurma: (args, options) => run([binary, ...args], options),
        start: (args, options) => new Running([binary, ...args], options),
      });
    } catch (error) {
      await removeCgroups(before);
      throw first(error);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
    assert.deepEqual(await leftovers(before), []);
  });
}

/** What failed before what was to be cleared up could not be, which says less. */
function first(error: unknown): unknown {
  return error instanceof SuppressedError ? first(error.suppressed) : error;
}

/** A test that this machine cannot run, counted and shown with its reason. */
export function skip(name: string, reason: string): void {
  Deno.test.ignore(`${name} (skipped: ${reason})`, () => {});
}
