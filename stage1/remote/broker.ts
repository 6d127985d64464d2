/**
 * kurma-api behind its door: looks at each call of a remote caller, decides, and passes on
 * to kurmad what may go. What is decided about is the message that is passed on: it is
 * decoded once, and sent as it was decoded.
 *
 * Here it is decided who may call what. What a container may be given is decided by kurmad,
 * by what this tells it of the caller: kurmad alone knows what image, manifest and request
 * come to, and nothing can change in between.
 *
 * @module
 */

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { peerKey } from "../api/calls.ts";
import { apiHandler, type ApiOptions } from "../api/handler.ts";
import {
  type Handler,
  type Peer,
  piecesOf,
  type Request,
  type Response,
} from "../api/http2/exchange.ts";
import { type Limits, tcpLimits } from "../api/http2/limits.ts";
import { Containers, Events, Images, Pods, System, Volumes } from "../api/kurma.gen.ts";
import { Health } from "../api/standard/grpc/health/v1/health.gen.ts";
import { type Via, viaHeader, writeVia } from "../api/via.ts";
import { browserRefusal } from "./browsers.ts";
import { type Policy, requireMethod, restrictionsFor } from "./policy.ts";
import { Rates } from "./rates.ts";
import { Connections, relay } from "./relay.ts";

/** What a broker is told. Its listeners hear of refused calls too, which kurmad never sees. */
export interface BrokerOptions extends Pick<ApiOptions, "onAudit" | "onCall" | "onBug"> {
  /** The path of kurmad's socket. */
  readonly socket: string;
  /** The policy as it is now: asked once for each call, so that a change holds at once. */
  readonly policy: () => Policy | Promise<Policy>;
  /** What this machine is called: names and addresses, in lower case, without ports. */
  readonly hosts: readonly string[];
  /** The largest message, in bytes. Default 4 MiB; a larger one is refused, not cut. */
  readonly maxMessage?: number;
  /** Told of a request that was refused before it was a call: who made it, and why. */
  readonly onRefused?: (peer: Peer, reason: string) => void;
}

/** What connections of remote callers may cost; for {@linkcode HttpServer}. */
export const brokerLimits: Limits = {
  ...tcpLimits,
  connections: 256,
  streams: 64,
  idleMs: 120_000,
};

/** What Kurma's own clients say for the host, whatever they reach it by. */
const ownHost = "kurma";

const services = [Containers, Pods, Images, Volumes, Events, System, Health];

const unknownCaller = "Nobody knows who you are";

type TlsPeer = Extract<Peer, { kind: "tls" }>;

/**
 * Answers the calls of remote callers, whose peers are of kind `tls`; all others are refused.
 * Dispose of it to close its connections to kurmad.
 */
export function brokerHandler(options: BrokerOptions): Handler & Disposable {
  const { socket, policy, hosts, maxMessage, onRefused, onAudit, onCall, onBug } = options;
  const connections = new Connections(socket);
  const rates = new Rates();
  // What a call began with holds for all of it, by the copy of its peer that goes with it.
  const begun = new WeakMap<Peer, Policy>();
  const callOf = (peer: Peer | undefined): { peer: TlsPeer; policy: Policy } => {
    const policy = peer && begun.get(peer);
    if (peer?.kind === "tls" && policy !== undefined) return { peer, policy };
    throw new ConnectError(unknownCaller, Code.Unauthenticated);
  };
  const allowed: Interceptor = (next) => (request) => {
    const { peer, policy } = callOf(request.contextValues.get(peerKey));
    requireMethod(policy, peer, request.method);
    return next(request);
  };
  const calls = apiHandler({
    ...{ onAudit, onCall, onBug, maxMessage },
    interceptors: [allowed],
    services: (router) =>
      relay(router, services, connections, ({ values }) => {
        const { peer, policy } = callOf(values.get(peerKey));
        return new Headers({ [viaHeader]: writeVia(viaOf(peer, policy)) });
      }),
  });
  const handler: Handler = async (request) => {
    const refuse = (status: number, code: Code, reason: string, retryAfterMs?: number) => {
      onRefused?.(request.peer, reason);
      return refusal(request, status, code, reason, retryAfterMs);
    };
    const now = await policy();
    const browser = browserRefusal(request, {
      hosts: [ownHost, ...hosts, ...now.hosts],
      origins: now.origins,
    });
    if (browser !== undefined) return refuse(403, Code.PermissionDenied, browser);
    if (request.peer.kind !== "tls") {
      return refuse(401, Code.Unauthenticated, unknownCaller);
    }
    const peer = { ...request.peer };
    begun.set(peer, now);
    const admission = rates.admit(peer.name, now.limits);
    if (!admission.admitted) {
      const { reason, retryAfterMs } = admission;
      return refuse(429, Code.ResourceExhausted, reason, retryAfterMs);
    }
    const { call } = admission;
    const { signal } = request;
    signal.addEventListener("abort", () => call[Symbol.dispose](), { once: true });
    if (signal.aborted) call[Symbol.dispose]();
    return await until(calls({ ...request, peer }), call);
  };
  return Object.assign(handler, { [Symbol.dispose]: () => connections[Symbol.dispose]() });
}

/** What kurmad is told of a caller. */
function viaOf(peer: TlsPeer, policy: Policy): Via {
  const { name, role, credential, fingerprint, address } = peer;
  const restrictions = restrictionsFor(policy, peer);
  return {
    ...{ name, role, credential, fingerprint, address },
    ...(restrictions ? { restrictions } : {}),
  };
}

/** The answer, with `call` disposed of when it is at its end; that nobody wants it ends it too. */
async function until(answer: Promise<Response>, call: Disposable): Promise<Response> {
  try {
    const response = await answer;
    const { body } = response;
    if (body !== undefined) return { ...response, body: disposing(body, call) };
    call[Symbol.dispose]();
    return response;
  } catch (error) {
    call[Symbol.dispose]();
    throw error;
  }
}

async function* disposing(body: NonNullable<Response["body"]>, call: Disposable) {
  using _call = call;
  yield* piecesOf(body);
}

/** An answer to what is no call yet, in the words of the protocol that it came with. */
function refusal(
  { header: asked }: Request,
  status: number,
  code: Code,
  reason: string,
  retryAfterMs?: number,
): Response {
  const header = new Headers();
  if (retryAfterMs !== undefined) {
    header.set("retry-after", String(Math.max(1, Math.ceil(retryAfterMs / 1_000))));
  }
  if (/^application\/grpc(?:\+|;|$)/.test(asked.get("content-type") ?? "") && status !== 403) {
    header.set("content-type", "application/grpc");
    header.set("grpc-status", String(code));
    header.set("grpc-message", encodeURIComponent(reason));
    return { status: 200, header };
  }
  const words = Code[code].replace(/(?<!^)[A-Z]/g, "_$&").toLowerCase();
  const bytes = new TextEncoder().encode(JSON.stringify({ code: words, message: reason }));
  header.set("content-type", "application/json");
  header.set("content-length", String(bytes.length));
  return { status, header, body: ReadableStream.from([bytes]) };
}
