/**
 * Listeners for a server, and who it is that connects to them.
 *
 * @module
 */

import { KurmaError } from "../../../ffi/errors.ts";
import type { Kernel, PeerSocket } from "../../../ffi/kernel.ts";
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

/** So many sockets may be known before those that are closed are forgotten. */
const maxKnown = 4096;

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
  /** Of sockets that were there before; some of them may be closed. */
  #known = new Set<bigint>();

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
    const nearby = this.#known.size < maxKnown ? this.#fresh(false) : [];
    const fresh = nearby.length === 1 ? nearby : this.#fresh(true);
    if (fresh.length !== 1) {
      throw new Error(`Cannot tell who connected: ${fresh.length} new sockets`);
    }
    const [{ cookie, pid, uid, gid }] = fresh;
    this.#known.add(cookie);
    return { kind: "unix", pid, uid, gid };
  }

  /** Sockets that are not known; a look at all of them forgets which are closed. */
  #fresh(all: boolean): PeerSocket[] {
    const now = this.#kernel.peers(this.#path, { all });
    const fresh = now.filter(({ cookie }) => !this.#known.has(cookie));
    if (all) this.#known = new Set(now.map(({ cookie }) => cookie));
    return fresh;
  }
}
