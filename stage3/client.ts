/**
 * The client of stage3: asks the init of a container, over its unix socket, to start
 * processes and to say how they are.
 *
 * @module
 */

import { KurmaError } from "../ffi/errors.ts";
import {
  concat,
  encodeRequest,
  type ExecRequest,
  parseStatus,
  replies,
  requests,
  type StartRequest,
} from "./protocol.ts";

export type { ExecRequest, StartRequest };

/** How long each request may take unless told otherwise; 0 is for ever. */
export const timeoutsMs = {
  socket: 10_000,
  chroot: 10_000,
  setHostname: 5_000,
  exec: 5_000,
  start: 5_000,
  status: 1_000,
  wait: 0,
} as const;

export interface CallOptions {
  /** One deadline for connecting, sending and receiving together; 0 is none. */
  timeoutMs?: number;
}

/** More than STATUS can say of the 4,096 processes that the server remembers. */
const maxReply = 1024 * 1024;

const pollMs = 10;

/** How a call in progress is brought to an end from outside. */
type Abort = (reason: KurmaError) => void;

/**
 * Talks to one stage3. Each request opens a connection of its own, so that many may
 * run at once.
 *
 * All methods throw {@linkcode KurmaError}: `invalid` for a request that stage3 would
 * not understand, `missing` if nobody listens on the socket, `kernel` if stage3 failed
 * to do it, `state` if time ran out or the client was stopped.
 */
export class Stage3Client {
  #calls = new Map<Promise<unknown>, Abort>();
  #stopping = false;

  /** @param path The socket of the container's init. */
  constructor(readonly path: string) {}

  /** Whether {@linkcode stop} was called. */
  get stopped(): boolean {
    return this.#stopping;
  }

  /**
   * Waits until the socket exists; looks every 10 ms.
   *
   * @param options.timeoutMs Default 10,000.
   */
  async waitForSocket({ timeoutMs = timeoutsMs.socket }: CallOptions = {}): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!await isSocketOrFile(this.path)) {
      if (this.#stopping) throw shuttingDown();
      if (timeoutMs > 0 && performance.now() >= deadline) {
        throw timedOut(`Cannot see the socket "${this.path}"`);
      }
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }

  /**
   * Starts a process; resolves once its program runs.
   *
   * @param options.timeoutMs Default 5,000.
   */
  async start(request: StartRequest, options: CallOptions = {}): Promise<void> {
    await this.#order(`start "${request.command[0]}"`, requests.start(request), {
      timeoutMs: timeoutsMs.start,
      ...options,
    });
  }

  /**
   * Hands PID 1 over to another program; stage3 goes on as its child. If the program
   * cannot be run, PID 1 ends, and the container with it.
   *
   * @param options.timeoutMs Default 5,000.
   */
  async exec(request: ExecRequest, options: CallOptions = {}): Promise<void> {
    await this.#order(`exec "${request.command[0]}"`, requests.exec(request), {
      timeoutMs: timeoutsMs.exec,
      ...options,
    });
  }

  /**
   * Makes `directory`, a mount point, the root of stage3 and of what it starts from
   * then on.
   *
   * @param options.privileged Keeps the old root visible at /host. Default false.
   * @param options.timeoutMs Default 10,000.
   */
  async chroot(
    directory: string,
    { privileged = false, ...options }: CallOptions & { privileged?: boolean } = {},
  ): Promise<void> {
    await this.#order(`chroot to "${directory}"`, requests.chroot(directory, privileged), {
      timeoutMs: timeoutsMs.chroot,
      ...options,
    });
  }

  /**
   * Sets the host name in the container's UTS namespace.
   *
   * @param options.timeoutMs Default 5,000.
   */
  async setHostname(name: string, options: CallOptions = {}): Promise<void> {
    await this.#order(`set the host name to "${name}"`, requests.setHostname(name), {
      timeoutMs: timeoutsMs.setHostname,
      ...options,
    });
  }

  /**
   * The state of each named process by name, the newest first: `running`,
   * `exited(CODE)`, `signaled(NUMBER)` or `unknown`.
   *
   * @param options.timeoutMs Default 1,000.
   */
  async status(options: CallOptions = {}): Promise<Map<string, string>> {
    const what = "ask for the status";
    const reply = await this.#request(what, requests.status(), {
      timeoutMs: timeoutsMs.status,
      ...options,
    });
    return parseStatus(reply) ?? fail(what, reply);
  }

  /**
   * Waits until a named process ends; resolves at once if none is running.
   *
   * @param options.timeoutMs Default 0, none.
   */
  async wait(options: CallOptions = {}): Promise<void> {
    await this.#order("wait", requests.wait(), { timeoutMs: timeoutsMs.wait, ...options });
  }

  /** Ends all calls in progress and refuses new ones. May be called again. */
  async stop(): Promise<void> {
    this.#stopping = true;
    for (const abort of this.#calls.values()) {
      abort(new KurmaError("state", "client is stopped."));
    }
    await Promise.allSettled(this.#calls.keys());
  }

  /** A request whose only good reply is OK. */
  async #order(what: string, arrays: string[][], options: Required<CallOptions>): Promise<void> {
    const reply = await this.#request(what, arrays, options);
    if (reply !== replies.ok) fail(what, reply);
  }

  async #request(
    what: string,
    arrays: string[][],
    { timeoutMs }: Required<CallOptions>,
  ): Promise<string> {
    if (this.#stopping) throw shuttingDown();
    const request = encodeRequest(arrays);
    const aborted = Promise.withResolvers<never>();
    const over = new AbortController();
    const connection = connect(what, this.path, over.signal);
    const call = Promise.race([
      aborted.promise,
      connection.then((opened) => exchange(what, opened, request)),
    ]);
    this.#calls.set(call, aborted.reject);
    const timer = timeoutMs > 0
      ? setTimeout(() => aborted.reject(timedOut(`Cannot ${what}`)), timeoutMs)
      : undefined;
    try {
      return await call;
    } finally {
      clearTimeout(timer);
      over.abort();
      this.#calls.delete(call);
      // Closing also ends a read that the deadline or stop() has left behind.
      connection.then((opened) => opened.close(), () => undefined);
    }
  }
}

