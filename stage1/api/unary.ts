/**
 * Unary calls of the Connect protocol as most clients send them: one request by POST, one
 * answer. The library that speaks all other protocols could answer these as well; it makes
 * them streams of one message, with a copy of all headers and an exception at each end, which a
 * daemon that was idle pays for in full (docs/decisions/107-unary-calls.md).
 *
 * @module
 * @see https://connectrpc.com/docs/protocol#unary-request
 */

import { Buffer } from "node:buffer";
import { setImmediate } from "node:timers";
import {
  create,
  type DescMethodUnary,
  isMessage,
  type JsonReadOptions,
  type JsonWriteOptions,
  type Message,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextKey,
  type HandlerContext,
  type Interceptor,
  type MethodImplSpec,
} from "@connectrpc/connect";
import {
  type Compression,
  compressionNegotiate,
  createMethodSerializationLookup,
  mergeNonProtocolHeaders,
} from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  contentTypeUnaryJson,
  contentTypeUnaryProto,
  errorToJsonBytes,
  parseTimeout,
} from "@connectrpc/connect/protocol-connect";
import { longestTimer } from "../units.ts";
import { deadlineOf } from "./calls.ts";
import type { Request, Response } from "./http2/exchange.ts";

/** What holds for all calls. */
export interface UnaryOptions {
  /** The outermost first. */
  readonly interceptors: readonly Interceptor[];
  readonly jsonOptions: Partial<JsonReadOptions & JsonWriteOptions>;
  readonly acceptCompression: Compression[];
  /** Answers from this size on are compressed for who takes that; bytes. */
  readonly compressMinBytes: number;
  /** The largest request, in bytes. */
  readonly readMaxBytes: number;
}

/** A unary method and what carries it out. */
export type UnarySpec = Extract<MethodImplSpec, { kind: "unary" }>;

/** Answers one call; its messages are binary, or JSON. */
export type UnaryHandler = (
  request: Request,
  values: ContextValues,
  isBinary: boolean,
) => Promise<Response>;

/** The time limits that a header can have: ten digits of milliseconds. */
const maxTimeoutMs = Number.MAX_SAFE_INTEGER;

/** The handler of one method. */
export function unaryHandler(spec: UnarySpec, options: UnaryOptions): UnaryHandler {
  const { method } = spec;
  const { acceptCompression, jsonOptions, readMaxBytes, compressMinBytes } = options;
  const messages = createMethodSerializationLookup(method, undefined, jsonOptions, {
    readMaxBytes,
    writeMaxBytes: 0xffff_ffff,
  });
  const call = intercepted(spec, options.interceptors);
  return async (request, values, isBinary) => {
    const { header } = request;
    const compression = compressionNegotiate(
      acceptCompression,
      header.get("content-encoding"),
      header.get("accept-encoding"),
      "accept-encoding",
    );
    const timeout = parseTimeout(header.get("connect-timeout-ms"), maxTimeoutMs);
    const answer = new Headers();
    let status = 200;
    let bytes: Uint8Array;
    using limit = new Limit(request, timeout.timeoutMs ?? deadlineOf(method));
    try {
      if (compression.error) throw compression.error;
      if (timeout.error) throw timeout.error;
      let body = await whole(request, readMaxBytes);
      if (compression.request) body = await compression.request.decompress(body, readMaxBytes);
      const message = messages.getI(isBinary).parse(body);
      const answered = await call(request, message, values, limit);
      bytes = messages.getO(isBinary).serialize(answered.message);
      for (const [name, value] of answered.header) answer.append(name, value);
      for (const [name, value] of answered.trailer) answer.append(`trailer-${name}`, value);
      answer.set("content-type", isBinary ? contentTypeUnaryProto : contentTypeUnaryJson);
    } catch (error) {
      const told = error instanceof ConnectError
        ? error
        : new ConnectError("internal error", Code.Internal, undefined, undefined, error);
      status = codeToHttpStatus(told.code);
      mergeNonProtocolHeaders(answer, told.metadata);
      answer.set("content-type", contentTypeUnaryJson);
      bytes = errorToJsonBytes(told, jsonOptions);
    }
    if (compression.response && bytes.length >= compressMinBytes) {
      bytes = await compression.response.compress(bytes);
      answer.set("content-encoding", compression.response.name);
    }
    answer.set("content-length", String(bytes.length));
    return { status, header: answer, body: bytes };
  };
}

/** What a method answers, and with which headers. */
interface Answered {
  readonly message: Message;
  readonly header: Headers;
  readonly trailer: Headers;
}

type Call = (
  request: Request,
  message: Message,
  values: ContextValues,
  limit: Limit,
) => Promise<Answered>;

const limitKey = createContextKey<Limit | undefined>(undefined);

/** The method behind its interceptors, which are put together once. */
function intercepted(spec: UnarySpec, interceptors: readonly Interceptor[]): Call {
  const method: DescMethodUnary = spec.method;
  const service = method.parent;
  const chain = interceptors.reduceRight<ReturnType<Interceptor>>(
    (next, interceptor) => interceptor(next),
    async (request) => {
      const context: HandlerContext = {
        ...{ service, method, protocolName: "connect", requestMethod: "POST", url: request.url },
        signal: request.signal,
        values: request.contextValues,
        requestHeader: request.header,
        responseHeader: new Headers(),
        responseTrailer: new Headers(),
        timeoutMs: () => request.contextValues.get(limitKey)?.leftMs(),
      };
      const made = await spec.impl(request.message as Message, context);
      const message = isMessage(made, method.output) ? made : create(method.output, made);
      const { responseHeader: header, responseTrailer: trailer } = context;
      return { stream: false, service, method, message, header, trailer };
    },
  );
  return async ({ url, header, signal }, message, contextValues, limit) => {
    contextValues.set(limitKey, limit);
    const asked = { stream: false, service, method, requestMethod: "POST", url, header } as const;
    return await chain({ ...asked, message, contextValues, signal }) as Answered;
  };
}

/** Cancels a request when its time is over. */
class Limit implements Disposable {
  readonly #end: number | undefined;
  #timer: number | undefined;
  #isOver = false;

  constructor(request: Request, limitMs: number | undefined) {
    // Who waits longer than a timer can has no limit.
    if (limitMs === undefined || limitMs > longestTimer) return;
    this.#end = performance.now() + limitMs;
    // Most calls are over by then: they need no timer.
    setImmediate(() => {
      if (this.#isOver) return;
      this.#timer = setTimeout(() => {
        request.cancel(new ConnectError("the operation timed out", Code.DeadlineExceeded));
      }, this.leftMs());
    });
  }

  /** What is left; undefined without a limit. Milliseconds. */
  leftMs(): number | undefined {
    return this.#end === undefined ? undefined : Math.ceil(this.#end - performance.now());
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }
}

/** The body of a request, which may not be larger than that. */
async function whole({ header, body }: Request, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = (bytes: number) =>
    new ConnectError(
      `message size ${bytes} is larger than configured readMaxBytes ${maxBytes}`,
      Code.ResourceExhausted,
    );
  const promised = Number(header.get("content-length") ?? 0);
  if (promised > maxBytes) throw tooLarge(promised);
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of body) {
    pieces.push(piece);
    length += piece.length;
    if (length > maxBytes) throw tooLarge(length);
  }
  return pieces.length === 1 ? pieces[0] : Buffer.concat(pieces);
}
