/**
 * Where kurmad is, and the client that asks it.
 *
 * @module
 */

import { resolve } from "node:path";
import { KurmaError } from "../../ffi/errors.ts";
import type { ApiClient } from "../../stage1/api/client.ts";
import type { ApiStreams } from "../../stage1/api/client_streams.ts";
import { report } from "../print.ts";
import type { Context } from "./context.ts";
import { explain } from "./failure.ts";

/**
 * The client of the daemon that `context` names.
 *
 * @throws {KurmaError} `invalid` for a host that this version does not reach.
 */
export async function daemon({ host }: Pick<Context, "host">): Promise<ApiClient> {
  const { ApiClient, defaultSocket } = await import("../../stage1/api/client.ts");
  return new ApiClient(host === undefined ? defaultSocket : socketOf(host));
}

/** The absolute path of the socket that `host` names. */
export function socketOf(host: string): string {
  const [, scheme, rest = host] = /^([a-z]+):\/\/(.*)$/.exec(host) ?? [];
  const isPath = scheme === undefined ? rest.includes("/") : scheme === "unix";
  if (isPath && rest !== "") return resolve(rest);
  throw new KurmaError("invalid", `Cannot reach "${host}": only sockets of this machine`, {
    fix: "Name the path of a socket, as in unix:///run/kurma/kurma.sock or ./kurma.sock",
  });
}

/**
 * Lets `act` make calls that stream.
 *
 * @throws {KurmaError} What kurmad answers; `unavailable`: it does not run.
 */
export async function streaming<Value>(
  context: Pick<Context, "host">,
  act: (api: ApiStreams) => Promise<Value>,
): Promise<Value> {
  const api = await daemon(context);
  // A daemon that is away is told by a call which says what to do, before anything else loads.
  await api.call("System", "Ping", {});
  const { kurmaError } = await import("../../stage1/api/client_streams.ts");
  using streams = await api.streams();
  try {
    return await act(streams);
  } catch (error) {
    throw kurmaError(error);
  }
}

/**
 * Does `act` to each of `references`, one after the other; what fails is told and does not
 * keep the others from their turn.
 *
 * @returns What `act` came to, and the status of the first failure.
 */
export async function toEach<Done>(
  references: readonly string[],
  act: (reference: string) => Promise<Done>,
): Promise<{ done: Done[]; status: number }> {
  const done: Done[] = [];
  let status = 0;
  for (const reference of references) {
    try {
      done.push(await act(reference));
    } catch (error) {
      const failure = explain(error);
      report(failure.cause, failure.fix);
      status ||= failure.status;
      if (error instanceof KurmaError && error.code === "unavailable") break;
    }
  }
  return { done, status };
}

/** Milliseconds as the API's JSON has them: `1.5s`. */
export function seconds(ms: number): string {
  return `${ms / 1000}s`;
}
