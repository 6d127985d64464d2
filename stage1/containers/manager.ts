/**
 * The manager of containers: what kurmad does for whoever asks. Each method takes a
 * *reference*: a name, an id, or the first digits of one.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { KurmaError } from "../../ffi/errors.ts";
import type { Kernel } from "../../ffi/kernel.ts";
import type { Exit as StageExit, Stage2 } from "../../stage2/server.ts";
import { Ahead } from "./ahead.ts";
import { Claims, newContainer, usesOwnIds } from "./claims.ts";
import { folderBytes } from "./folder_bytes.ts";
import {
  folderOf,
  type Folders,
  type Host,
  isUp,
  LiveTable,
  type Log,
  oneLine,
  partsOfRun,
  runName,
  type Settings,
  trashOf,
} from "./host.ts";
import { cutPostStop } from "./handlers.ts";
import type { Images, PullPolicy } from "./images.ts";
import { Lifecycle, starting, type StopOptions } from "./lifecycle.ts";
import { makingOf } from "./make_steps.ts";
import { lookUpDevices } from "./device_nodes.ts";
import { findNamed, newId } from "./names.ts";
import { limitsOf } from "./plan.ts";
import { meaningOf } from "./planning.ts";
import { likenessOf, patternOf } from "./pattern.ts";
import { placeOfPod, withinPod } from "./pod_place.ts";
import { Pods } from "./pods.ts";
import { Queues } from "./queue.ts";
import type { Container, Exit } from "./record.ts";
import { recover } from "./recovery.ts";
import { ignoringGone } from "./runs.ts";
import type { Restrictions } from "./restrictions.ts";
import type { ContainerSpec, ResourceSpec, RestartSpec } from "./spec.ts";
import type { State } from "./state.ts";
import { runSteps, StepError, undoSteps } from "./steps.ts";
import { Reactor } from "./streams.ts";
import { Supervisor } from "./supervisor.ts";

/** What a manager is made of; it takes over what is disposable. */
export interface ManagerOptions {
  readonly kernel: Kernel;
  readonly folders: Folders;
  readonly state: State;
  readonly images: Images;
  readonly log: Log;
  settings(): Settings;
}

/** How a container is made. */
export interface CreateOptions {
  /** Start it at once. Default false. */
  readonly start?: boolean;
  /** Default `missing`. */
  readonly pull?: PullPolicy;
  /** What whoever asks may not give it. Default: he may give it everything. */
  readonly restrictions?: Restrictions;
  /** Called when it is there but for its command, which waits for it; with `start` only. */
  readonly whenMade?: (container: Container) => Promise<void>;
}

/** What can be changed about a container. An empty label removes one. */
export interface Changes {
  readonly resources?: ResourceSpec;
  readonly restart?: RestartSpec;
  readonly labels?: Readonly<Record<string, string>>;
}

/** How a container is removed. */
export interface RemoveOptions {
  /** End it first if it runs. Default false: such a one is refused. */
  readonly force?: boolean;
}

/** Manages the containers of one state folder. */
export class Manager implements AsyncDisposable {
  readonly host: Host;
  readonly lifecycle: Lifecycle;
  readonly claims: Claims;
  readonly pods: Pods;
  readonly #ahead: Ahead;

