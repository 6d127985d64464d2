/**
 * From the services to one handler of HTTP requests: gRPC, gRPC-Web and Connect, picked by
 * path and content type.
 *
 * @module
 */

import { promisify } from "node:util";
import { gunzip as gunzipWith, gzip as gzipWith } from "node:zlib";
import type { DescService } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  createContextValues,
  createMethodImplSpec,
  createServiceImplSpec,
  type Interceptor,
  type MethodImplSpec,
} from "@connectrpc/connect";
import { createMethodUrl, type UniversalHandler } from "@connectrpc/connect/protocol";
import { parseContentType } from "@connectrpc/connect/protocol-connect";
import { type CallListeners, deadlineOf, peerKey, watched } from "./calls.ts";
import { type Handler, type Request, type Response, textResponse } from "./http2/exchange.ts";
import { reflect } from "./reflection.ts";
import { type UnaryHandler, unaryHandler } from "./unary.ts";

/** What is served. */
export interface ApiOptions extends CallListeners {
  /** Registers the services; reflection comes by itself. */
  readonly services: (router: ConnectRouter) => void;
  /** Before every method, behind what watches the call. */
  readonly interceptors?: readonly Interceptor[];
  /** The largest message, in bytes. Default 4 MiB. */
  readonly maxMessage?: number;
  /** Other things at fixed paths, for GET alone: `/metrics`. */
  readonly pages?: Readonly<Record<string, () => Promise<Response>>>;
}

export const defaultMaxMessage = 4 * 1024 * 1024;

/** One handler for all services. */
export function apiHandler(options: ApiOptions): Handler {
  const common = {
    acceptCompression: [gzip],
    // A name that is mistyped is told, not passed over.
    jsonOptions: { ignoreUnknownFields: false },
    readMaxBytes: options.maxMessage ?? defaultMaxMessage,
    compressMinBytes: 16 * 1024,
    interceptors: [watched(options), ...options.interceptors ?? []],
  };
  const unary = new Map<string, UnaryHandler>();
  const router = recording(createConnectRouter(common), (spec) => {
    if (spec.kind === "unary") {
      unary.set(createMethodUrl("/", spec.method), unaryHandler(spec, common));
    }
  });
  options.services(router);
  reflect(router, servicesOf(router));
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return async (request) => {
    const { path, method, header, peer } = request;
    const handler = handlers.get(path);
    if (handler === undefined) return await elsewhere(request, options.pages ?? {});
    const contextValues = createContextValues().set(peerKey, peer);
    const call = method === "POST" ? unary.get(path) : undefined;
    const type = call && parseContentType(header.get("content-type"));
    if (call && type && !type.stream) return await call(request, contextValues, type.binary);
    setDeadline(request, handler);
    return await handler({ ...request, contextValues });
  };
}

/** The same router, which tells of each method that is registered. */
function recording(router: ConnectRouter, tell: (spec: MethodImplSpec) => void): ConnectRouter {
  const own: ConnectRouter = {
    handlers: router.handlers,
    service(service, implementation, options) {
      const { methods } = createServiceImplSpec(service, implementation);
      for (const spec of Object.values(methods)) tell(spec);
      router.service(service, implementation, options);
      return own;
    },
    rpc(method, implementation, options) {
      tell(createMethodImplSpec(method, implementation));
      router.rpc(method, implementation, options);
      return own;
    },
  };
  return own;
}

function servicesOf({ handlers }: ConnectRouter): DescService[] {
  return [...new Set(handlers.map(({ service }) => service))];
}

/** A unary call without a time limit gets one; the protocols keep to it. */
function setDeadline({ header }: Request, { method }: UniversalHandler): void {
  const limitMs = deadlineOf(method);
  if (limitMs === undefined) return;
  const isGrpc = header.get("content-type")?.startsWith("application/grpc");
  const name = isGrpc ? "grpc-timeout" : "connect-timeout-ms";
  if (!header.has(name)) header.set(name, isGrpc ? `${limitMs}m` : String(limitMs));
}

async function elsewhere(
  { path, method, header }: Request,
  pages: NonNullable<ApiOptions["pages"]>,
): Promise<Response> {
  if (header.get("content-type")?.startsWith("application/grpc")) {
    return {
      status: 200,
      header: new Headers({
        "content-type": "application/grpc",
        "grpc-status": String(Code.Unimplemented),
        "grpc-message": encodeURIComponent(`Kurma has no method ${path.slice(1)}`),
      }),
    };
  }
  const page = Object.hasOwn(pages, path) ? pages[path] : undefined;
  if (page === undefined) return textResponse(404, `Nothing is at ${path}`);
  if (method !== "GET") return textResponse(405, "Only GET is for this page");
  return await page();
}

const deflate = promisify(gzipWith);
const inflate = promisify<Uint8Array, { maxOutputLength: number }, Uint8Array>(gunzipWith);

/** What clients may compress messages with, and get them compressed with if they ask. */
const gzip = {
  name: "gzip",
  async compress(bytes: Uint8Array) {
    return new Uint8Array(await deflate(bytes, { level: 1 }));
  },
  async decompress(bytes: Uint8Array, maxBytes: number) {
    if (bytes.length === 0) return new Uint8Array();
    try {
      return new Uint8Array(await inflate(bytes, { maxOutputLength: maxBytes }));
    } catch (error) {
      const tooLarge = error instanceof Error && "code" in error &&
        error.code === "ERR_BUFFER_TOO_LARGE";
      throw tooLarge
        ? new ConnectError(`message is larger than ${maxBytes} bytes`, Code.ResourceExhausted)
        : new ConnectError("message is compressed wrongly", Code.InvalidArgument);
    }
  },
};
