/**
 * kurma-api: `kurma api` by a name of its own, which serves if no word says otherwise.
 *
 * @module
 */

import { api } from "./cli/api.ts";
import { main as commandLine } from "./kurma_cli.ts";

/** Runs one command line and returns its exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const [first = ""] = args;
  const asks = Object.hasOwn(api.commands, first) || ["-h", "--help", "ls"].includes(first);
  return await commandLine(["api", ...(asks ? [] : ["serve"]), ...args]);
}
