/**
 * Starts stage2 for one container and says how it ended.
 *
 * @module
 */

import { Report, Report_outcome } from "../ffi/abi.gen.ts";
import { KurmaError } from "../ffi/errors.ts";
import { commandStatus, type Descriptor, type Kernel, type KernelError } from "../ffi/kernel.ts";
import { kernelError, textAt } from "./report.ts";
import type { Plan } from "./spec.ts";

/** How a container ended. */
export interface Ended {
  /**
   * The exit status of its main process: 0 to 255, 128 + n after signal n; 126 if the
   * command may not be run and 127 if there is none.
   */
  status: number;
  /** Why the command was not run; with 126 and 127 only. */
  reason?: KernelError;
}

/** A stage2 process with its container. */
export interface Launch {
  /**
   * Passes a signal on to the container's main process.
   *
   * @throws {KernelError} `step` is `signal`.
   */
  signal(number: number): void;
  /**
   * Settles when the container and all that was made for it is gone.
   *
   * @throws {KernelError} a system call failed; nothing of the container is left.
   * @throws {KurmaError} the plan asks for what stage2 does not do, or stage2 was killed.
   */
  readonly ended: Promise<Ended>;
}

/**
 * A stage2 process for one container. It is started before its plan is known, so that
 * somebody is there to clear up if we die meanwhile. Disposing of one that got no plan
 * ends it.
 */
export class WaitingStage2 implements Disposable {
  readonly #kernel: Kernel;
  readonly #pid: number;
  readonly #report: Descriptor;
  #socket: Descriptor | undefined;

  /** @throws {KernelError} `step` is `socket`, `memfd` or `spawn`; nothing was started. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    const [ours, theirs] = kernel.pair();
    try {
      this.#report = kernel.memfd("report", new Uint8Array(Report.size), "shared");
      try {
        this.#pid = kernel.spawn({
          args: ["kurma-stage2"],
          env: { SPAWNER_INTERCEPT: "run", SPAWNER_PARENT: String(Deno.pid) },
          descriptors: [theirs, this.#report],
        });
      } catch (error) {
        kernel.close(this.#report);
        throw error;
      }
    } catch (error) {
      kernel.close(ours);
      throw error;
    } finally {
      kernel.close(theirs);
    }
    this.#socket = ours;
  }

  /**
   * Tells of the container's folder before it is made: if we die before there is a plan,
   * stage2 removes it.
   *
   * @throws {KernelError} `step` is `socket`.
   */
  announce(scratch: string): void {
    if (this.#socket === undefined) throw new TypeError("stage2 has its plan already");
    this.#kernel.send(this.#socket, new TextEncoder().encode(scratch));
  }

  /**
   * Carries out `plan` with our streams 0 to 2, and clears up after it. If we die, the
   * container dies. Only once.
   *
   * @throws {KernelError} `step` is `memfd` or `socket`; nothing was launched.
   */
  launch(plan: Plan): Launch {
    const socket = this.#socket;
    if (socket === undefined) throw new TypeError("A stage2 process takes one plan");
    const kernel = this.#kernel;
    const text = new TextEncoder().encode(JSON.stringify(plan));
    kernel.sendFile(socket, new Uint8Array(1), text);
    kernel.close(socket);
    this.#socket = undefined;
    return {
      signal: (number) => kernel.signal(this.#pid, number),
      ended: end(kernel, this.#pid, this.#report),
    };
  }

  [Symbol.dispose](): void {
    if (this.#socket === undefined) return;
    this.#kernel.close(this.#socket);
    this.#kernel.close(this.#report);
    this.#socket = undefined;
  }
}

async function end(kernel: Kernel, pid: number, reportFile: number): Promise<Ended> {
  const status = await kernel.wait(pid);
  try {
    return result(kernel.contents(reportFile), status);
  } finally {
    kernel.close(reportFile);
  }
}

/** What a report says. */
function result(report: Uint8Array, status: number): Ended {
  const view = new DataView(report.buffer, report.byteOffset);
  const subject = textAt(view, Report.subject, view.getUint32(Report.subject_len, true));
  switch (Report_outcome[view.getUint32(Report.outcome, true)]) {
    case "exited":
      return { status: view.getUint32(Report.status, true) };
    case "failed": {
      const error = kernelError(view, Report.failure, subject);
      const status = commandStatus(error);
      if (status === undefined) throw error;
      return { status, reason: error };
    }
    case "invalid":
      throw new KurmaError("invalid", `Cannot carry out the plan: ${subject}`);
    default:
      throw new KurmaError("kernel", `Cannot supervise the container: stage2 ended with ${status}`);
  }
}
