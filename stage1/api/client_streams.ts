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
import { orAborted } from "./aborted.ts";
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
    signal?.throwIfAborted();
    let response: globalThis.Response;
    const sent = body && new Sent(body);
    const control = new AbortController();
    const answer = fetch(url, {
      client,
      method,
      headers: header,
      signal: control.signal,
      body: sent?.upTo(control.signal),
    });
    // Deno's fetch() holds its answer weakly: once it is collected, aborting ends nothing, and
    // the call goes on for ever. So the signal holds it.
    signal?.addEventListener("abort", () => giveUp(answer, control), { once: true });
    try {
      response = signal ? await orAborted(answer, signal) : await answer;
    } catch (cause) {
      signal?.throwIfAborted();
      sent?.throwIfFailed();
      throw broken(reason(cause, false));
    }
    return {
      status: response.status,
      header: response.headers,
      body: chunksOf(response.body, signal, sent, reason),
      trailer: new Headers(), // Connect has its trailers in the body.
    };
  };
}

/** How long a request may take to be sent, and its answer to begin. */
const graceMs = 100;

/**
 * Ends a call: at once if its answer has begun. Else two things are given their time first. Of
 * an answer that comes in the moment of the abort, Deno's fetch() tells nobody, and the server
 * goes on for ever. And of a request that is still to be sent, its HTTP/2 sends the reset alone,
 * for which a server has to end the connection with all its calls.
 *
 * @see RFC 9113, section 5.1; docs/decisions/108-giving-up-a-streaming-call.md
 */
function giveUp(answer: Promise<globalThis.Response>, control: AbortController): void {
  const timer = setTimeout(() => control.abort(), graceMs);
  Deno.unrefTimer(timer);
  answer.then(() => control.abort(), () => {}).finally(() => clearTimeout(timer));
}

/** The body of a request. */
class Sent {
  readonly #body: AsyncIterable<Uint8Array>;
  #failure: { readonly cause: unknown } | undefined;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#body = body;
  }

  /**
   * It ends with the signal. Once an answer has begun, fetch() tells the server of an abort only
   * when the body has ended as well, and whoever makes it may not do that.
   */
  upTo(signal: AbortSignal): ReadableStream<Uint8Array<ArrayBuffer>> {
    const chunks = ReadableStream.from(this.#chunks()) as ReadableStream<Uint8Array<ArrayBuffer>>;
    return chunks.pipeThrough(new TransformStream(), { signal });
  }

  /** Whoever makes the body knows why it has failed; fetch() knows that it did. */
  throwIfFailed(): void {
    if (this.#failure) throw this.#failure.cause;
  }

  async *#chunks(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#body;
    } catch (cause) {
      this.#failure = { cause };
      // As in giveUp(): the request is to be sent before it is reset.
      await new Promise((resolve) => setTimeout(resolve, graceMs));
      throw cause;
    }
  }
}

/** A generator, since Connect cancels by `throw`, which iterators of streams do not have. */
async function* chunksOf(
  body: ReadableStream<Uint8Array> | null,
  signal: AbortSignal | undefined,
  sent: Sent | undefined,
  reason: Reason,
): AsyncGenerator<Uint8Array> {
  try {
    if (body !== null) { for await (const chunk of body) yield chunk; }
  } catch (cause) {
    signal?.throwIfAborted();
    sent?.throwIfFailed();
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
