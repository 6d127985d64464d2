/**
 * Long work as people follow it: bars that move on a terminal, a line for each finished
 * part elsewhere.
 *
 * @module
 */

import type { OnProgress, Progress } from "../../stage1/images/mod.ts";
import { complain } from "../print.ts";
import { printable } from "./printable.ts";
import { size } from "./units.ts";

/** Where progress is shown. */
export interface Screen {
  readonly terminal: boolean;
  readonly columns: number;
  /** Writes `text` and a line end. */
  write(text: string): void;
}

/** Shows progress on standard error: bars if it is a terminal, otherwise lines. */
export function progressOnStderr(): OnProgress {
  const terminal = Deno.stderr.isTerminal();
  const display = new ProgressDisplay({
    terminal,
    // A terminal that does not know its width says 0.
    columns: (terminal && Deno.consoleSize().columns) || 80,
    write: complain,
  });
  return (progress) => display.update(progress);
}

/** Bars are drawn anew no more often than this. */
const intervalMs = 100;

/** Shows the progress of several parts at once. */
export class ProgressDisplay {
  readonly #parts = new Map<string, Progress>();
  #drawnLines = 0;
  #drawnMs = -Infinity;

  /** @param now Milliseconds that never go back. */
  constructor(readonly screen: Screen, readonly now: () => number = () => performance.now()) {}

  /** Takes note of news, and shows them if they are due. */
  update(progress: Progress): void {
    const { subject, step } = progress;
    this.#parts.set(subject, progress);
    const ended = step !== "read";
    if (!this.screen.terminal) {
      if (ended) this.screen.write(finished(progress));
    } else if (ended || this.now() - this.#drawnMs >= intervalMs) {
      this.#draw();
    }
  }

  #draw(): void {
    const lines = [...this.#parts.values()].map((latest) =>
      latest.step === "read"
        ? bar(latest, this.screen.columns)
        : finished(latest).slice(0, this.screen.columns)
    );
    const back = this.#drawnLines > 0 ? `\x1b[${this.#drawnLines}A` : "";
    this.screen.write(back + lines.map((line) => `\r${line}\x1b[K`).join("\n"));
    this.#drawnLines = lines.length;
    this.#drawnMs = this.now();
  }
}

/** What is said of a part that is done. */
function finished({ subject, step, bytes }: Progress): string {
  return `${brief(subject)}  ${step === "present" ? "there already" : step}  ${size(bytes)}`;
}

/** One line of at most `columns`: what, how far, how fast, how long still; what fits of it. */
export function bar({ subject, bytes, total, perSecond, leftMs }: Progress, columns: number) {
  const name = brief(subject);
  const far = total ? `  ${size(bytes)} of ${size(total)}` : `  ${size(bytes)}`;
  const fast = perSecond ? `  ${size(perSecond)}/s` : "";
  const still = leftMs !== undefined ? `  ${Math.ceil(leftMs / 1000)} s left` : "";
  const numbers = [far + fast + still, far + fast, far]
    .find((text) => name.length + text.length <= columns) ?? "";
  const room = Math.min(40, columns - name.length - numbers.length - 4);
  if (!total || room < 5) return (name + numbers).slice(0, columns);
  const done = Math.floor(Math.min(1, bytes / total) * room);
  return `${name}  [${"=".repeat(done)}${" ".repeat(room - done)}]${numbers}`;
}

/** A digest by its beginning, anything else as it is. */
function brief(subject: string): string {
  return printable(subject.replace(/^(sha\d+):([0-9a-f]{12})[0-9a-f]+$/, "$1:$2"));
}
