/**
 * A socket of this machine that leads elsewhere. Deno's HTTP/2 client connects to sockets
 * and addresses alone: what comes through ssh, or over TLS that we see the errors of, is
 * brought to it this way.
 *
 * @module
 */

import type { Duplex } from "./http2/exchange.ts";

/** Bytes on their way from one end to the other. */
const bufferSize = 64 * 1024;

export class Bridge implements Disposable {
  /** Its socket, in a folder that only we enter; it takes one connection, and is gone then. */
  readonly path: string;
  /** Why there is no other end, or no more. */
  failure: unknown;
  readonly #folder: string;
  readonly #listener: Deno.UnixListener;
  #isListening = true;

  /** @param dial Makes the connection to the other end, once somebody comes. */
  constructor(dial: () => Promise<Duplex>) {
    this.#folder = Deno.makeTempDirSync({ prefix: "kurma-" }); // With mode 0700.
    this.path = `${this.#folder}/bridge`;
    this.#listener = Deno.listen({ transport: "unix", path: this.path });
    this.#carry(dial).catch((error) => this.failure ??= error);
  }

  [Symbol.dispose](): void {
    if (!this.#isListening) return;
    this.#isListening = false;
    this.#listener.close();
    Deno.removeSync(this.#folder, { recursive: true });
  }

  async #carry(dial: () => Promise<Duplex>): Promise<void> {
    let near: Deno.UnixConn;
    try {
      near = await this.#listener.accept();
    } catch (error) {
      if (!this.#isListening) return; // Nobody came.
      throw error;
    }
    this[Symbol.dispose]();
    using _near = near;
    const far = await dial();
    try {
      // HTTP/2 has no use for a connection of one direction: the end of one is the end of both.
      await Promise.race([copy(far, near), copy(near, far)]);
    } finally {
      far.close();
    }
  }
}

/** Passes on what comes until there is no more. */
export async function copy(
  from: Pick<Duplex, "read">,
  to: Pick<Duplex, "write">,
): Promise<void> {
  const buffer = new Uint8Array(bufferSize);
  for (let count = await from.read(buffer); count !== null; count = await from.read(buffer)) {
    for (let at = 0; at < count;) at += await to.write(buffer.subarray(at, count));
  }
}
