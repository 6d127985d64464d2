/**
 * Listeners for a server, and who it is that connects to them.
 *
 * @module
 */

import { KurmaError } from "../../../ffi/errors.ts";
import type { Kernel } from "../../../ffi/kernel.ts";
import type { Peer } from "./exchange.ts";

/** Who may connect to a unix socket. */
export interface SocketOptions {
  /** Its permission bits. */
  readonly mode: number;
  /** The number of its group. Default: that of this process. */
  readonly group?: number;
}

/**
 * Listens on a unix socket. A socket that nobody listens on any more is replaced.
 *
 * @param path Absolute; its folder is there.
 * @throws {KurmaError} `state`: somebody listens there, or it is no socket; `denied`.
 */
export async function listenUnix(path: string, options: SocketOptions): Promise<Deno.Listener> {
  await removeStale(path);
  // Nobody may connect before the socket is what it is to be. umask(2) is the process's:
  // there is no await until it is back.
  const mask = Deno.umask(0o177);
  let listener: Deno.Listener;
  try {
    listener = Deno.listen({ transport: "unix", path });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.PermissionDenied)) throw cause;
    throw new KurmaError("denied", `Cannot listen on "${path}": EACCES`, {
      cause,
      fix: "Run it as root, or name another socket",
    });
  } finally {
    Deno.umask(mask);
  }
  try {
    if (options.group !== undefined) await Deno.chown(path, null, options.group);
    await Deno.chmod(path, options.mode);
  } catch (error) {
    listener.close();
    throw error;
  }
  return listener;
}

async function removeStale(path: string): Promise<void> {
  let there: Deno.FileInfo;
  try {
    there = await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (!there.isSocket) {
    throw new KurmaError("state", `Cannot listen on "${path}": something else is there`, {
      fix: "Remove it, or name another socket",
    });
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionRefused)) throw error;
    await Deno.remove(path);
    return;
  }
  throw new KurmaError("state", `Cannot listen on "${path}": another kurmad does`, {
    fix: "Stop it first, or name another socket",
  });
}

/**
 * Tells who made a connection to a unix socket that was accepted a moment ago.
 *
 * Deno shows no descriptor of a connection. But the kernel can tell of all our sockets
 * which they are, and the one that was not there at the last look is the new one: so it is
 * called after each accept, before the next, and never else. unix(7), SO_PEERCRED; socket(7), SO_COOKIE
 */
export class Peers {
  readonly #kernel: Kernel;
  readonly #path: string;
  #known: ReadonlySet<bigint> = new Set();

  /** @param path As the listener was given it. */
  constructor(kernel: Kernel, path: string) {
    this.#kernel = kernel;
    this.#path = path;
  }

  /**
   * Who made the connection that was accepted last.
   *
   * @throws {Error} It cannot be told: no new socket is there, or several.
   */
  identify(): Extract<Peer, { kind: "unix" }> {
    const now = this.#kernel.peers(this.#path);
    const fresh = now.filter(({ cookie }) => !this.#known.has(cookie));
    this.#known = new Set(now.map(({ cookie }) => cookie));
    if (fresh.length !== 1) {
      throw new Error(`Cannot tell who connected: ${fresh.length} new sockets`);
    }
    const [{ pid, uid, gid }] = fresh;
    return { kind: "unix", pid, uid, gid };
  }
}