  private constructor(host: Host) {
    this.host = host;
    this.lifecycle = new Lifecycle(host, (container) => this.#over(container));
    this.claims = new Claims(host.state);
    this.#ahead = new Ahead(host, this.claims);
    this.pods = new Pods(host, this.lifecycle, this.claims);
  }

  /**
   * Takes the state folder over: finds what runs, and finishes or undoes what an earlier
   * kurmad had begun.
   */
  static async start(options: ManagerOptions): Promise<Manager> {
    for (const folder of [options.folders.containers, options.folders.volumes]) {
      Deno.mkdirSync(trashOf(folder), { recursive: true, mode: 0o700 });
    }
    const ready = Promise.withResolvers<Manager>();
    const supervisor = new Supervisor(options.kernel, options.folders.state, {
      ended: async (run, exit) => await (await ready.promise).#ended(run, exit),
      connected: async (stage2) => await (await ready.promise).#recover(stage2),
      log: (message) => options.log("warn", message),
    });
    const queues = new Queues();
    const live = new LiveTable();
    const reactor = new Reactor(options.kernel);
    const manager = new Manager({ ...options, supervisor, queues, live, reactor });
    ready.resolve(manager);
    await supervisor.server();
    return manager;
  }

  /** Stops managing. Containers go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.lifecycle.close();
    await this.host.queues.idle();
    await this.#ahead[Symbol.asyncDispose]();
    this.host.state.events.close();
    this.host.supervisor[Symbol.dispose]();
    this.host.live.clear();
    this.host.images[Symbol.dispose]();
    await this.host.state[Symbol.asyncDispose]();
  }

  /** All containers, by name. */
  list(): Container[] {
    return [...this.host.state.containers.values()].sort((a, b) =>
      a.name < b.name ? -1 : a.name > b.name ? 1 : 0
    );
  }

  /** @throws {KurmaError} `missing`; `invalid`: it may be several. */
  get(reference: string): Container {
    try {
      return findNamed("container", this.host.state.containers.values(), reference);
    } catch (error) {
      const pod = this.pods.list().find(({ id, name }) => name === reference || id === reference);
      if (!(error instanceof KurmaError) || error.code !== "missing" || pod === undefined) {
        throw error;
      }
      const names = this.pods.apps(pod).map(({ name }) => name).join(", ");
      throw new KurmaError("missing", `Cannot find container "${reference}": it is a pod`, {
        fix: `kurma pod acts on all of it; its containers are ${names}`,
      });
    }
  }

  /**
   * Makes a container; it is on disk when this resolves.
   *
   * @param spec Checked already.
   * @throws {KurmaError} `state`: the name is taken; `invalid`: the image and the
   * specification do not go together; it cannot be started. Nothing of it is left.
   */
  async create(
    spec: ContainerSpec,
    { start = false, whenMade, ...making }: CreateOptions = {},
  ): Promise<Container> {
    const own = usesOwnIds(spec);
    // What is asked for with restrictions may not be what becomes of it.
    const likeness = start && own && !making.restrictions ? likenessOf(spec) : undefined;
    using prepared = start && own ? this.#ahead.take(likeness) : undefined;
    const id = prepared?.id ?? newId();
    let range = prepared?.range;
    try {
      using name = this.claims.name("container", spec.name ?? id.slice(0, 12));
      if (own) range ??= this.claims.range();
      const container = await newContainer(this.host, { id, name: name.text, spec, range }, making);
      // From the first: what is found half made after a crash is finished.
      if (start) container.status = starting(container.status);
      await runSteps(makingOf(this.host), { containers: [container] });
      const durable = this.host.state.durable();
      // The disk has the time of the start, and longer.
      if (start) {
        const how = { whenMade: whenMade && (() => whenMade(container)), isRecorded: true };
        await this.#queued(id, () => this.lifecycle.start(container, 0, how));
      }
      if (likeness !== undefined) {
        this.#ahead.learn(patternOf(this.host, container, likeness));
      }
      await durable;
      return container;
    } catch (error) {
      if (this.host.state.containers.has(id)) {
        // One that could not be started is not made: its caller is told once.
        await this.remove(id, { force: true }).catch((leftover) => {
          // Why it was not made is what its caller is to hear.
          this.host.log("error", `Cannot clear up after container ${id}`, {
            cause: oneLine(leftover),
          });
        });
        if (prepared) await this.#ahead.discard(prepared);
      } else {
        this.host.live.delete({ id });
        if (prepared) await this.#ahead.discard(prepared);
        this.claims.release(range);
      }
      throw error instanceof StepError ? error.cause : error;
    } finally {
      setImmediate(() => this.#ahead.soon()); // Behind the answer.
    }
  }

  /** Starts a container. Throws what `Lifecycle.start` does. */
  start(reference: string): Promise<Container> {
    return this.#queued(reference, (container) => this.lifecycle.start(container));
  }

  /** Settles when all that follows what happened to a container so far is done. */
  async settled({ id }: Pick<Container, "id">): Promise<void> {
    await this.host.queues.run(id, () => Promise.resolve());
  }

  /** Stops a container. */
  stop(reference: string, options?: StopOptions): Promise<Container> {
    return this.#queued(reference, (container) => this.lifecycle.stop(container, options));
  }

  /** Stops a container if it runs, and starts it. */
  restart(reference: string, options?: StopOptions): Promise<Container> {
    return this.#queued(reference, async (container) => {
      await this.lifecycle.stop(container, options);
      await this.lifecycle.start(container);
    });
  }

  /**
   * Sends a signal to the main process of a container; SIGKILL ends all of it. Not queued:
   * it also ends what hangs.
   *
   * @throws {KurmaError} `state`: it does not run.
   */
  async kill(reference: string, signal: number): Promise<void> {
    const container = this.get(reference);
    if (!isUp(container)) throw notRunning("send a signal to", container);
    const sent = signal === 9 ? this.#kill(container) : this.#signal(container, signal);
    // It has ended, which nobody noted yet; or its start has not come to a process.
    if (!await sent) throw notRunning("send a signal to", container);
    this.#tell(container, "kill", { signal: String(signal) });
  }

