/**
 * Calls to the daemon that stream.
 *
 * @module
 */

import type { ApiClient } from "../../stage1/api/client.ts";
import type { ApiStreams } from "../../stage1/api/client_streams.ts";
import { daemon, type Where } from "./host.ts";

/**
 * Lets `act` make calls that stream.
 *
 * @throws {KurmaError} What kurmad answers; `unavailable`: it does not run.
 */
export async function streaming<Value>(
  context: Where,
  act: (api: ApiStreams) => Promise<Value>,
): Promise<Value> {
  const api = await daemon(context);
  // A daemon that is away is told by a call which says what to do, before anything else loads;
  // elsewhere a connection more takes longer than that.
  if (api.endpoint.kind === "unix") await api.call("System", "Ping", {});
  return await streamingWith(api, act);
}

/** As {@linkcode streaming}, with a daemon that is known to answer. */
export async function streamingWith<Value>(
  api: ApiClient,
  act: (api: ApiStreams) => Promise<Value>,
): Promise<Value> {
  using streams = await api.streams();
  const { kurmaError } = await import("../../stage1/api/client_streams.ts");
  try {
    return await act(streams);
  } catch (error) {
    throw kurmaError(error);
  }
}
