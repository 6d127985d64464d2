/**
 * The API from the other side: what the command line calls. A unary call is one HTTP/1.1
 * request with JSON, so that a command which only asks loads no protobuf; streams are in
 * {@link ./client_streams.ts}, loaded when one is opened.
 *
 * @module
 */

import type {
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  MessageJsonType,
} from "@bufbuild/protobuf";
import { KurmaError } from "../../ffi/errors.ts";
import type { ApiStreams } from "./client_streams.ts";
import { authority, type Endpoint, endpointName } from "./endpoint.ts";
import type { Duplex } from "./http2/exchange.ts";
import type * as kurma from "./kurma.gen.ts";
import { defaultSocket } from "./socket.ts";

/** The services by the name that comes behind `kurma.v1.`. */
export interface Services {
  Containers: typeof kurma.Containers;
  Pods: typeof kurma.Pods;
  Images: typeof kurma.Images;
  Volumes: typeof kurma.Volumes;
  Events: typeof kurma.Events;
  System: typeof kurma.System;
}

/** The names of a service's unary methods, as the .proto file has them. */
type UnaryNames<Service extends DescService> = {
  [Name in keyof Service["method"] & string]: Service["method"][Name] extends DescMethodUnary
    ? Capitalize<Name>
    : never;
}[keyof Service["method"] & string];

type Method<Service extends DescService, Name extends string> =
  Service["method"][Uncapitalize<Name>] extends infer Found extends DescMethod ? Found : never;

/** How a call is made. */
export interface CallOptions {
  /** The call is cancelled when it is aborted. */
  readonly signal?: AbortSignal;
  /** The call's time limit. Default: the server's. */
  readonly timeoutMs?: number;
}

/** The largest answer to a unary call, in bytes. */
const maxAnswer = 64 * 1024 * 1024;

/** What most answers fit into, in bytes. */
const usualAnswer = 64 * 1024;

/** The largest head of an answer, in bytes. */
const maxHead = 16 * 1024;

export class ApiClient {
  readonly endpoint: Endpoint;

  /** @param where Where kurmad is; a text is the path of its socket. */
  constructor(where: Endpoint | string = defaultSocket) {
    this.endpoint = typeof where === "string" ? { kind: "unix", path: where } : where;
  }

  /** Where it is, as `-H` names it. */
  get host(): string {
    return endpointName(this.endpoint);
  }

  /**
   * Makes a unary call. Names and values are those of protobuf's JSON form.
   *
   * @throws {KurmaError} What kurmad answers, with its fix; `unavailable`: it does not run,
   *   or went away; `denied`: the socket is not ours to use.
   */
  async call<S extends keyof Services, N extends UnaryNames<Services[S]>>(
    service: S,
    method: N,
    request: MessageJsonType<Method<Services[S], N>["input"]>,
    options: CallOptions = {},
  ): Promise<MessageJsonType<Method<Services[S], N>["output"]>> {
    const path = `/kurma.v1.${service}/${method}`;
    const { status, body } = await post(this.endpoint, path, JSON.stringify(request), options);
    const answer = parsed(body);
    if (status === 200 && answer !== undefined) {
      return answer as MessageJsonType<Method<Services[S], N>["output"]>;
    }
    const { errorOf } = await import("./client_errors.ts");
    throw errorOf(answer, `kurmad answered ${path} with status ${status}`);
  }

  /** What streams are opened with. */
  async streams(): Promise<ApiStreams> {
    if (this.endpoint.kind !== "unix") {
      const { openRemoteStreams } = await import("./remote_streams.ts");
      return openRemoteStreams(this.endpoint);
    }
    const { openStreams } = await import("./client_streams.ts");
    return openStreams(this.endpoint.path);
  }
}

/** The names of a service's methods that stream. */
export type StreamNames<Service extends DescService> = {
  [Name in keyof Service["method"] & string]: Service["method"][Name] extends DescMethodStreaming
    ? Name
    : never;
}[keyof Service["method"] & string];

