/**
 * The API as the daemon serves it: its handler on its sockets.
 *
 * @module
 */

import type { Kernel } from "../../ffi/kernel.ts";
import { apiHandler, type ApiOptions } from "./handler.ts";
import { tcpLimits } from "./http2/limits.ts";
import { listenUnix, Peers, type SocketOptions } from "./http2/listen.ts";
import { HttpServer } from "./http2/server.ts";
import type { Role } from "../remote/roles.ts";

/** A socket of the API. */
export interface ApiSocket extends SocketOptions {
  /** What may be done over it. Default: everything. */
  readonly role?: Role;
  /** Whether one that the service manager listens on stands for it. Default false. */
  readonly inherited?: boolean;
}

export class Api {
  readonly #kernel: Kernel;
  readonly #server: HttpServer;
  readonly #onBug: ApiOptions["onBug"];

  constructor(kernel: Kernel, options: ApiOptions) {
    this.#kernel = kernel;
    this.#onBug = options.onBug;
    this.#server = new HttpServer({ handler: apiHandler(options), onBug: options.onBug });
  }

  /** Connections there are now. */
  get connections(): number {
    return this.#server.connections;
  }

  /**
   * Listens on a unix socket, or serves the one that the service manager listens on, and
   * knows who connects.
   *
   * @throws {KurmaError} `state`: somebody listens there; `denied`.
   */
  async listenUnix(path: string, options: ApiSocket): Promise<void> {
    const { role, inherited } = options;
    if (inherited && Deno.env.has("LISTEN_FDS") && await this.#serveInherited()) return;
    const listener = await listenUnix(path, options);
    const peers = new Peers(this.#kernel, path);
    const held = role === undefined ? {} : { role };
    this.#server.listen(listener, () => ({ ...peers.identify(), ...held }));
  }

  /** False if no socket was passed to this process. */
  async #serveInherited(): Promise<boolean> {
    const { acceptAll, inheritedSockets } = await import("../operation/activation.ts");
    const [socket] = inheritedSockets(Deno.env.toObject());
    if (socket === undefined) return false;
    Deno.env.delete("LISTEN_FDS"); // It is ours, and nobody else's whom we start.
    acceptAll(
      this.#kernel,
      socket,
      (duplex, who) => this.#server.serve(duplex, { kind: "unix", ...who }),
      this.#onBug,
    ).catch(this.#onBug);
    return true;
  }

  /**
   * Listens on an address, for whoever reaches it: there is no knowing who that is.
   *
   * @returns The address, with the port that was chosen for port 0.
   */
  listenTcp(hostname: string, port: number): Deno.NetAddr {
    const listener = Deno.listen({ hostname, port });
    const identify = (connection: Deno.Conn) => {
      const { hostname, port } = connection.remoteAddr as Deno.NetAddr;
      (connection as Deno.TcpConn).setNoDelay();
      return { kind: "tcp", address: `${hostname}:${port}` } as const;
    };
    this.#server.listen(listener, identify, tcpLimits);
    return listener.addr as Deno.NetAddr;
  }

  /** Stops: calls that run have `graceMs` to end, then they are cancelled. */
  async stop(graceMs: number): Promise<void> {
    await this.#server.stop(graceMs);
  }
}
