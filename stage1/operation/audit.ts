/**
 * Who changed what: one line for each call that changes something, written right behind
 * its answer.
 *
 * @module
 */

import type { KurmaError } from "../../ffi/errors.ts";
import type { Role } from "../remote/roles.ts";
import type { Log } from "./log.ts";
import type { Sink } from "./log_sinks.ts";

/** Who called, as the kernel or TLS says it. */
export type Caller =
  | {
    readonly pid: number;
    readonly uid: number;
    readonly gid: number;
    /** Whose API it is, in a container. */
    readonly role?: Role;
  }
  | { readonly certificate: string; readonly address: string }
  | { readonly token: string; readonly address: string }
  | { readonly address: string };

/** One call. */
export interface Call {
  readonly caller: Caller;
  /** On whose behalf, where the caller is kurma-api. */
  readonly via?: Caller;
  /** As in `kurma.v1.Containers/Stop`. */
  readonly method: string;
  /** What it was about, if one thing: a container's id. */
  readonly subject?: string;
  /** What it said about it, without secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** What became of it. */
export interface CallOutcome {
  /** Undefined if it went well. */
  readonly error?: Pick<KurmaError, "code" | "message">;
  /** Milliseconds. */
  readonly tookMs: number;
}

/** Writes the lines. */
export class Audit {
  readonly #log: Pick<Log, "write">;
  readonly #file: Sink | undefined;
  readonly #off: boolean;
  readonly #now: () => Date;
  /** Settles when the line before is written: lines do not mix. */
  #last: Promise<void> = Promise.resolve();

  /**
   * @param target `log`: the daemon's log; `none`; or a file's sink.
   */
  constructor(
    target: "log" | "none" | Sink,
    log: Pick<Log, "write">,
    now: () => Date = () => new Date(),
  ) {
    this.#log = log;
    this.#file = typeof target === "string" ? undefined : target;
    this.#off = target === "none";
    this.#now = now;
  }

  /** Settles when the line is written; a line that cannot be is an error in the log. */
  async record(
    { caller, via, method, subject, details }: Call,
    outcome: CallOutcome,
  ): Promise<void> {
    if (this.#off) return;
    const fields = {
      ...caller,
      ...(via === undefined ? {} : { via }),
      method,
      ...(subject === undefined ? {} : { subject }),
      ...(details === undefined ? {} : { details }),
      outcome: outcome.error?.code ?? "ok",
      ...(outcome.error ? { reason: outcome.error.message } : {}),
      tookMs: Math.round(outcome.tookMs * 10) / 10,
    };
    if (this.#file === undefined) {
      this.#log.write("info", "audit", fields);
      return;
    }
    const text = JSON.stringify({ time: this.#now().toISOString(), ...fields });
    const file = this.#file;
    this.#last = this.#last.then(() => file.write([{ level: "info", text }])).catch((error) => {
      this.#log.write("error", "Cannot write the audit file", { error, ...fields });
    });
    await this.#last;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#last;
    await this.#file?.close();
  }
}
