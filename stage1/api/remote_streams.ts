/**
 * Calls that stream to a daemon elsewhere: Deno's HTTP/2 client comes to it over a
 * {@linkcode Bridge}.
 *
 * @module
 */

import type { Interceptor } from "@connectrpc/connect";
import { KurmaError } from "../../ffi/errors.ts";
import { Bridge } from "./bridge.ts";
import { wentAway } from "./client_errors.ts";
import { type ApiStreams, openStreams } from "./client_streams.ts";
import { dial, type Remote } from "./dial.ts";
import { authority, endpointName } from "./endpoint.ts";

/** Opens nothing yet, as {@linkcode openStreams} does not. */
export function openRemoteStreams(endpoint: Remote): ApiStreams {
  const bridge = new Bridge(() => dial(endpoint, "h2"));
  const token = endpoint.kind === "tcp" ? endpoint.credential.token : undefined;
  const streams = openStreams(bridge.path, {
    authority: authority(endpoint),
    interceptors: token === undefined ? [] : [authorizing(token)],
    reason: (cause) =>
      bridge.failure instanceof KurmaError
        ? bridge.failure
        : wentAway(endpointName(endpoint), cause),
  });
  return {
    ...streams,
    [Symbol.dispose]: () => {
      streams[Symbol.dispose]();
      bridge[Symbol.dispose]();
    },
  };
}

function authorizing(token: string): Interceptor {
  return (next) => (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
}
