/**
 * Sockets that the service manager listens on before the daemon runs, and goes on listening on
 * after it: nobody who connects in between is refused.
 *
 * @module
 * @see sd_listen_fds(3)
 */

import { Socket } from "node:net";
import process from "node:process";
import { KurmaError } from "../../ffi/errors.ts";
import { type Accepted, type Descriptor, type Kernel, KernelError } from "../../ffi/kernel.ts";
import type { Connection } from "../api/http2/exchange.ts";

/** The first descriptor that is passed. */
const firstDescriptor = 3;

/**
 * The sockets that were passed to this process, by LISTEN_PID and LISTEN_FDS.
 *
 * @throws {KurmaError} `invalid`: the variables say what cannot be.
 */
export function inheritedSockets(
  { LISTEN_PID, LISTEN_FDS }: Readonly<Record<string, string | undefined>>,
): Descriptor[] {
  if (LISTEN_FDS === undefined || LISTEN_PID !== String(Deno.pid)) return [];
  const count = /^[0-9]{1,3}$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : undefined;
  if (count === undefined) {
    throw new KurmaError("invalid", `Cannot use LISTEN_FDS="${LISTEN_FDS}": it is no number`);
  }
  return Array.from({ length: count }, (_, index) => firstDescriptor + index);
}

/**
 * Accepts connections for ever: the socket is the service manager's, which goes on
 * listening when this process has ended.
 *
 * @param serve Gets each connection, which is its to close.
 * @param failed Told of a connection that could not be accepted.
 */
export async function acceptAll(
  kernel: Pick<Kernel, "accept" | "endOutput" | "write">,
  socket: Descriptor,
  serve: (connection: Connection, who: Omit<Accepted, "descriptor">) => void,
  failed: (error: KernelError) => void,
): Promise<never> {
  while (true) {
    try {
      const { descriptor, ...who } = await kernel.accept(socket);
      serve(adopt(kernel, descriptor), who);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      failed(error);
      // Without descriptors there is nothing to accept with: let others be closed first.
      if (error.errno !== "EAGAIN") await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

/** What Node calls a pipe is a unix stream socket. */
interface PipeHandle {
  open(descriptor: Descriptor): number;
}

interface PipeBinding {
  readonly Pipe: new (kind: number) => PipeHandle;
  readonly constants: { readonly SOCKET: number };
}

/**
 * A connected unix stream socket, by its descriptor. Deno has no way of its own to take one
 * over; this is the one that Node's `net` has, and a test holds Deno to it.
 */
function adopt(kernel: Pick<Kernel, "endOutput" | "write">, descriptor: Descriptor): Connection {
  const { binding } = process as unknown as { binding(name: "pipe_wrap"): PipeBinding };
  const { Pipe, constants } = binding.call(process, "pipe_wrap");
  const handle = new Pipe(constants.SOCKET);
  handle.open(descriptor);
  // The end of what comes in is not the end of what may go out.
  const options = { handle, allowHalfOpen: true };
  const socket = new Socket(options as unknown as ConstructorParameters<typeof Socket>[0]);
  const chunks = socket.iterator({ destroyOnReturn: false });
  socket.on("error", () => socket.destroy()); // Who reads or writes is told of it as well.
  let rest: Uint8Array = new Uint8Array();
  const assertOpen = () => {
    // From then on the number may be that of another descriptor.
    if (socket.destroyed) throw new Deno.errors.BrokenPipe("The connection is closed");
  };
  /** A write of nothing, which Node would keep from the kernel. */
  const ask = () => {
    assertOpen();
    try {
      kernel.write(descriptor, new Uint8Array());
    } catch (error) {
      asDeno(error);
    }
  };
  return {
    async read(into) {
      while (rest.length === 0) {
        const next = await chunks.next().catch(asDeno);
        if (next.done) return null;
        rest = next.value as Uint8Array;
      }
      const count = Math.min(rest.length, into.length);
      into.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      return count;
    },
    async write(bytes) {
      if (bytes.length === 0) {
        ask();
        return 0;
      }
      const copy = bytes.slice(); // The caller may use its memory again.
      await new Promise<void>((resolve, reject) =>
        socket.write(copy, (error) => error ? reject(error) : resolve())
      ).catch(asDeno);
      return bytes.length;
    },
    // deno-lint-ignore require-await -- As of a connection of Deno's, which throws nothing at once.
    async closeWrite() {
      assertOpen();
      kernel.endOutput(descriptor); // Deno's end() ends both ways.
    },
    close: () => void socket.destroy(),
  };
}

/** What Deno's own connections throw when they are over. */
const errors: Readonly<Record<string, new (message: string, options: ErrorOptions) => Error>> = {
  ECONNRESET: Deno.errors.ConnectionReset,
  EPIPE: Deno.errors.BrokenPipe,
  ERR_STREAM_DESTROYED: Deno.errors.BrokenPipe,
};

/** Throws an error of Node's or the kernel's as one of Deno's, if it has that one. */
function asDeno(cause: unknown): never {
  if (!(cause instanceof Error)) throw cause;
  const code = cause instanceof KernelError ? cause.errno : "code" in cause ? cause.code : "";
  const Known = errors[String(code)];
  throw Known === undefined ? cause : new Known(cause.message, { cause });
}
