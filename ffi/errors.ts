/**
 * The errors that Kurma reports on purpose: what the receiver can do about a
 * failure, what failed, and why.
 *
 * @module
 */

/** What the receiver can do about it: each code has one exit status and one gRPC status. */
export const outcomes = {
  invalid: { exit: 2, grpc: 3 }, // INVALID_ARGUMENT: fix the request.
  missing: { exit: 3, grpc: 5 }, // NOT_FOUND: create it first.
  state: { exit: 4, grpc: 9 }, // FAILED_PRECONDITION: wait, or stop it first.
  denied: { exit: 5, grpc: 7 }, // PERMISSION_DENIED: run with the right privilege.
  kernel: { exit: 6, grpc: 13 }, // INTERNAL: the host refused; the message names step and errno.
  unavailable: { exit: 7, grpc: 14 }, // UNAVAILABLE: try again later, a server elsewhere is away.
} as const;

export type Code = keyof typeof outcomes;

/** How a {@linkcode KurmaError} came about and what to do about it. */
export interface KurmaErrorOptions extends ErrorOptions {
  /** What to do, as one sentence without a full stop: `Run it as root`. */
  fix?: string;
  /** See {@linkcode KurmaError.commandStatus}. */
  commandStatus?: number;
}

/** Every failure that Kurma reports on purpose. Any other `Error` is a bug. */
export class KurmaError extends Error {
  /** What the reader of the message can do, or undefined where nothing would help. */
  readonly fix: string | undefined;
  /** Of a command that a server could not execute: 126, or 127 if it is not there. */
  readonly commandStatus: number | undefined;

  /**
   * @param code What the receiver can do about it.
   * @param message One line: verb first, names quoted, errno by name, no full stop.
   */
  constructor(readonly code: Code, message: string, options: KurmaErrorOptions = {}) {
    super(message, options);
    this.name = new.target.name;
    this.fix = options.fix;
    this.commandStatus = options.commandStatus;
  }
}
