/**
 * Passes calls on to kurmad: whatever the method, its messages go as they were decoded here,
 * and its answers come back as they come. One way for all methods.
 *
 * @module
 */

import type {
  DescMethod,
  DescMethodStreaming,
  DescMethodUnary,
  DescService,
  MessageShape,
} from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type HandlerContext,
  type MethodImpl,
  type Transport,
} from "@connectrpc/connect";
import { type OpenTransport, openTransport } from "../api/client_streams.ts";

/** What goes with a call to kurmad, from the call that came in. */
export type HeaderOf = (context: HandlerContext) => Headers;

/** Serves all methods of `services` by calling kurmad. */
export function relay(
  router: ConnectRouter,
  services: readonly DescService[],
  connections: Connections,
  headerOf: HeaderOf,
): void {
  for (const service of services) {
    for (const method of service.methods) {
      router.rpc(method, relayed(method, connections, headerOf));
    }
  }
}

type Message = MessageShape<DescMethod["input"]>;

function relayed(
  method: DescMethod,
  connections: Connections,
  headerOf: HeaderOf,
): MethodImpl<DescMethod> {
  const { methodKind } = method;
  const takesOne = methodKind === "unary" || methodKind === "server_streaming";
  const givesOne = methodKind === "unary" || methodKind === "client_streaming";
  const implementation = (input: Message | AsyncIterable<Message>, context: HandlerContext) => {
    const messages = takesOne ? once(input as Message) : input as AsyncIterable<Message>;
    const answers = connections.use(context.signal, (transport, signal) => {
      const options = { signal, timeoutMs: context.timeoutMs(), header: headerOf(context) };
      return answersOf(method, transport, messages, options);
    });
    return givesOne ? only(answers) : answers;
  };
  return implementation as MethodImpl<DescMethod>; // The kind of method says which one it is.
}

async function* answersOf(
  method: DescMethod,
  transport: Transport,
  messages: AsyncIterable<Message>,
  { signal, timeoutMs, header }: {
    readonly signal: AbortSignal;
    readonly timeoutMs: number | undefined;
    readonly header: Headers;
  },
): AsyncGenerator<Message> {
  if (method.methodKind === "unary") {
    const message = await only(messages);
    const unary = method as DescMethodUnary;
    yield (await transport.unary(unary, signal, timeoutMs, header, message)).message;
    return;
  }
  const streaming = method as DescMethodStreaming;
  yield* (await transport.stream(streaming, signal, timeoutMs, header, messages)).message;
}

async function* once<T>(message: T): AsyncGenerator<T> {
  yield await Promise.resolve(message);
}

/** The message of what carries one. */
async function only<T>(messages: AsyncIterable<T>): Promise<T> {
  const all: T[] = [];
  for await (const message of messages) all.push(message);
  if (all.length === 1) return all[0];
  throw new ConnectError(`There are ${all.length} messages, not one`, Code.Internal);
}

/** Calls that one connection carries at once; kurmad takes 128, those it still ends included. */
const callsPerConnection = 64;

interface Line extends OpenTransport {
  calls: number;
}

/** Connections to kurmad: as many as the calls need. */
export class Connections implements Disposable {
  readonly #socket: string;
  readonly #lines = new Set<Line>();

  /** @param socket The path of kurmad's socket. */
  constructor(socket: string) {
    this.#socket = socket;
  }

  /** How many there are. */
  get size(): number {
    return this.#lines.size;
  }

  /**
   * Makes a call on a connection that has room.
   *
   * @param outer When it is aborted, the call is.
   * @param call Makes it; its `signal` is aborted too when nobody wants more of its answer.
   */
  async *use<T>(
    outer: AbortSignal,
    call: (transport: Transport, signal: AbortSignal) => AsyncIterable<T>,
  ): AsyncGenerator<T> {
    const line = this.#take();
    const ended = new AbortController();
    try {
      yield* call(line.transport, AbortSignal.any([outer, ended.signal]));
    } finally {
      // What the caller still has to say is for nobody; the call may be over without him.
      ended.abort();
      this.#giveBack(line);
    }
  }

  #take(): Line {
    for (const line of this.#lines) {
      if (line.calls >= callsPerConnection) continue;
      line.calls++;
      return line;
    }
    const { transport, ...open } = openTransport(this.#socket);
    const line = { ...open, transport, calls: 1 };
    this.#lines.add(line);
    return line;
  }

  #giveBack(line: Line): void {
    line.calls--;
    if (line.calls > 0 || this.#lines.size === 1) return;
    this.#lines.delete(line);
    line[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    for (const line of this.#lines) line[Symbol.dispose]();
    this.#lines.clear();
  }
}
