/**
 * Whether what a container writes may wait for the disk.
 *
 * @module
 */

import { assertEquals } from "../assert.ts";
import { binary, mustRun } from "../harness.ts";
import { kurmadTest } from "./daemon.ts";

/** The options of the overlay at the root of a process, as the host shows them. */
function rootOptions(mountinfo: string): string[] {
  const line = mountinfo.split("\n").find((each) => / \/ .* - overlay /.test(each)) ?? "";
  return line.slice(line.lastIndexOf(" ") + 1).split(",");
}

/** The newest kernels name it as one of several ways. */
function isVolatile(options: readonly string[]): boolean {
  return options.includes("volatile") || options.includes("fsync=volatile");
}

kurmadTest(
  "an fsync in a container reaches the disk, unless nothing of it will be left",
  async (kurmad) => {
    const made = async (name: string, settings: Record<string, unknown>) => {
      const { container } = await kurmad.api.call("Containers", "Create", {
        name,
        image: kurmad.image,
        start: true,
        settings: { command: ["sleep", "1000"], ...settings },
      });
      const options = rootOptions(await Deno.readTextFile(`/proc/${container?.pid}/mountinfo`));
      assertEquals(options.includes("rw"), true, options.join());
      return isVolatile(options);
    };
    assertEquals(await made("kept", {}), false);
    assertEquals(await made("gone", { removeWhenEnded: true }), true);
    const restart = { mode: "MODE_ALWAYS" };
    assertEquals(await made("back", { removeWhenEnded: true, restart }), false);
    await kurmad.api.call("Containers", "Stop", { container: "kept", timeout: "0s" });
    await kurmad.api.call("Containers", "Start", { container: "kept" });
    const root = ["--root", `${kurmad.dir}/state`];
    const inside = await mustRun([
      ...[binary, "run", ...root, kurmad.image, "cat", "/proc/self/mountinfo"],
    ]);
    assertEquals(isVolatile(rootOptions(inside)), true);
  },
);
