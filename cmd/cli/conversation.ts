/**
 * Talking to a process of a container, from its first word to its last.
 *
 * @module
 */

import type { Container, ExitStatus, ImageProgress } from "../../stage1/api/kurma.gen.ts";
import { Interrupts } from "../../stage1/containers/interrupts.ts";
import { complain, pass } from "../print.ts";
import { printable } from "./printable.ts";
import { RawTerminal, untilDetached } from "./terminal.ts";

/** What a process says, in the words of all calls. */
interface Said {
  readonly message:
    | { readonly case: "output" | "errorOutput"; readonly value: Uint8Array }
    | { readonly case: "exited"; readonly value: ExitStatus }
    | { readonly case: "progress"; readonly value: ImageProgress }
    | { readonly case: "started" | "attached"; readonly value: unknown }
    | { readonly case: undefined; readonly value?: undefined };
}

/** What we say to any process once it runs. */
type Typed =
  | { readonly case: "input"; readonly value: Uint8Array }
  | { readonly case: "resize"; readonly value: { rows: number; columns: number } };

/** What we say to a process of our own. */
type Heard =
  | Typed
  | { readonly case: "closeInput"; readonly value: boolean }
  | { readonly case: "signal"; readonly value: string };

/** A call that begins a conversation, in which what is said is a `Word`. */
type Open<Start, Word> = (
  requests: AsyncIterable<{ message: { case: "start"; value: Start } | Word }>,
  options: { signal: AbortSignal },
) => AsyncIterable<Said>;

/** The most bytes of one message. */
const maxInput = 64 * 1024;

/** What a terminal takes for the end of its input: Ctrl-D. */
const endOfInput = Uint8Array.of(4);

/** How long a command may take to end of which nobody reads the output. */
const brokenPipeMs = 1_000;

/** What is passed on to a command that is ours, by its number. signal(7) */
const passedOn = {
  SIGINT: 2,
  SIGTERM: 15,
  SIGHUP: 1,
  SIGQUIT: 3,
  SIGUSR1: 10,
  SIGUSR2: 12,
} as const satisfies Partial<Record<Deno.Signal, number>>;

/** How a conversation is led. */
export interface Manners<Start> {
  /** The first message. */
  readonly start: Start;
  /** Whether it hears standard input. */
  readonly input: boolean;
  /** Whether it has a terminal, so that ours is made raw. */
  readonly terminal: boolean;
  /** The keys on that terminal that end the conversation; default none. */
  readonly keys?: Uint8Array;
  /**
   * Whether the process lives for us: it hears our signals unless it has a terminal, the end
   * of our input, and that nobody reads its output.
   */
  readonly own?: boolean;
  /** Whether we go away as soon as it runs. */
  readonly leaves?: boolean;
  /** Told how far its image is. */
  onProgress?(progress: ImageProgress): void;
}

/** How a conversation ended. */
export interface Ending {
  /** The exit status of the process; 0 if we went away from it by the keys. */
  readonly status: number;
  /** Whether we went away: the process goes on. */
  readonly detached: boolean;
  /** The container that was made for us, if one was. */
  readonly container?: Container;
}

/** Starts a conversation by `open` and leads it to its end. */
export function converse<Start>(
  open: Open<Start, Typed>,
  manners: Manners<Start> & { own?: false },
): Promise<Ending>;
export function converse<Start>(
  open: Open<Start, Heard>,
  manners: Manners<Start> & { own: true },
): Promise<Ending>;
export async function converse<Start>(
  open: Open<Start, Typed> | Open<Start, Heard>,
  manners: Manners<Start>,
): Promise<Ending> {
  const { start, own = false } = manners;
  using talk = new Talk(manners);
  async function* requests() {
    yield { message: { case: "start" as const, value: start } };
    for await (const message of talk.said) yield { message };
  }
  let container: Container | undefined;
  let brokenPipe: number | undefined;
  try {
    // What is not ours is told no more than what is typed.
    const call = open as Open<Start, Heard>;
    for await (const { message } of call(requests(), { signal: talk.leaving.signal })) {
      switch (message.case) {
        case "progress":
          manners.onProgress?.(message.value);
          break;
        case "started":
        case "attached":
          if (isContainer(message.value)) container = message.value;
          if (manners.leaves) return { status: 0, detached: true, container };
          await talk.begin();
          break;
        case "output":
        case "errorOutput": {
          if (brokenPipe !== undefined) break;
          const status = pass(message.value, message.case === "output" ? "stdout" : "stderr");
          if (status === 0) break;
          if (!own) return { status, detached: true, container };
          // It does not write there itself, and so is not told by SIGPIPE.
          brokenPipe = status;
          talk.say({ case: "signal", value: "SIGTERM" });
          talk.leaveIn(brokenPipeMs);
          break;
        }
        case "exited":
          return { status: brokenPipe ?? message.value.code, detached: false, container };
      }
    }
  } catch (error) {
    if (!talk.leaving.signal.aborted) throw error;
  }
  return { status: brokenPipe ?? talk.status, detached: brokenPipe === undefined, container };
}

