/**
 * The terminal, and whatever else standard input is, on its way to a process in a container.
 *
 * @module
 */

import type { Kernel } from "../../ffi/kernel.ts";
import { BadValue, type Flag } from "./flags.ts";

/** What a terminal measures, in characters. */
export interface Size {
  readonly rows: number;
  readonly columns: number;
}

/** The size of the terminal that any of our streams is; undefined if none is. */
export function terminalSize(): Size | undefined {
  const stream = [Deno.stdin, Deno.stdout, Deno.stderr].find((stream) => stream.isTerminal());
  return stream && Deno.consoleSize();
}

/** What ends us while the terminal is raw, by its number. signal(7) */
const enders = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Our terminal as a container's wants it: every key goes through as it is typed, and what
 * comes is shown as it is written. Disposing of it gives the terminal back as it was, and so
 * does each signal that ends or stops us.
 */
export class RawTerminal implements Disposable {
  readonly #kernel: Kernel;
  readonly #resized: (size: Size) => void;
  readonly #listeners: readonly (readonly [Deno.Signal, () => void])[];
  /** How the terminal was, while it is raw. */
  #before: Uint8Array | undefined;

  /**
   * Takes hold of the terminal that standard input is, if it is one.
   *
   * @param resized Told each new size.
   */
  static async open(resized: (size: Size) => void): Promise<RawTerminal> {
    const { kernel } = await import("../../ffi/mod.ts");
    return new RawTerminal(kernel, resized);
  }

  private constructor(kernel: Kernel, resized: (size: Size) => void) {
    this.#kernel = kernel;
    this.#resized = resized;
    this.#listeners = [
      ...Object.entries(enders).map(([name, number]) =>
        [name as Deno.Signal, () => this.#end(number)] as const
      ),
      ["SIGTSTP", () => this.#stop()],
      // Who was stopped otherwise finds that a shell has set the terminal meanwhile.
      ["SIGCONT", () => this.#makeRaw()],
      ["SIGWINCH", () => this.#tellSize()],
    ];
    for (const [name, listener] of this.#listeners) Deno.addSignalListener(name, listener);
    this.#makeRaw();
  }

  [Symbol.dispose](): void {
    this.#restore();
    for (const [name, listener] of this.#listeners) Deno.removeSignalListener(name, listener);
  }

  #makeRaw(): void {
    if (!Deno.stdin.isTerminal()) return;
    const found = this.#kernel.makeRaw(0);
    this.#before ??= found;
  }

  #restore(): void {
    const before = this.#before;
    this.#before = undefined;
    // A terminal that was closed has nothing to be given back.
    if (before && Deno.stdin.isTerminal()) this.#kernel.restoreTerminal(0, before);
  }

  #end(signal: number): void {
    this.#restore();
    Deno.exit(128 + signal);
  }

  #stop(): void {
    this.#restore();
    Deno.kill(Deno.pid, "SIGSTOP");
    // Here we go on; the window may have another size by now.
    this.#makeRaw();
    this.#tellSize();
  }

  #tellSize(): void {
    const size = terminalSize();
    if (size) this.#resized(size);
  }
}

/** Ctrl-P Ctrl-Q. */
const usualKeys = Uint8Array.of(16, 17);

/** The keys that leave a process alone, written as docker has it: `ctrl-p,ctrl-q`. */
export function detachKeys(): Flag<Uint8Array> {
  return {
    summary: "The keys that go away from it, as ctrl-a,d; none if empty",
    placeholder: "KEYS",
    absent: "default ctrl-p,ctrl-q",
    read(occurrences) {
      const text = occurrences.at(-1);
      if (text === undefined) return usualKeys;
      return Uint8Array.from(text === "" ? [] : text.split(",").map((key) => codeOf(key, text)));
    },
  };
}

/** The byte that a terminal sends for a key. */
function codeOf(key: string, whole: string): number {
  const [, control, plain] = /^(?:ctrl-([a-z@[\\\]^_])|([!-~]))$/i.exec(key) ?? [];
  if (control !== undefined) return control.toUpperCase().charCodeAt(0) & 31;
  if (plain !== undefined) return plain.charCodeAt(0);
  throw new BadValue(whole, "keys with commas between, as ctrl-p,ctrl-q: ctrl-LETTER or a letter");
}

/**
 * The pieces of `input` up to the detach keys, which may come in several pieces. What turns
 * out not to be them is passed on.
 *
 * @param keys The detach keys; none if it is empty.
 * @param onDetach Called for them; nothing comes afterwards.
 */
export async function* untilDetached(
  input: AsyncIterable<Uint8Array>,
  keys: Uint8Array,
  onDetach: () => void,
): AsyncGenerator<Uint8Array> {
  // The keys so far, when a piece ended with some of them.
  let held = 0;
  for await (const piece of input) {
    const bytes = new Uint8Array(held + piece.length);
    bytes.set(keys.subarray(0, held));
    bytes.set(piece, held);
    const at = keys.length === 0
      ? -1
      : bytes.findIndex((_, index) => startsWith(bytes, index, keys));
    if (at >= 0) {
      if (at > 0) yield bytes.subarray(0, at);
      return onDetach();
    }
    held = Math.min(keys.length, bytes.length);
    while (held > 0 && !startsWith(bytes, bytes.length - held, keys.subarray(0, held))) held--;
    const rest = bytes.subarray(0, bytes.length - held);
    if (rest.length > 0) yield rest;
  }
  if (held > 0) yield keys.subarray(0, held);
}

function startsWith(bytes: Uint8Array, at: number, part: Uint8Array): boolean {
  return part.every((byte, index) => bytes[at + index] === byte);
}
