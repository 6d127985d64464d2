/**
 * Where kurmad is, and the client that asks it.
 *
 * @module
 */

import { resolve } from "node:path";
import { KurmaError } from "../../ffi/errors.ts";
import type { ApiClient } from "../../stage1/api/client.ts";
import type { ApiStreams } from "../../stage1/api/client_streams.ts";
import type { Endpoint } from "../../stage1/api/endpoint.ts";
import { report } from "../print.ts";
import type { Context } from "./context.ts";
import { explain } from "./failure.ts";
import { UsageError } from "./parse.ts";

/** What says where the daemon is. */
export type Where = Pick<Context, "host" | "context" | "env">;

/**
 * Which of a host and a context counts: a flag before a variable, and a host before a context.
 *
 * @throws {UsageError} if the line has both flags.
 */
export function chosen(
  given: ReadonlyMap<string, unknown>,
  { host, context }: Pick<Context, "host" | "context">,
): Pick<Context, "host" | "context"> {
  if (given.has("host") && given.has("context")) {
    throw new UsageError("Cannot use -H and --context together", "Leave one of them out");
  }
  return given.has("context") || host === undefined
    ? { host: undefined, context }
    : { host, context: undefined };
}

/**
 * The client of the daemon that a host or a context names, of the context in use, or of
 * this machine's daemon.
 *
 * @throws {KurmaError} `invalid`: the host is none; `missing`: there is no such context.
 */
export async function daemon(where: Where): Promise<ApiClient> {
  const { ApiClient } = await import("../../stage1/api/client.ts");
  return new ApiClient(await endpoint(where));
}

/** Where the daemon is; undefined for the usual socket. */
export async function endpoint({ host, context, env }: Where): Promise<Endpoint | undefined> {
  const { Contexts } = await import("./contexts.ts");
  const contexts = new Contexts(env);
  if (host === undefined) {
    const name = context ?? contexts.current();
    return name === undefined ? undefined : await contexts.endpoint(name);
  }
  const { endpointOf } = await import("../../stage1/api/endpoint.ts");
  if (isSocket(host)) return { kind: "unix", path: resolve(host) };
  const named = endpointOf(host, Deno.cwd());
  return named.kind === "tcp" ? await contexts.withCredential(named) : named;
}

/** A bare word may be a socket that is there, as it could in the original. */
function isSocket(host: string): boolean {
  try {
    return /^[\w.-]+$/.test(host) && Deno.statSync(host).isSocket === true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

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
