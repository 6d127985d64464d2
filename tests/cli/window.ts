/**
 * A terminal with a shell in it, for tests: tmux shows what people would see, and types.
 *
 * @module
 */

import { assert } from "../assert.ts";
import { mustRun, run } from "../harness.ts";
import { until } from "../stage2/served.ts";

/** The shell outside waits for a command. */
export const prompt = /(?:^|\n)outside\$\n*$/;

/** A shell in a window of tmux, of which what is shown is read. */
export class Window implements AsyncDisposable {
  readonly #socket: string;

  private constructor(dir: string) {
    this.#socket = `${dir}/tmux`;
  }

  /** @param env What the shell has beside what it needs. */
  static async open(dir: string, env: Record<string, string> = {}): Promise<Window> {
    const window = new Window(dir);
    await Deno.writeTextFile(`${dir}/rc`, "PS1='outside$ '; HISTFILE=\n");
    await window.#tmux(
      ...["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24"],
      ...Object.entries(env).flatMap(([name, value]) => ["-e", `${name}=${value}`]),
      ...["-c", dir, `exec bash --rcfile ${dir}/rc`],
    );
    await window.shows(prompt);
    return window;
  }

  /** Types text, as it is. */
  async types(text: string): Promise<void> {
    await this.#tmux("send-keys", "-l", "--", text);
  }

  /** Presses keys by tmux's names for them. */
  async presses(...keys: string[]): Promise<void> {
    await this.#tmux("send-keys", ...keys);
  }

  /** Types a line. */
  async enters(line: string): Promise<void> {
    await this.types(line);
    await this.presses("Enter");
  }

  async resizes(columns: number, rows: number): Promise<void> {
    await this.#tmux("resize-window", "-x", String(columns), "-y", String(rows));
  }

  /** The lines that are on the screen. */
  async screen(): Promise<string> {
    return await this.#tmux("capture-pane", "-p", "-S", "-");
  }

  /** The process that the shell has started in the foreground. */
  async foreground(): Promise<number> {
    const shell = (await this.#tmux("display-message", "-p", "#{pane_pid}")).trim();
    const group = /^\d+ \(.*\) \S \d+ \d+ \d+ \d+ (\d+)/.exec(
      await Deno.readTextFile(`/proc/${shell}/stat`),
    );
    assert(group !== null && group[1] !== shell, "Nothing runs in the foreground");
    return Number(group[1]);
  }

  /** Waits until the screen matches, and returns the match. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    let screen = "";
    return await until(`${pattern} on the screen`, async () => {
      screen = await this.screen();
      return pattern.exec(screen) ?? undefined;
    }).catch((error) => {
      throw new Error(`${error.message}; there is:\n${screen}`);
    });
  }

  /** Empties the screen of a shell that shows its prompt. */
  async clears(): Promise<void> {
    await this.enters("clear");
    await this.shows(/^outside\$\n*$/);
    await this.#tmux("clear-history");
  }

  async #tmux(...args: string[]): Promise<string> {
    return await mustRun(["tmux", "-S", this.#socket, ...args], { env: { TERM: "xterm" } });
  }

  /** Ends the terminal, and waits until tmux is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    const pid = (await this.#tmux("display-message", "-p", "#{pid}")).trim();
    await run(["tmux", "-S", this.#socket, "kill-server"]);
    await until("the end of tmux", () => {
      try {
        Deno.statSync(`/proc/${pid}`);
        return Promise.resolve(undefined);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return Promise.resolve(true);
        throw error;
      }
    });
  }
}
