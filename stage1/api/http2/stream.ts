/**
 * One stream of an HTTP/2 connection: a request, its answer, and what may still be sent.
 *
 * @module
 * @see RFC 9113, section 5.1
 */

import { Body } from "./body.ts";
import { ClientGone } from "./exchange.ts";

export class Stream {
  /** What came of the request and was not read. */
  readonly body: Body;
  readonly #controller = new AbortController();
  /** What the client may still take, in bytes; below zero if it made its window smaller. */
  sendWindow: number;
  /** What the client may still send. */
  receiveWindow: number;
  /** Bytes that were read and of which the client does not know. */
  credit = 0;
  /** Bytes of the body that came, and how many there are to be. */
  received = 0;
  readonly length: number | undefined;
  /** Whether the client sends no more. */
  remoteEnded = false;
  /** Whether the stream is over, in whatever way. */
  closed = false;
  #wake: (() => void) | undefined;

  /** @param onRead Told how many bytes of the body were read or dropped. */
  constructor(
    readonly id: number,
    windows: { send: number; receive: number },
    length: number | undefined,
    onRead: (stream: Stream, bytes: number) => void,
  ) {
    this.sendWindow = windows.send;
    this.receiveWindow = windows.receive;
    this.length = length;
    this.body = new Body((bytes) => onRead(this, bytes));
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ends the work on it. The client still waits for an answer. */
  cancel(reason: unknown): void {
    this.#controller.abort(reason);
  }

  /** The client sends no more. */
  endRemote(): void {
    this.remoteEnded = true;
    this.body.end();
  }

  /** It is over; if it was not complete, whoever works on it learns why. */
  close(reason?: string): void {
    if (this.closed) return;
    this.closed = true;
    const gone = new ClientGone(reason);
    this.body.fail(gone);
    if (reason !== undefined) this.#controller.abort(gone);
    this.wake();
  }

  /** Whoever waits to send looks again. */
  wake(): void {
    this.#wake?.();
  }

  /** Settles when {@linkcode wake} is called. One waits at a time. */
  woken(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
