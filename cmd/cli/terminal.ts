/**
 * The terminal, and whatever else standard input is, on its way to a process in a container.
 *
 * @module
 */

/** The size of the terminal that any of our streams is; undefined if none is. */
export function terminalSize(): { rows: number; columns: number } | undefined {
  const stream = [Deno.stdin, Deno.stdout, Deno.stderr].find((stream) => stream.isTerminal());
  return stream && Deno.consoleSize();
}

/** Standard input as a container's terminal wants it: every key as it is typed. */
export class RawTerminal implements Disposable {
  readonly #isRaw = Deno.stdin.isTerminal();
  /** Signals that would end us, the terminal still raw. */
  readonly #enders = (["SIGTERM", "SIGHUP"] as const).map((name) => {
    const end = () => {
      this.#restore();
      Deno.exit(128 + { SIGTERM: 15, SIGHUP: 1 }[name]);
    };
    return { name, end };
  });
  readonly #onResize: () => void;

  /** @param resized Told each new size. */
  constructor(resized: (size: { rows: number; columns: number }) => void) {
    this.#onResize = () => {
      const size = terminalSize();
      if (size) resized(size);
    };
    for (const { name, end } of this.#enders) Deno.addSignalListener(name, end);
    Deno.addSignalListener("SIGWINCH", this.#onResize);
    if (this.#isRaw) Deno.stdin.setRaw(true);
  }

  [Symbol.dispose](): void {
    this.#restore();
    Deno.removeSignalListener("SIGWINCH", this.#onResize);
    for (const { name, end } of this.#enders) Deno.removeSignalListener(name, end);
  }

  #restore(): void {
    if (this.#isRaw) Deno.stdin.setRaw(false);
  }
}

/** Ctrl-P Ctrl-Q: leaves the process alone. */
const detachKeys = [16, 17];

/**
 * The pieces of `input` up to the detach keys, which may come in two pieces. What turns out
 * not to be them is passed on.
 *
 * @param onDetach Called for them; nothing comes afterwards.
 */
export async function* untilDetached(
  input: AsyncIterable<Uint8Array>,
  onDetach: () => void,
): AsyncGenerator<Uint8Array> {
  let held = false;
  for await (const piece of input) {
    const bytes: Uint8Array = held ? Uint8Array.of(detachKeys[0], ...piece) : piece;
    const at = bytes.findIndex((byte, index) =>
      byte === detachKeys[0] && bytes[index + 1] === detachKeys[1]
    );
    if (at >= 0) {
      if (at > 0) yield bytes.subarray(0, at);
      return onDetach();
    }
    held = bytes.at(-1) === detachKeys[0];
    const rest = held ? bytes.subarray(0, -1) : bytes;
    if (rest.length > 0) yield rest;
  }
  if (held) yield Uint8Array.of(detachKeys[0]);
}
