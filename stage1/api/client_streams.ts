/**
 * Calls that stream, over HTTP/2 on kurmad's socket.
 *
 * @module
 */

import { type Client, Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import type { UniversalClientFn } from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-connect";
import { type Code as OwnCode, KurmaError, outcomes } from "../../ffi/errors.ts";
import { unreachable } from "./client.ts";
import {
  Containers,
  ErrorDetailSchema,
  Events,
  Images,
  Pods,
  System,
  Volumes,
} from "./kurma.gen.ts";

/** Clients of all services, with all methods. Their errors become ours by {@linkcode kurmaError}. */
export interface ApiStreams extends Disposable {
  readonly containers: Client<typeof Containers>;
  readonly pods: Client<typeof Pods>;
  readonly images: Client<typeof Images>;
  readonly volumes: Client<typeof Volumes>;
  readonly events: Client<typeof Events>;
  readonly system: Client<typeof System>;
}

/** A way to call kurmad that can be closed. */
export interface OpenTransport extends Disposable {
  readonly transport: Transport;
}

/** Opens nothing yet: a connection is made with the first call. */
export function openTransport(socket: string): OpenTransport {
  const http = Deno.createHttpClient({
    proxy: { transport: "unix", path: socket },
    http1: false,
    http2: true,
  });
  const transport = createTransport({
    httpClient: overFetch(http, socket),
    baseUrl: "http://kurma",
    useBinaryFormat: true,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: Infinity,
    readMaxBytes: 64 * 1024 * 1024,
    writeMaxBytes: 4 * 1024 * 1024,
  });
  return { transport, [Symbol.dispose]: () => http.close() };
}

/** Clients on a connection that is made with the first call. */
export function openStreams(socket: string): ApiStreams {
  const { transport, ...open } = openTransport(socket);
  return {
    ...open,
    containers: createClient(Containers, transport),
    pods: createClient(Pods, transport),
    images: createClient(Images, transport),
    volumes: createClient(Volumes, transport),
    events: createClient(Events, transport),
    system: createClient(System, transport),
  };
}

function overFetch(client: Deno.HttpClient, socket: string): UniversalClientFn {
  return async ({ url, method, header, body, signal }) => {
    let response: globalThis.Response;
    try {
      response = await fetch(url, {
        client,
        method,
        headers: header,
        signal,
        body: body === undefined ? undefined : ReadableStream.from(body) as ReadableStream<
          Uint8Array<ArrayBuffer>
        >,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      const { message } = unreachable(socket, cause);
      throw new ConnectError(message, Code.Unavailable, undefined, undefined, cause);
    }
    return {
      status: response.status,
      header: response.headers,
      body: chunksOf(response.body),
      trailer: new Headers(), // Connect has its trailers in the body.
    };
  };
}

/** A generator, since Connect cancels by `throw`, which iterators of streams do not have. */
async function* chunksOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body !== null) { for await (const chunk of body) yield chunk; }
}

/** The error of a call as one of ours. */
export function kurmaError(error: unknown): unknown {
  if (!(error instanceof ConnectError)) return error;
  const [detail] = error.findDetails(ErrorDetailSchema);
  const known = detail !== undefined && Object.hasOwn(outcomes, detail.code)
    ? detail.code as OwnCode
    : (Object.keys(outcomes) as OwnCode[]).find((code) => outcomes[code].grpc === error.code);
  return new KurmaError(known ?? "unavailable", error.rawMessage, {
    cause: detail?.causes.reduceRight<Error | undefined>(
      (cause, message) => new Error(message, { cause }),
      undefined,
    ) ?? error,
    ...(detail?.fix ? { fix: detail.fix } : {}),
  });
}