/** Our side of a conversation. */
class Talk implements Disposable {
  /** Aborted when we go away. */
  readonly leaving = new AbortController();
  /** The status if we go away. */
  status = 0;
  readonly #manners: Manners<unknown>;
  readonly #writer: WritableStreamDefaultWriter<Heard>;
  readonly #interrupts = new Interrupts();
  readonly #listeners: (readonly [Deno.Signal, () => void])[] = [];
  #terminal: RawTerminal | undefined;
  #timer: number | undefined;
  /** What we say, in order. */
  readonly said: AsyncIterable<Heard>;

  constructor(manners: Manners<unknown>) {
    this.#manners = manners;
    const { readable, writable } = new TransformStream<Heard, Heard>();
    this.said = readable;
    this.#writer = writable.getWriter();
  }

  /** What can no longer be said is no error: the process has ended. */
  say(message: Heard): Promise<void> {
    return this.#writer.write(message).catch(() => undefined);
  }

  /** The process is there: it hears our input, and our terminal is its own. */
  async begin(): Promise<void> {
    const { input, terminal, own, keys } = this.#manners;
    if (terminal) {
      this.#terminal = await RawTerminal.open((value) => this.say({ case: "resize", value }));
    } else if (own) this.#passSignals();
    if (!input) return;
    const typed = keys !== undefined && terminal
      ? untilDetached(Deno.stdin.readable, keys, () => this.leaving.abort())
      : Deno.stdin.readable;
    this.#hear(typed).catch((error) => this.#writer.abort(error));
  }

  /** Goes away unless the process ends before. */
  leaveIn(ms: number): void {
    this.#timer = setTimeout(() => this.leaving.abort(), ms);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#terminal?.[Symbol.dispose]();
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }

  #passSignals(): void {
    for (const name of Object.keys(passedOn) as (keyof typeof passedOn)[]) {
      const listener = () => {
        if (name !== "SIGINT" || this.#interrupts.isPassedOn()) {
          this.say({ case: "signal", value: name });
          return;
        }
        this.status = 128 + passedOn[name];
        this.leaving.abort();
      };
      Deno.addSignalListener(name, listener);
      this.#listeners.push([name, listener]);
    }
  }

  /** Passes what comes in on, in messages of at most {@linkcode maxInput} bytes. */
  async #hear(input: AsyncIterable<Uint8Array>): Promise<void> {
    const { own, terminal } = this.#manners;
    for await (const piece of input) {
      for (let at = 0; at < piece.length; at += maxInput) {
        await this.say({ case: "input", value: piece.subarray(at, at + maxInput) });
      }
    }
    if (this.leaving.signal.aborted) return;
    if (!own) await this.#writer.close();
    else if (terminal) await this.say({ case: "input", value: endOfInput });
    else await this.say({ case: "closeInput", value: true });
  }
}

function isContainer(value: unknown): value is Container {
  return typeof value === "object" && value !== null && "$typeName" in value &&
    value.$typeName === "kurma.v1.Container";
}

/** Says that a container goes on without us, and how to come back. */
export function tellDetached(container: string): void {
  const name = printable(container);
  // The line of the terminal that we are on is the container's, or has a key on it.
  const before = Deno.stderr.isTerminal() ? "\n" : "";
  complain(`${before}kurma: "${name}" goes on; kurma attach ${name} comes back`);
}
