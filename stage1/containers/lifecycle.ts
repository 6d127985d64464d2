/**
 * Starting, stopping, and what follows when a container ends.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { commandStatus } from "../../ffi/kernel.ts";
import type { Exit as StageExit } from "../../stage2/server.ts";
import { longestTimer } from "../units.ts";
import { type Host, isUp, type Live, oneLine, runName, tellEnd } from "./host.ts";
import type { News } from "./events.ts";
import type { Container, Status } from "./record.ts";
import { watchHealth } from "./health.ts";
import { restartDelay } from "./restarts.ts";
import { commandHint } from "./command_hint.ts";
import { runOf } from "./run_steps.ts";
import { forget, ignoringGone } from "./runs.ts";
import { runSteps, StepError, undoSteps } from "./steps.ts";
import { defaults } from "./spec.ts";

/** How a container is stopped. */
export interface StopOptions {
  /** Default: the container's own stop signal. */
  readonly signal?: number;
  /** Until SIGKILL; default: the container's own. */
  readonly limitMs?: number;
}

/** How a container is started. */
export interface StartOptions {
  /** Called when all is there but its command, which then waits for it. */
  readonly whenMade?: () => Promise<void>;
  /** Whether its record says already that it starts: {@linkcode starting}. Default false. */
  readonly isRecorded?: boolean;
}

/** The status of a container with a run that begins. */
export function starting(before: Status, restarts = 0): Status {
  return {
    ...before,
    ...{ phase: "starting", run: before.run + 1, wanted: true, restarts, paused: false },
    ...{ reason: undefined, health: undefined },
  };
}

/** What is done when a container has ended and will not be started again. */
export type WhenOver = (container: Container) => Promise<void>;

/** How soon what the disk did not take is tried again. */
const retryMs = 1_000;

/** The state machine of containers. Its methods are not queued; who calls them sees to that. */
export class Lifecycle {
  readonly #host: Host;
  readonly #whenOver: WhenOver;
  /** Status changes that the disk has not taken yet, by container. */
  readonly #unsaved = new Map<string, () => void>();
  #retry: number | undefined;
  #closed = false;

  constructor(host: Host, whenOver: WhenOver) {
    this.#host = host;
    this.#whenOver = whenOver;
  }