/** Connects; while the server's backlog is full, tries again until the call is over. */
async function connect(what: string, path: string, over: AbortSignal): Promise<Deno.UnixConn> {
  while (true) {
    try {
      return await Deno.connect({ transport: "unix", path });
    } catch (cause) {
      if (cause instanceof Deno.errors.WouldBlock && !over.aborted) {
        await new Promise((resolve) => setTimeout(resolve, pollMs));
        continue;
      }
      const gone = cause instanceof Deno.errors.NotFound ||
        cause instanceof Deno.errors.ConnectionRefused;
      throw new KurmaError(gone ? "missing" : "kernel", `Cannot ${what}: no stage3 at "${path}"`, {
        cause,
        fix: "Check that the container is running",
      });
    }
  }
}

/** Sends the request and reads the reply until the server closes. */
async function exchange(
  what: string,
  connection: Deno.UnixConn,
  request: Uint8Array,
): Promise<string> {
  let failure: unknown;
  try {
    for (let at = 0; at < request.length;) at += await connection.write(request.subarray(at));
  } catch (error) {
    failure = error; // A server that refuses early closes early: its reply still counts.
  }
  const parts: Uint8Array[] = [];
  let length = 0;
  const chunk = new Uint8Array(16 * 1024);
  try {
    for (let read; (read = await connection.read(chunk)) !== null;) {
      parts.push(chunk.slice(0, read));
      length += read;
      if (length > maxReply) throw new KurmaError("kernel", `Cannot ${what}: reply too long`);
    }
  } catch (error) {
    if (error instanceof KurmaError) throw error;
    failure ??= error;
  }
  if (length === 0) {
    throw new KurmaError("kernel", `Cannot ${what}: stage3 closed without a reply`, {
      cause: failure,
    });
  }
  return new TextDecoder().decode(concat(parts));
}

/** What a reply other than the expected one means. */
function fail(what: string, reply: string): never {
  if (reply === replies.malformed) {
    throw new KurmaError("invalid", `Cannot ${what}: stage3 does not understand the request`);
  }
  if (reply === replies.failed) {
    throw new KurmaError("kernel", `Cannot ${what}: stage3 failed to do it`, {
      fix: "Look at the container's log for the reason",
    });
  }
  const shown = JSON.stringify(reply.slice(0, 80));
  throw new KurmaError("kernel", `Cannot ${what}: invalid response ${shown}`);
}

function timedOut(what: string): KurmaError {
  return new KurmaError("state", `${what}: i/o timeout`);
}

function shuttingDown(): KurmaError {
  return new KurmaError("state", "client is shutting down.");
}

async function isSocketOrFile(path: string): Promise<boolean> {
  try {
    const { isSocket, isFile } = await Deno.stat(path);
    return isSocket === true || isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
