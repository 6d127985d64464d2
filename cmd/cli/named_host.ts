/**
 * What `-H` and KURMA_HOST name.
 *
 * @module
 */

import type { Endpoint } from "../../stage1/api/endpoint.ts";
import { endpointOf } from "../../stage1/api/hosts.ts";
import { isSocket } from "../../stage1/api/socket.ts";
import { absolute } from "./context.ts";
import { Contexts } from "./contexts.ts";
import type { Environment } from "./current_context.ts";

/**
 * The daemon at `host`, with what the user's contexts show to it. A bare word may be a socket
 * that is there, as in the original.
 */
export async function endpointOfHost(host: string, env: Environment): Promise<Endpoint> {
  const endpoint: Endpoint = /^[\w.-]+$/.test(host) && isSocket(host)
    ? { kind: "unix", path: absolute(host) }
    : endpointOf(host, Deno.cwd());
  return endpoint.kind === "tcp" ? await new Contexts(env).withCredential(endpoint) : endpoint;
}