  /** No timers and no restarts from now on. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  /**
   * Starts a container; resolves when its command has been executed. One that runs is left
   * as it is.
   *
   * @param restarts Which restart by policy this is; 0 when somebody asks for the start.
   * @throws {KurmaError} It does not run, and nothing of the run is left.
   */
  async start(
    container: Container,
    restarts = 0,
    { whenMade, isRecorded = false }: StartOptions = {},
  ): Promise<void> {
    if (container.status.phase === "running") return;
    // After the run before, if stage2 was gone or the disk full when it was due.
    if (container.status.postStop || this.#unsaved.has(container.id)) await this.clear(container);
    const began = performance.now();
    const live = this.#host.live.of(container);
    forgetRestart(live);
    live.ended = Promise.withResolvers();
    const { state } = this.#host;
    if (!isRecorded || container.status.phase !== "starting") {
      state.updateStatus(container, starting(container.status, restarts));
    }
    const { run } = container.status;
    // That it is wanted is to outlive a power cut; the disk has the time of the start.
    const durable = state.durable();
    live.early = [];
    live.kills = new Set();
    try {
      await runSteps(runOf(this.#host, whenMade), container);
      await durable;
    } catch (error) {
      live.early = undefined;
      // Which step a kill interrupts, and how, is nobody's business.
      const cause = live.kills.size > 0
        ? new KurmaError("state", "Somebody killed it meanwhile")
        : error instanceof StepError
        ? error.cause
        : error;
      this.#failed(container, cause);
      if (error instanceof StepError && error.leftover !== undefined) {
        this.#host.log("error", `Cannot clear up after "${container.name}"`, {
          cause: oneLine(error.leftover),
        });
      }
      throw startError(container, cause);
    }
    live.startedAt = performance.now();
    // Whoever asked for it need not wait for this: a kurmad that is killed before adopts it.
    this.#noteSoon(container, { phase: "running", startedAt: Date.now() }, {
      action: "start",
      attributes: {
        run: String(run),
        took_ms: (live.startedAt - began).toFixed(2),
        ...(restarts > 0 ? { restart: String(restarts) } : {}),
      },
    });
    this.#check(container);
    const early = live.early;
    live.early = undefined;
    for (const exit of early) this.ended(container, run, exit);
  }

  /**
   * Takes a run that an earlier kurmad began as running.
   *
   * @param pid Of its init.
   */
  adopt(container: Container, pid: number): void {
    const began = container.status.phase === "starting";
    const phase = began ? "running" : container.status.phase;
    const startedAt = container.status.startedAt;
    // What is as it was recorded is not written again: there may be hundreds.
    if (began || startedAt === undefined || container.status.pid !== pid) {
      this.#note(
        container,
        { phase, pid, startedAt: began || startedAt === undefined ? Date.now() : startedAt },
        began ? { action: "start", attributes: { run: String(container.status.run) } } : undefined,
      );
    }
    this.#check(container);
  }

  /** Begins to look after the health of a container that runs. */
  #check(container: Container): void {
    const live = this.#host.live.of(container);
    live.checks?.abort();
    const check = live.meant?.healthCheck;
    if (check === undefined || this.#closed) return;
    live.checks = new AbortController();
    const remedy = (_: Container, action: "restart" | "stop") => {
      this.#host.queues.run(container.id, async () => {
        await this.stop(container);
        if (action === "restart") await this.start(container);
      }).catch((error) => {
        this.#host.log("error", `Cannot ${action} "${container.name}", which is not well`, {
          cause: oneLine(error),
        });
      });
    };
    watchHealth(this.#host, container, check, remedy, live.checks.signal).catch((error) => {
      this.#host.log("error", `Cannot check "${container.name}"`, { cause: oneLine(error) });
    });
  }

  /**
   * Stops a container; resolves when it has ended and is cleared up. One that does not run
   * is left as it is, but is not wanted to run any more.
   */
  async stop(container: Container, options: StopOptions = {}): Promise<void> {
    const live = this.#host.live.of(container);
    forgetRestart(live);
    if (!isUp(container)) {
      if (container.status.wanted) this.#note(container, { wanted: false });
      if (container.status.postStop) await this.clear(container);
      return;
    }
    this.#note(container, { phase: "stopping", wanted: false });
    const { supervisor } = this.#host;
    const run = runName(container);
    if (container.status.paused) await ignoringGone(supervisor.ask((stage2) => stage2.thaw(run)));
    const { signal = 15, limitMs = defaults.stopLimitMs } = { ...live.meant?.stop, ...options };
    await ignoringGone(supervisor.ask((stage2) => stage2.signal(run, signal)));
    if (!await settledWithin(live.ended.promise, limitMs)) {
      await ignoringGone(supervisor.ask((stage2) => stage2.kill(run)));
      await live.ended.promise;
    }
    await this.clear(container);
    await this.#host.state.durable();
  }

  /**
   * A run has ended. What was told already is not told again.
   *
   * @param why What is not in the exit itself.
   */
  ended(container: Container, run: number, exit: StageExit, why?: string): void {
    const { status } = container;
    if (status.run !== run || !isUp(container)) return;
    const live = this.#host.live.of(container);
    if (live.early) {
      live.early.push(exit);
      return;
    }
    const asked = status.phase === "stopping";
    const signal = exit.status > 128 ? exit.status - 128 : undefined;
    live.ranMs = performance.now() - live.startedAt;
    this.#note(container, {
      phase: asked ? "stopped" : "exited",
      pid: undefined,
      paused: false,
      health: undefined,
      endedAt: exit.endedAt,
      exit: { code: exit.status, ...(signal === undefined ? {} : { signal }), oom: exit.oom },
      reason: why ??
        (exit.oom ? "the kernel killed a process of it for want of memory" : undefined),
      ...(live.meant?.eventHandlers.postStop ? { postStop: true } : {}),
    }, {
      action: "exit",
      attributes: {
        run: String(run),
        code: String(exit.status),
        ...(signal === undefined ? {} : { signal: String(signal) }),
        ...(exit.oom ? { oom: "true" } : {}),
      },
    }, exit.endedAt);
    tellEnd(live);
    live.checks?.abort();
    this.#followSoon(container, run);
  }

  #followSoon(container: Container, run: number): void {
    if (this.#closed) return;
    this.#host.queues.run(container.id, () => this.#follow(container, run)).catch((error) =>
      this.#host.log("error", `Cannot clear up after "${container.name}"`, {
        cause: oneLine(error),
      })
    );
  }

  /** Waits until all that was noted so far is on disk. */
  async saved(): Promise<void> {
    while (this.#unsaved.size > 0 && !this.#closed) {
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
    await this.#host.state.durable();
  }

  /** What comes after an end that was not asked for: clearing up, then perhaps a new start. */
  async #follow(container: Container, run: number): Promise<void> {
    if (container.status.run !== run || !this.#host.state.containers.has(container.id)) {
      // Somebody whose turn came before this one has started it again, or removed it with all
      // that is known of it here.
      const name = runName({ id: container.id, pod: container.pod, status: { run } });
      return await this.#host.supervisor.ask((stage2) => forget(stage2, name));
    }
    if (isUp(container)) return;
    // As long as our disk does not have its end, stage2 is not to forget it.
    if (this.#unsaved.has(container.id)) return;
    await this.clear(container);
    if (!this.#plan(container)) await this.#whenOver(container);
  }

  /**
   * Clears up after the run that has ended, its post-stop handler included. May be called
   * again. It is the container's turn.
   */
  async clear(container: Container): Promise<void> {
    await undoSteps(runOf(this.#host), container);
  }

  /** Plans the next start by policy; false if there is none. */
  #plan(container: Container): boolean {
    const live = this.#host.live.of(container);
    const policy = container.spec.restart ?? { policy: "no" };
    const delay = restartDelay(policy, container.status, live.ranMs);
    if (delay === undefined) return false;
    if (live.restart !== undefined || this.#closed) return true;
    const restarts =
      (delay === restartDelay(policy, { ...container.status, restarts: 0 }, 0)
        ? 0
        : container.status.restarts) + 1;
    this.restartIn(container, delay, restarts);
    return true;
  }

  /** Starts a container later, by policy. */
  restartIn(container: Container, delayMs: number, restarts: number): void {
    const live = this.#host.live.of(container);
    forgetRestart(live);
    const timer = setTimeout(() => {
      live.restart = undefined;
      this.#host.queues.run(container.id, async () => {
        if (isUp(container) || !container.status.wanted) return;
        if (!this.#host.state.containers.has(container.id)) return;
        await this.start(container, restarts);
      }).catch((error) => {
        this.#host.log("warn", `Cannot restart "${container.name}"`, { cause: oneLine(error) });
        if (!this.#closed) this.#plan(container);
      });
    }, delayMs);
    live.restart = { at: Date.now() + delayMs, timer };
  }

  #failed(container: Container, cause: unknown): void {
    if (!isUp(container)) return;
    const live = this.#host.live.of(container);
    const exit = live.kills.size > 0
      ? { code: 137, signal: 9 }
      : { code: commandStatus(cause) ?? 125 }; // Ours to answer for.
    const stopping = container.status.phase === "stopping";
    this.#note(container, {
      phase: stopping ? "stopped" : "exited",
      pid: undefined,
      endedAt: Date.now(),
      exit: { ...exit, oom: false },
      reason: oneLine(cause),
    }, {
      action: "fail",
      attributes: {
        code: cause instanceof KurmaError ? cause.code : "bug",
        reason: oneLine(cause),
      },
    });
    live.ranMs = 0;
    tellEnd(live);
  }

  /** As {@linkcode #note}, but memory alone has it at once. */
  #noteSoon(
    container: Container,
    changes: Partial<Status>,
    news: Pick<News, "action" | "attributes">,
  ): void {
    const time = Date.now();
    container.status = { ...container.status, ...changes };
    this.#host.state.soon(() => this.#note(container, {}, news, time));
  }

  /** Changes a status and tells of it; if the disk does not take it now, then later. */
  #note(
    container: Container,
    changes: Partial<Status>,
    news?: Pick<News, "action" | "attributes">,
    time?: number,
  ): void {
    const { state } = this.#host;
    const { id, name } = container;
    const write = (what: Partial<Status>) => () =>
      state.change(() => {
        state.updateStatus(container, what);
        if (news) state.tell({ kind: "container", id, name, ...news }, time);
      });
    try {
      write(changes)();
    } catch (error) {
      this.#host.log("error", `Cannot write down how "${name}" is; trying again`, {
        cause: oneLine(error),
      });
      const before = this.#unsaved.get(id);
      this.#unsaved.set(id, () => {
        before?.();
        write({})();
      });
      this.#retry ??= setTimeout(() => this.#saveLate(), retryMs);
    }
  }

  #saveLate(): void {
    this.#retry = undefined;
    for (const [id, write] of [...this.#unsaved]) {
      try {
        const container = this.#host.state.containers.get(id);
        if (container) write();
        this.#unsaved.delete(id);
        if (container && !isUp(container)) this.#followSoon(container, container.status.run);
      } catch (error) {
        this.#host.log("debug", "The disk still takes nothing", { cause: oneLine(error) });
      }
    }
    if (this.#unsaved.size > 0 && !this.#closed) {
      this.#retry = setTimeout(() => this.#saveLate(), retryMs);
    }
  }
}

function forgetRestart(live: Live): void {
  clearTimeout(live.restart?.timer);
  live.restart = undefined;
}

function startError(container: Container, cause: unknown): unknown {
  if (!(cause instanceof KurmaError)) return cause;
  return new KurmaError(cause.code, `Cannot start "${container.name}"`, {
    cause,
    fix: cause.fix ?? commandHint(cause),
  });
}

/** Whether `promise` settles in time, by a clock that nobody sets. */
async function settledWithin(promise: Promise<void>, limitMs: number): Promise<boolean> {
  let timer = 0;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), Math.min(limitMs, longestTimer));
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
