/**
 * A container's init alone, as stage2 would start it: PID 1 of a pid namespace, with
 * settings, and no more.
 *
 * @module
 */

import { type Output, root, run, Running, type RunOptions } from "../harness.ts";
import { children } from "./by_hand.ts";

/** Started by `tests/stage3/launcher.zig`; ends when its main process does. */
export class Launched {
  private constructor(readonly process: Running, readonly pid: number) {}

  /** @param options Those of the launcher. */
  static async start(
    options: readonly string[],
    command: readonly string[],
    runOptions?: RunOptions,
  ): Promise<Launched> {
    const process = new Running(words(options, command), runOptions);
    while (children(process.pid).length === 0) await pause(1);
    return new Launched(process, children(process.pid)[0]);
  }
}

/** How a container ended whose main process is `command`. */
export function launch(options: readonly string[], command: readonly string[]): Promise<Output> {
  return run(words(options, command), { limitMs: 300_000 });
}

function words(options: readonly string[], command: readonly string[]): string[] {
  return [
    ...["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
    ...[`${root}/build/tools/launcher`, `${root}/build/native/kurma-stage3`],
    ...[...options, "--", ...command],
  ];
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
