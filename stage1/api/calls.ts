/**
 * What holds for every call, whatever it does: errors become those of the API, a deadline
 * or a client that goes away ends it, and one that changes something is told to the audit.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import {
  type DescMessage,
  type DescMethod,
  isMessage,
  type MessageShape,
} from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  Code,
  type ConnectError,
  createContextKey,
  type Interceptor,
  type StreamResponse,
} from "@connectrpc/connect";
import { orAborted } from "./aborted.ts";
import { apiError } from "./errors.ts";
import type { Peer } from "./http2/exchange.ts";
import { readVia, restrictionsKey, type Via } from "./via.ts";

/** Who calls: `context.values.get(peerKey)` in a handler. */
export const peerKey = createContextKey<Peer | undefined>(undefined);

/** A call that changed something, or tried to, once it is over. */
export interface AuditEntry {
  readonly peer: Peer | undefined;
  /** On whose behalf. */
  readonly via: Via | undefined;
  /** For example `kurma.v1.Containers/Create`. */
  readonly method: string;
  /** What the request names: a container, an image, a volume; empty if nothing. */
  readonly subject: string;
  /** `ok`, or the gRPC status by name: `not_found`. */
  readonly outcome: string;
  /** The error's message; empty with `ok`. */
  readonly message: string;
  readonly durationMs: number;
}

/** What the daemon hears of calls. */
export interface CallListeners {
  /** Each call that is not marked as changing nothing. */
  readonly onAudit: (entry: AuditEntry) => void;
  /** Each call. `outcome` as in {@linkcode AuditEntry}. */
  readonly onCall: (method: string, outcome: string, durationMs: number) => void;
  readonly onBug: (error: unknown) => void;
}

/** The time limit of a unary call whose client sets none, by its full name. Default 60 s. */
export const defaultDeadlineMs = 60_000;

/** Calls with another limit: null for none, as they have one of their own or need none. */
const deadlinesMs: Record<string, number | null> = {
  "kurma.v1.Containers/Create": 1_800_000, // It may pull an image.
  "kurma.v1.Containers/Stop": null,
  "kurma.v1.Containers/Restart": null,
  "kurma.v1.Containers/Wait": null,
  "kurma.v1.Pods/Create": 1_800_000,
  "kurma.v1.Pods/Stop": null,
  "kurma.v1.Pods/Restart": null,
};

/** The time limit of a method where its client sets none, in milliseconds. */
export function deadlineOf(method: DescMethod): number | undefined {
  if (method.methodKind !== "unary") return undefined;
  const limit = deadlinesMs[fullName(method)];
  return limit === null ? undefined : limit ?? defaultDeadlineMs;
}

/** Wraps every call. */
export function watched({ onAudit, onCall, onBug }: CallListeners): Interceptor {
  return (next) => async (request) => {
    const began = performance.now();
    const method = fullName(request.method);
    const peer = request.contextValues.get(peerKey);
    let via: Via | undefined;
    let subject = request.stream ? "" : subjectOf(request.message);
    const over = (error?: ConnectError) => {
      const durationMs = performance.now() - began;
      const about = { peer, via, method, subject };
      // Behind the answer, which need not wait for it.
      setImmediate(() => {
        const outcome = error === undefined ? "ok" : snakeCase(Code[error.code]);
        onCall(method, outcome, durationMs);
        if (request.method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) return;
        onAudit({ ...about, outcome, message: error?.rawMessage ?? "", durationMs });
      });
    };
    const failed = (error: unknown) => {
      // What fails because of the cancellation is the cancellation.
      const { aborted, reason } = request.signal;
      const told = apiError(aborted && reason !== undefined ? reason : error, onBug);
      over(told);
      return told;
    };
    try {
      via = readVia(request.header, peer);
      request.contextValues.set(restrictionsKey, via?.restrictions);
      if (!request.stream) {
        const response = await orAborted(next(request), request.signal);
        over();
        return response;
      }
      const message = observed(request.message, (first) => (subject = subjectOf(first)));
      const response = await next({ ...request, message }) as StreamResponse;
      return { ...response, message: ended(response.message, over, failed) };
    } catch (error) {
      throw failed(error);
    }
  };
}

async function* observed<T>(messages: AsyncIterable<T>, onFirst: (first: T) => void) {
  let isFirst = true;
  for await (const message of messages) {
    if (isFirst) onFirst(message);
    isFirst = false;
    yield message;
  }
}

/** The same messages; says once how it ended, also when nobody wants the rest. */
async function* ended<T>(
  messages: AsyncIterable<T>,
  over: () => void,
  failed: (error: unknown) => unknown,
): AsyncGenerator<T> {
  let isOver = false;
  try {
    yield* messages;
    isOver = true;
    over();
  } catch (error) {
    isOver = true;
    throw failed(error);
  } finally {
    if (!isOver) failed(new Error("The client is gone"));
  }
}

/** Fields that say what a request is about, the most telling first. */
const subjects = ["container", "pod", "volume", "name", "image", "reference"];

/** What a request, or the `start` of a stream of them, names. */
function subjectOf(message: unknown): string {
  const fields = startOf(message) as Record<string, unknown>;
  for (const name of subjects) {
    const value = fields[name];
    if (typeof value === "string" && value !== "") return value;
  }
  return "";
}

/** The `start` of a stream's first message; of others, the message itself. */
export function startOf(message: unknown): object {
  if (!isMessage(message)) return {};
  const { message: oneof } = message as MessageShape<DescMessage> & {
    message?: { value?: unknown };
  };
  return isMessage(oneof?.value) ? oneof.value : message;
}

function fullName({ parent, name }: DescMethod): string {
  return `${parent.typeName}/${name}`;
}

function snakeCase(name: string): string {
  return name.replace(/(?<!^)[A-Z]/g, "_$&").toLowerCase();
}