/** One HTTP/1.1 request on a connection of its own. */
async function post(
  endpoint: Endpoint,
  path: string,
  json: string,
  { signal, timeoutMs }: CallOptions,
): Promise<{ status: number; body: Uint8Array }> {
  signal?.throwIfAborted();
  using connection = await connect(endpoint);
  const close = () => connection.close();
  signal?.addEventListener("abort", close, { once: true });
  const length = new TextEncoder().encode(json).length;
  const limit = timeoutMs === undefined ? "" : `connect-timeout-ms: ${Math.ceil(timeoutMs)}\r\n`;
  const request = new TextEncoder().encode(
    `POST ${path} HTTP/1.1\r\nhost: ${authority(endpoint)}\r\nconnection: close\r\n` +
      `content-type: application/json\r\n` +
      `connect-protocol-version: 1\r\n${limit}${authorization(endpoint)}` +
      `content-length: ${length}\r\n\r\n${json}`,
  );
  try {
    for (let at = 0; at < request.length;) at += await connection.write(request.subarray(at));
    return await readAnswer(connection);
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof KurmaError) throw cause;
    const { wentAway } = await import("./client_errors.ts");
    throw wentAway(endpointName(endpoint), cause);
  } finally {
    signal?.removeEventListener("abort", close);
  }
}

/** What shows who we are with each call, where that is a token. */
function authorization(endpoint: Endpoint): string {
  const token = endpoint.kind === "tcp" ? endpoint.credential.token : undefined;
  return token === undefined ? "" : `authorization: Bearer ${token}\r\n`;
}

/** What `using` needs: closing twice is fine. */
async function connect(endpoint: Endpoint): Promise<Duplex & Disposable> {
  const connection = await open(endpoint);
  let isClosed = false;
  const close = () => {
    if (!isClosed) connection.close();
    isClosed = true;
  };
  return {
    read: (into) => connection.read(into),
    write: (bytes) => connection.write(bytes),
    close,
    [Symbol.dispose]: close,
  };
}

async function open(endpoint: Endpoint): Promise<Duplex> {
  if (endpoint.kind !== "unix") {
    const { dial } = await import("./dial.ts");
    return await dial(endpoint, "http/1.1");
  }
  try {
    return await Deno.connect({ transport: "unix", path: endpoint.path });
  } catch (cause) {
    const { unreachable } = await import("./client_errors.ts");
    throw unreachable(endpoint.path, cause);
  }
}

/**
 * Reads an answer whose length the server tells, which it does for all unary calls. What the
 * server does once we have it all, such as to close the connection, is not waited for.
 */
async function readAnswer(
  connection: Pick<Duplex, "read">,
): Promise<{ status: number; body: Uint8Array }> {
  let bytes = new Uint8Array(usualAnswer);
  let length = 0;
  let head: AnswerHead | undefined;
  while (head === undefined || length < head.end) {
    const count = await connection.read(bytes.subarray(length));
    if (count === null) throw new Error("The answer is not whole");
    length += count;
    head ??= headOf(bytes.subarray(0, length));
    if (length > maxAnswer) throw new Error("The answer is too large");
    if (length === bytes.length) {
      const larger = new Uint8Array(length * 4);
      larger.set(bytes);
      bytes = larger;
    }
  }
  return { status: head.status, body: bytes.subarray(head.size, head.end) };
}

/** What the head of an answer says, and where its body stands. */
interface AnswerHead {
  readonly status: number;
  readonly size: number;
  readonly end: number;
}

/** The head that `bytes` begin with; undefined if it is not whole. */
function headOf(bytes: Uint8Array): AnswerHead | undefined {
  // The head is short; the body may be long, and is not made text before it is parsed.
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, maxHead));
  const size = text.indexOf("\r\n\r\n") + 4;
  if (size < 4 && bytes.length < maxHead) return undefined;
  const head = text.slice(0, size);
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]);
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1]);
  if (!(status >= 200 && length >= 0)) throw new Error("This is no answer");
  return { status, size, end: size + length };
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
