/**
 * Where kurmad is, and the client that asks it.
 *
 * @module
 */

import { ApiClient } from "../../stage1/api/client.ts";
import type { Endpoint } from "../../stage1/api/endpoint.ts";
import type { Context } from "./context.ts";
import { contextsFolder, currentContext } from "./current_context.ts";
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

/** Where the daemon is; undefined for the usual socket. */
export async function endpoint({ host, context, env }: Where): Promise<Endpoint | undefined> {
  if (host !== undefined) {
    const { endpointOfHost } = await import("./named_host.ts");
    return await endpointOfHost(host, env);
  }
  const name = context ?? currentContext(contextsFolder(env));
  if (name === undefined) return undefined;
  const { Contexts } = await import("./contexts.ts");
  return await new Contexts(env).endpoint(name);
}

/** Milliseconds as the API's JSON has them: `1.5s`. */
export function seconds(ms: number): string {
  return `${ms / 1000}s`;
}
