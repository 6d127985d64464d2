/**
 * The daemon that is to do what could be done without one.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { ApiClient } from "../../stage1/api/client.ts";
import { defaultSocket, isSocket } from "../../stage1/api/socket.ts";
import type { Context } from "./context.ts";
import { endpoint, type Where } from "./host.ts";

/**
 * The client of the daemon that is to do what we could do ourselves.
 *
 * @param signal Gives up waiting for one that says nothing.
 * @returns undefined if we are to do it: it was asked for, or none is named or there.
 * @throws {KurmaError} `unavailable`: the daemon that was named is not there; `denied`: the
 *   socket is not ours to use; what {@linkcode endpoint} throws.
 */
export async function daemonIfAny(
  where: Where & Pick<Context, "alone">,
  signal?: AbortSignal,
): Promise<ApiClient | undefined> {
  if (where.alone) return undefined;
  const named = await endpoint(where);
  // What nobody listens to is found out without a client.
  if (named === undefined && !isSocket(defaultSocket)) return undefined;
  const api = new ApiClient(named);
  try {
    await api.call("System", "Ping", {}, { signal });
    return api;
  } catch (error) {
    const isAway = error instanceof KurmaError && error.code === "unavailable";
    if (isAway && named === undefined) return undefined;
    throw error;
  }
}

/** Says that only a daemon can do `what`. */
export function needsDaemon(what: string): KurmaError {
  return new KurmaError("unavailable", `Cannot use ${what}: it needs the daemon`, {
    fix: "Start it with kurma daemon, or systemctl start kurmad",
  });
}
