/**
 * kurma-init: the first process of a machine. All that this does is to become the static
 * program that boots (stage1/boot/), which runs without V8.
 *
 * @module
 */

import { report } from "./print.ts";

/**
 * Becomes the first process's program, which gets the path of this executable.
 *
 * @returns 2 if this is not the first process.
 */
export async function main(args: readonly string[]): Promise<number> {
  if (args[0] === "--help" || args[0] === "-h") {
    const { personalities, roleHelp } = await import("./personalities.ts");
    const { print } = await import("./print.ts");
    const personality = personalities.get("kurma-init");
    return personality ? print(roleHelp(["kurma-init", personality])) : 2;
  }
  if (Deno.pid !== 1) {
    report(
      "Cannot boot: this is not the first process of a machine",
      "Write it where the kernel looks, kurma install --init /mnt/init, and name it as init=",
    );
    return 2;
  }
  const { initProgram } = await import("../stage1/boot/program.ts");
  const { kernel } = await import("../ffi/mod.ts");
  return kernel.become(initProgram().descriptor, ["kurma-init", Deno.execPath()], {});
}
