/**
 * Picks the personality: what this executable is, by the name it was called.
 *
 * @module
 */

import { personalities, roleHelp, roleOf } from "./personalities.ts";
import { print, report } from "./print.ts";
import { versionText } from "./version.ts";

/** Runs the personality and returns the exit status. */
export async function dispatch(): Promise<number> {
  const { name, args } = choose(calledAs(), Deno.args, Deno.pid);
  const personality = personalities.get(name);
  if (!personality) {
    const { printable } = await import("./cli/printable.ts");
    report(`No part of Kurma is called "${printable(name)}"`, await nameSuggestion(name));
    return 2;
  }
  if (args[0] === "--version") return print(versionText());
  if (personality.load) return await (await personality.load()).main(args);
  if (args[0] === "--help" || args[0] === "-h") return print(roleHelp([name, personality]));
  report(`This version of Kurma has no ${name}`, "Containers run without it: kurma run --help");
  return 2;
}

/**
 * Which personality answers, and the arguments that remain for it.
 *
 * @param called argv[0]: a path or a bare name, with the hyphen that login shells get.
 */
export function choose(
  called: string,
  args: readonly string[],
  pid: number,
): { name: string; args: readonly string[] } {
  const last = called.slice(called.lastIndexOf("/") + 1);
  const name = last.startsWith("-") ? last.slice(1) : last;
  // The kernel passes words of its command line on, so the first one is no command there.
  if (pid === 1 && (name === "kurma" || name === "init")) return { name: "kurma-init", args };
  if (name === "kurma" || name === "kurma-cli") {
    const role = args.length > 0 ? roleOf(args[0]) : undefined;
    if (role) return { name: role[0], args: args.slice(1) };
  }
  return { name, args };
}

/**
 * The name this process was called by. `Deno.execPath()` has followed the link
 * already. Without /proc, as when a machine starts, the plain name serves.
 */
function calledAs(): string {
  try {
    return Deno.readTextFileSync("/proc/self/cmdline").split("\0", 1)[0] || "kurma";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "kurma";
    throw error;
  }
}

async function nameSuggestion(name: string): Promise<string> {
  const { closest } = await import("./cli/closest.ts");
  const names = [...personalities.keys()];
  const meant = closest(name, names);
  return meant ? `Did you mean ${meant}?` : `Call it by one of its names: ${names.join(", ")}`;
}
