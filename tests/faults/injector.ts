/**
 * The program of injector.zig, at work on a stage2 server.
 *
 * @module
 */

import { root } from "../harness.ts";
import { within } from "../stage2/served.ts";

/** What is to happen to the next start. */
export type Order =
  | { kind: "kill"; process: number; call: number }
  | { kind: "fail"; process: number; call: number; which: number };

/** What came of it. */
export type Verdict =
  /** It happened, at the call of this name; with an errno if the call was to fail. */
  | { kind: "hit"; name: string; errno: string }
  /** The call is none that fails. */
  | { kind: "none"; name: string }
  /** The process makes no more than `count` calls. */
  | { kind: "miss"; count: number };

export class Injector implements AsyncDisposable {
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #text = "";

  private constructor(server: number) {
    this.#process = new Deno.Command(`${root}/build/tools/injector`, {
      args: [`${server}`],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    this.#writer = this.#process.stdin.getWriter();
    this.#reader = this.#process.stdout.getReader();
  }

  static async attach(server: number): Promise<Injector> {
    const injector = new Injector(server);
    await injector.#line();
    return injector;
  }

  async arm(order: Order): Promise<void> {
    const which = order.kind === "fail" ? ` ${order.which}` : "";
    await this.#write(`${order.kind} ${order.process} ${order.call}${which}\n`);
    await this.#line();
  }

  async end(): Promise<Verdict> {
    await this.#write("end\n");
    const [kind, name, errno] = (await this.#line()).split(" ");
    if (kind === "miss") return { kind, count: Number(name) };
    return kind === "none" ? { kind, name } : { kind: "hit", name, errno };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#process.status;
    await this.#reader.cancel();
  }

  async #write(text: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(text));
  }

  async #line(): Promise<string> {
    while (!this.#text.includes("\n")) {
      const { value, done } = await within("the injector", this.#reader.read());
      if (done) throw new Error("The injector has ended");
      this.#text += new TextDecoder().decode(value);
    }
    const end = this.#text.indexOf("\n");
    const line = this.#text.slice(0, end);
    this.#text = this.#text.slice(end + 1);
    return line;
  }
}