  /** Stops all processes of a container for now. */
  pause(reference: string): Promise<Container> {
    return this.#queued(reference, async (container) => {
      if (!isRunning(container)) throw notRunning("pause", container);
      if (container.status.paused) return;
      const { supervisor } = this.host;
      const freezing = supervisor.ask((stage2) => stage2.freeze(runName(container)));
      const isDone = await ignoringGone(freezing);
      // It may have been killed meanwhile: what has ended is not paused.
      if (!isDone || !isRunning(container)) throw notRunning("pause", container);
      this.#change(container, { paused: true }, "pause");
    });
  }

  /** Lets a paused container go on. */
  resume(reference: string): Promise<Container> {
    return this.#queued(reference, async (container) => {
      if (!isRunning(container)) throw notRunning("resume", container);
      if (!container.status.paused) return;
      const { supervisor } = this.host;
      const thawing = supervisor.ask((stage2) => stage2.thaw(runName(container)));
      const isDone = await ignoringGone(thawing);
      if (!isDone || !isRunning(container)) throw notRunning("resume", container);
      this.#change(container, { paused: false }, "resume");
    });
  }

  /** Gives a container another name. */
  rename(reference: string, name: string): Promise<Container> {
    return this.#queued(reference, async (container) => {
      if (name === container.name) return;
      using _claimed = this.claims.name("container", name);
      const { id, name: old } = container;
      this.host.state.change(() => {
        this.host.state.updateRecord(container, { name });
        const attributes = { old_name: old };
        this.host.state.tell({ kind: "container", id, name, action: "rename", attributes });
      });
      await this.host.state.durable();
    });
  }

  /**
   * Removes a container and all it wrote. One that is gone meanwhile is success.
   *
   * @throws {KurmaError} `state`: it runs, and `force` is not set.
   */
  async remove(reference: string, { force = false }: RemoveOptions = {}): Promise<void> {
    const container = this.get(reference);
    if (force && isUp(container)) {
      // Before its turn in the queue: a stop that waits there need not wait any longer.
      await this.#kill(container);
    }
    if (force) await cutPostStop(this.host, container);
    await this.host.queues.run(container.id, async () => {
      if (!this.host.state.containers.has(container.id)) return;
      if (container.pod !== undefined) {
        throw new KurmaError("state", `Cannot remove "${container.name}": it belongs to a pod`, {
          fix: "Remove the pod",
        });
      }
      if (isUp(container) && !force) {
        throw new KurmaError("state", `Cannot remove "${container.name}": it runs`, {
          fix: "Stop it first, or force its removal",
        });
      }
      await this.lifecycle.stop(container, { signal: 9, limitMs: 0 });
      await this.#unmake(container);
      await this.host.state.durable();
    });
  }

  /**
   * Removes all containers that do not run and that no policy will start.
   *
   * @returns Which, and the bytes that they took, as far as those could be counted.
   */
  async prune(
    fits: (container: Container) => boolean = () => true,
  ): Promise<{ removed: Container[]; bytes: number }> {
    const removed: Container[] = [];
    let bytes = 0;
    for (const container of this.list()) {
      const idle = !isUp(container) && !container.status.postStop && container.pod === undefined &&
        this.host.live.of(container).restart === undefined;
      if (!idle || !fits(container)) continue;
      await this.host.queues.run(container.id, async () => {
        if (isUp(container) || !this.host.state.containers.has(container.id)) return;
        const { kernel } = this.host;
        const taken = await folderBytes(kernel, folderOf(this.host, container)) ?? 0;
        await this.#unmake(container);
        removed.push(container);
        bytes += taken;
      });
    }
    await this.host.state.durable();
    return { removed, bytes };
  }

  /**
   * Waits for what may become of a container.
   *
   * @param what `ended`: at once if it has; `next-end`: also of one that does not run yet.
   * @throws {KurmaError} `missing`: it was removed meanwhile, and that was not waited for.
   */
  async waitFor(
    container: Container,
    what: "ended" | "next-end" | "removed" | "healthy",
    signal?: AbortSignal,
  ): Promise<void> {
    const { events, containers } = this.host.state;
    // Of one that runs, the end of this run is the next one.
    const after = isUp(container) ? container.status.run - 1 : container.status.run;
    const hasEnded = () => /^(stopped|exited)$/.test(container.status.phase);
    const done = {
      "ended": hasEnded,
      "next-end": () => hasEnded() && container.status.run > after,
      "removed": () => !containers.has(container.id),
      "healthy": () => container.status.health?.state === "healthy",
    }[what];
    if (done()) return;
    for await (const event of events.follow(events.last, signal)) {
      if (event.id !== container.id) continue;
      if (done()) return;
      if (event.action === "remove") break;
    }
    signal?.throwIfAborted();
    if (done()) return;
    throw new KurmaError("missing", `Cannot wait for "${container.name}": it was removed`);
  }

  /** Waits until a container has ended, and tells how. */
  async wait(reference: string, signal?: AbortSignal): Promise<Exit> {
    const container = this.get(reference);
    await this.waitFor(container, "ended", signal);
    return container.status.exit ?? { code: 0, oom: false };
  }

  /**
   * Changes limits, restart policy or labels, also of a container that runs.
   *
   * @throws {KurmaError} A limit is refused; nothing is changed then.
   */
  update(reference: string, changes: Changes): Promise<Container> {
    return this.#queued(reference, async (container) => {
      const { spec } = container;
      const labels = Object.entries({ ...spec.labels, ...changes.labels });
      const next: ContainerSpec = {
        ...spec,
        resources: { ...spec.resources, ...changes.resources },
        ...(changes.restart ? { restart: changes.restart } : {}),
        labels: Object.fromEntries(labels.filter(([, value]) => value !== "")),
      };
      if (changes.resources && container.status.phase === "running") {
        const place = { devices: lookUpDevices(next) };
        const pod = placeOfPod(this.host, container);
        const limits = limitsOf(place, withinPod(changes.resources, pod?.resources));
        const run = runName(container);
        await ignoringGone(this.host.supervisor.ask((stage2) => stage2.update(run, limits)));
      }
      this.host.live.of(container).meant = undefined;
      this.host.state.change(() => {
        this.host.state.updateRecord(container, { spec: next });
        this.#tell(container, "update");
      });
      meaningOf(this.host, container);
      await this.host.state.durable();
    });
  }

  /** Notes that a command was run in a container: its program, not what it was told. */
  tellExec(container: Container, program: string): void {
    this.#tell(container, "exec", { command: program });
  }

  /** Where a container's log files are. */
  logFolder(reference: string): string {
    return `${folderOf(this.host, this.get(reference))}/log`;
  }

  /** Compares what is recorded with what is there, and makes the two agree. */
  async #recover(stage2: Stage2): Promise<void> {
    await recover(this.host, this.lifecycle, stage2);
    this.#ahead.begin(stage2);
  }

  /** A run that stage2 names has ended. */
  async #ended(run: string, exit: StageExit): Promise<void> {
    const parts = partsOfRun(run);
    const container = parts && this.host.state.containers.get(parts.id);
    if (parts === undefined || container === undefined) return;
    if (parts.what !== undefined) {
      this.host.live.of(container).afterwards?.resolve(exit.status);
      return;
    }
    this.lifecycle.ended(container, parts.run, exit);
    await this.lifecycle.saved();
  }

  /** A container has ended and will not be started again. It is its turn in the queue. */
  async #over(container: Container): Promise<void> {
    if (container.spec.autoRemove) await this.#unmake(container);
    else if (container.pod !== undefined) this.pods.appIsOver(container.pod);
  }

  async #unmake(container: Container): Promise<void> {
    await undoSteps(makingOf(this.host), { containers: [container] });
    this.claims.release(container.range);
  }

  /** False if there is no process. */
  async #signal(container: Container, signal: number): Promise<boolean> {
    const run = runName(container);
    return await ignoringGone(this.host.supervisor.ask((stage2) => stage2.signal(run, signal)));
  }

  /** Ends all of it, also while it is being started. False if there is no process. */
  async #kill(container: Container): Promise<boolean> {
    const run = runName(container);
    const { kills } = this.host.live.of(container);
    const kill = Symbol();
    // Before the answer: a start fails as soon as it is carried out.
    kills.add(kill);
    const sent = await ignoringGone(this.host.supervisor.ask((stage2) => stage2.kill(run)));
    if (!sent) kills.delete(kill);
    return sent;
  }

  /** Does `work` when it is the container's turn; that container, as it is then. */
  async #queued(
    reference: string,
    work: (container: Container) => Promise<void>,
  ): Promise<Container> {
    const container = this.get(reference);
    await this.host.queues.run(container.id, () => {
      if (this.host.state.containers.has(container.id)) return work(container);
      throw new KurmaError("missing", `Cannot go on with "${container.name}": it was removed`);
    });
    return container;
  }

  #change(container: Container, changes: Partial<Container["status"]>, action: string): void {
    this.host.state.change(() => {
      this.host.state.updateStatus(container, changes);
      this.#tell(container, action);
    });
  }

  #tell(
    { id, name }: Container,
    action: string,
    attributes?: Readonly<Record<string, string>>,
  ): void {
    this.host.state.tell({ kind: "container", id, name, action, attributes });
  }
}

function isRunning({ status }: Container): boolean {
  return status.phase === "running";
}

function notRunning(what: string, { name }: Container): KurmaError {
  return new KurmaError("state", `Cannot ${what} "${name}": it does not run`, {
    fix: "Start it first",
  });
}
