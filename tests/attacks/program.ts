/**
 * The attack on the program itself (CVE-2019-5736): a container holds the program of a
 * process that enters it, and writes to it when nobody executes it any more.
 *
 * @module
 */

import { mustRun, Running } from "../harness.ts";
import { children, commandLine } from "../stage3/by_hand.ts";
import { pause } from "../stage2/served.ts";
import { type Attack, attacker, type Outcome, type Target } from "./target.ts";

/** Launches by hand, with a copy of the program that may be spoilt. */
async function overwrite(target: Target): Promise<Outcome> {
  const program = `${target.dir}/kurma`;
  await mustRun(["cp", target.program, program]);
  const digest = () => mustRun(["sha256sum", program]);
  const before = await digest();
  const env = { SPAWNER_INTERCEPT: "1" };
  const inside = new Running([
    ...[program, "--new-mount-namespace", "--new-pid-namespace", "--chroot", "--detach"],
    ...["--container-directory", `${target.dir}/base`, "--", attacker, "overwrite", "3"],
  ], { env });
  await inside.says(/^waiting/);
  const holder = find([attacker, "overwrite", "3"]);
  // Its own program again, which shows itself, and stays until it is killed.
  const entering = new Running([
    ...[program, "--pid-namespace", `/proc/${holder}/ns/pid`],
    ...["--mount-namespace", `/proc/${holder}/ns/mnt`],
    ...["--env", "INITD_INTERCEPT=1", "--env", "INITD_SOCKET=/tmp/socket", "--", "/proc/self/exe"],
  ], { env });
  await entering.says(/Starting initd/);
  const [victim] = children(entering.pid);
  await pause(100); // For the attacker to find it.
  Deno.kill(victim, "SIGKILL");
  await entering.output;
  const { stdout } = await inside.output;
  const changed = await digest() !== before;
  await Deno.remove(program);
  return { got: changed, seen: stdout.replace("waiting\n", "").trim() };
}

/** The process of this command line. */
function find(words: readonly string[]): number {
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      if (commandLine(Number(name)).join(" ") === words.join(" ")) return Number(name);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // It has ended meanwhile.
    }
  }
  throw new Error(`No process is ${words.join(" ")}`);
}

export const program: readonly Attack[] = [{
  number: 1,
  what: "overwrite the program of a process that enters the container",
  // The build for tests runs from its file; what is shipped goes on from sealed memory.
  leftOut: [],
  carryOut: overwrite,
  refused: /^held [1-9]\d*, wrote to none$/,
}];
