/**
 * Where kurmad is, and the client that asks it.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { ApiClient } from "../../stage1/api/client.ts";
import type { ApiStreams } from "../../stage1/api/client_streams.ts";
import { type Endpoint, endpointOf } from "../../stage1/api/endpoint.ts";
import { defaultSocket } from "../../stage1/api/socket.ts";
import { report } from "../print.ts";
import { absolute, type Context } from "./context.ts";
import { Contexts } from "./contexts.ts";
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
 * Whether what needs no daemon is done without one: because the line says so, or names folders
 * of our own. A flag counts before a variable.
 *
 * @throws {UsageError} if the line names a daemon as well.
 */
export function isAlone(
  given: ReadonlyMap<string, unknown>,
  env: Readonly<Record<string, string>>,
): boolean {
  const own = ["root", "config", "no-daemon"].find((flag) => given.has(flag));
  const other = ["host", "context"].find((flag) => given.has(flag));
  if (own !== undefined && other !== undefined) {
    const why = own === "no-daemon" ? "which is one" : "which has its own";
    throw new UsageError(
      `Cannot use --${own} with --${other}, the name of a daemon, ${why}`,
      "Leave one of them out",
    );
  }
  if (own !== undefined || other !== undefined) return own !== undefined;
  if (env.KURMA_HOST || env.KURMA_CONTEXT) return false;
  return Boolean(env.KURMA_ROOT || env.KURMA_CONFIG);
}

/**
 * The client of the daemon that a host or a context names, of the context in use, or of
 * this machine's daemon.
 *
 * @throws {KurmaError} `invalid`: the host is none; `missing`: there is no such context.
 */
export async function daemon(where: Where): Promise<ApiClient> {
  return new ApiClient(await endpoint(where));
}

/**
 * The client of the daemon that is to do what we could do ourselves.
 *
 * @param signal Gives up waiting for one that says nothing.
 * @returns undefined if we are to do it: it was asked for, or none is named or there.
 * @throws {KurmaError} `unavailable`: the daemon that was named is not there; `denied`: the
 *   socket is not ours to use; what {@linkcode daemon} throws.
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

/** Where the daemon is; undefined for the usual socket. */
export async function endpoint({ host, context, env }: Where): Promise<Endpoint | undefined> {
  const named = host === undefined ? undefined : endpointOfHost(host);
  if (named !== undefined && named.kind !== "tcp") return named;
  const contexts = new Contexts(env);
  if (named !== undefined) return await contexts.withCredential(named);
  const name = context ?? contexts.current();
  return name === undefined ? undefined : await contexts.endpoint(name);
}

/** What `-H` or KURMA_HOST names. A bare word may be a socket that is there, as in the original. */
function endpointOfHost(host: string): Endpoint {
  return /^[\w.-]+$/.test(host) && isSocket(host)
    ? { kind: "unix", path: absolute(host) }
    : endpointOf(host, Deno.cwd());
}

function isSocket(path: string): boolean {
  try {
    return Deno.statSync(path).isSocket === true;
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
