/**
 * What a daemon tells the service manager that started it.
 *
 * @module
 * @see sd_notify(3)
 */

import { type Kernel, KernelError } from "../../ffi/kernel.ts";

/** Tells systemd, if it asked to be told. */
export class ServiceManager implements Disposable {
  readonly #kernel: Pick<Kernel, "datagram">;
  readonly #socket: string | undefined;
  readonly #watchdog: number | undefined;

  /**
   * Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
   *
   * @param failed Told of a message that could not be sent; the daemon goes on.
   */
  constructor(
    kernel: Pick<Kernel, "datagram">,
    environment: Readonly<Record<string, string | undefined>>,
    readonly failed: (error: KernelError) => void,
  ) {
    const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID } = environment;
    this.#kernel = kernel;
    this.#socket = NOTIFY_SOCKET && /^[/@]./.test(NOTIFY_SOCKET) ? NOTIFY_SOCKET : undefined;
    const microseconds = Number(WATCHDOG_USEC);
    const ours = WATCHDOG_PID === undefined || WATCHDOG_PID === String(Deno.pid);
    if (this.#socket !== undefined && ours && microseconds > 0) {
      // Half of the time: one message may be late.
      this.#watchdog = setInterval(() => this.#tell("WATCHDOG=1"), microseconds / 2_000);
      Deno.unrefTimer(this.#watchdog);
    }
  }

  /** It serves. */
  ready(status: string): void {
    this.#tell(`READY=1\nSTATUS=${status}`);
  }

  /** It reads its configuration again; `ready` ends that. */
  reloading(): void {
    this.#tell("RELOADING=1");
  }

  /** It is on its way out, and may take until `limitMs` from now. */
  stopping(limitMs: number): void {
    this.#tell(`STOPPING=1\nEXTEND_TIMEOUT_USEC=${Math.round(limitMs * 1000)}`);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#watchdog);
  }

  #tell(message: string): void {
    if (this.#socket === undefined) return;
    try {
      this.#kernel.datagram(this.#socket, new TextEncoder().encode(message));
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.failed(error);
    }
  }
}
