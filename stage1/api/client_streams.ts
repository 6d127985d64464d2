/**
 * Calls that stream, over HTTP/2.
 *
 * @module
 */

import { fromJson, type MessageJsonType } from "@bufbuild/protobuf";
import {
  type Client,
  Code,
  ConnectError,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";
import type { UniversalClientFn } from "@connectrpc/connect/protocol";
import { createTransport } from "@connectrpc/connect/protocol-connect";
import { type Code as OwnCode, KurmaError, outcomes } from "../../ffi/errors.ts";
import { unreachable, wentAway } from "./client_errors.ts";
import {
  Containers,
  type CreateContainerRequest,
  CreateContainerRequestSchema,
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

/** The message of a request in JSON form. */
export function createRequest(
  json: MessageJsonType<typeof CreateContainerRequestSchema>,
): CreateContainerRequest {
  return fromJson(CreateContainerRequestSchema, json);
}

/** A way to call kurmad that can be closed. */
export interface OpenTransport extends Disposable {
  readonly transport: Transport;
}

/** What a transport does besides what they all do. */
export interface TransportOptions {
  /** What requests call the server. Default: what has no name. */
  readonly authority?: string;
  readonly interceptors?: Interceptor[];
  /** Default: that the socket leads nowhere. */
  readonly reason?: Reason;
}

/** Opens nothing yet: a connection is made with the first call. */
export function openTransport(socket: string, options: TransportOptions = {}): OpenTransport {
  const { authority = "kurma", interceptors = [] } = options;
  const { reason = (cause, isOpen) => reasonOf(socket, cause, isOpen) } = options;
  const http = Deno.createHttpClient({
    proxy: { transport: "unix", path: socket },
    http1: false,
    http2: true,
  });
  const transport = createTransport({
    httpClient: overFetch(http, reason),
    baseUrl: `http://${authority}`,
    useBinaryFormat: true,
    interceptors,
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: Infinity,
    readMaxBytes: 64 * 1024 * 1024,
    writeMaxBytes: 4 * 1024 * 1024,
  });
  return { transport, [Symbol.dispose]: () => http.close() };
}

/** Clients on a connection that is made with the first call. */
export function openStreams(socket: string, options?: TransportOptions): ApiStreams {
  const { transport, ...open } = openTransport(socket, options);
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

/** What an error of the connection means, before the answer has begun and afterwards. */
export type Reason = (cause: unknown, isOpen: boolean) => KurmaError;

function reasonOf(socket: string, cause: unknown, isOpen: boolean): KurmaError {
  return isOpen ? wentAway(socket, cause) : unreachable(socket, cause);
}

function overFetch(client: Deno.HttpClient, reason: Reason): UniversalClientFn {
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
      throw broken(reason(cause, false));
    }
    // Deno's fetch() holds its response weakly: once it is collected, aborting ends nothing,
    // and the call goes on for ever. So the signal holds it.
    signal?.addEventListener("abort", () => void response, { once: true });
    return {
      status: response.status,
      header: response.headers,
      body: chunksOf(response.body, signal, reason),
      trailer: new Headers(), // Connect has its trailers in the body.
    };
  };
}

/** A generator, since Connect cancels by `throw`, which iterators of streams do not have. */
async function* chunksOf(
  body: ReadableStream<Uint8Array> | null,
  signal: AbortSignal | undefined,
  reason: Reason,
): AsyncGenerator<Uint8Array> {
  try {
    if (body !== null) { for await (const chunk of body) yield chunk; }
  } catch (cause) {
    signal?.throwIfAborted();
    throw broken(reason(cause, true));
  }
}

function broken(error: KurmaError): ConnectError {
  return new ConnectError(error.message, Code.Unavailable, undefined, undefined, error);
}

/** The error of a call as one of ours. */
export function kurmaError(error: unknown): unknown {
  if (!(error instanceof ConnectError)) return error;
  if (error.cause instanceof KurmaError) return error.cause;
  const [detail] = error.findDetails(ErrorDetailSchema);
  const known = detail !== undefined && Object.hasOwn(outcomes, detail.code)
    ? detail.code as OwnCode
    : (Object.keys(outcomes) as OwnCode[]).find((code) => outcomes[code].grpc === error.code);
  return new KurmaError(known ?? "unavailable", error.rawMessage, {
    cause: detail === undefined ? error : detail.causes.reduceRight<Error | undefined>(
      (cause, message) => new Error(message, { cause }),
      undefined,
    ),
    ...(detail?.fix ? { fix: detail.fix } : {}),
    ...(detail?.commandStatus ? { commandStatus: detail.commandStatus } : {}),
  });
}
