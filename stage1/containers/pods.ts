/**
 * Pods: several containers that share namespaces, and live and die together.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Claims, type MakingOptions, newContainer, podUsesOwnIds } from "./claims.ts";
import { confinedPod } from "./confined.ts";
import { type Host, isUp } from "./host.ts";
import type { Lifecycle, StopOptions } from "./lifecycle.ts";
import { makingOf } from "./make_steps.ts";
import { findNamed, newId } from "./names.ts";
import type { Container, Phase, Pod } from "./record.ts";
import { restartDelay } from "./restarts.ts";
import type { PodSpec } from "./spec.ts";
import { runSteps, StepError, undoSteps } from "./steps.ts";
import { createVolume } from "./volumes.ts";

/** Which state of its apps says most about a pod. */
const phases: readonly Phase[] = [
  ...["stopping", "starting", "running", "exited", "stopped", "new"] as const,
];

/** The pods of a manager. */
export class Pods {
  readonly #host: Host;
  readonly #lifecycle: Lifecycle;
  readonly #claims: Claims;

  constructor(host: Host, lifecycle: Lifecycle, claims: Claims) {
    this.#host = host;
    this.#lifecycle = lifecycle;
    this.#claims = claims;
  }

  /** All pods, by name. */
  list(): Pod[] {
    return [...this.#host.state.pods.values()].sort((a, b) => a.name < b.name ? -1 : 1);
  }

  /** @throws {KurmaError} `missing`; `invalid`: it may be several. */
  get(reference: string): Pod {
    return findNamed("pod", this.#host.state.pods.values(), reference);
  }

  /** Its containers, in the order in which they are started. */
  apps(pod: Pick<Pod, "id" | "spec">): Container[] {
    const apps = [...this.#host.state.containers.values()].filter((app) => app.pod === pod.id);
    const order = pod.spec.apps.map(({ name }) => name);
    return apps.sort((a, b) => order.indexOf(a.app ?? "") - order.indexOf(b.app ?? ""));
  }

  /** The state of the app that says most. */
  phase(pod: Pod): Phase {
    const all = this.apps(pod).map(({ status }) => status.phase);
    if (all.includes("running")) return "running";
    return phases.find((phase) => all.includes(phase)) ?? "new";
  }

  /**
   * Makes a pod with all its containers; it is on disk when this resolves.
   *
   * @param spec Checked already.
   * @param manifest The appc manifest that it was made from, to be shown.
   * @throws {KurmaError} `state`: a name is taken; an image cannot be had. Nothing is left.
   */
  async create(wanted: PodSpec, manifest = "", making: MakingOptions = {}): Promise<Pod> {
    const { restrictions } = making;
    const spec = restrictions ? confinedPod(wanted, restrictions) : wanted;
    const id = newId();
    using name = this.#claims.name("pod", spec.name ?? id.slice(0, 12));
    using claims = new DisposableStack();
    const range = podUsesOwnIds(spec) ? this.#claims.range() : undefined;
    const ids = spec.apps.map(() => newId());
    try {
      const pod: Pod = {
        id,
        name: name.text,
        spec,
        createdAt: Date.now(),
        ...(range === undefined ? {} : { range }),
        ...(manifest === "" ? {} : { manifest }),
      };
      for (const volume of spec.volumes ?? []) {
        const source = volume.source ?? volume.name;
        if (volume.kind === "named" && !this.#host.state.volumes.has(source)) {
          createVolume(this.#host, source);
        }
      }
      const containers: Container[] = [];
      for (const [at, app] of spec.apps.entries()) {
        const claimed = this.#claims.name("container", `${name.text}-${app.name}`);
        claims.use(claimed);
        const beginning = { id: ids[at], name: claimed.text, app: app.name, pod: id, range };
        containers.push(await newContainer(this.#host, { ...beginning, spec: app }, making));
      }
      await runSteps(makingOf(this.#host), { containers, pod });
      await this.#host.state.durable();
      return pod;
    } catch (error) {
      for (const each of ids) this.#host.live.delete({ id: each });
      this.#claims.release(range);
      throw error instanceof StepError ? error.cause : error;
    }
  }

  /**
   * Starts all apps in their order.
   *
   * @throws {KurmaError} One cannot be started; those that this call started are stopped again.
   */
  start(reference: string): Promise<Pod> {
    return this.#queued(reference, (pod) => this.#startAll(pod));
  }

  /** Stops all apps, the last one first. */
  stop(reference: string, options?: StopOptions): Promise<Pod> {
    return this.#queued(reference, (pod) => this.#stopAll(this.apps(pod), options));
  }

  /** Stops all apps and starts them again. */
  restart(reference: string, options?: StopOptions): Promise<Pod> {
    return this.#queued(reference, async (pod) => {
      await this.#stopAll(this.apps(pod), options);
      await this.#startAll(pod);
    });
  }

  /** Gives a pod another name; its containers keep theirs. */
  rename(reference: string, name: string): Promise<Pod> {
    return this.#queued(reference, async (pod) => {
      if (name === pod.name) return;
      using _claimed = this.#claims.name("pod", name);
      const { state } = this.#host;
      state.change(() => {
        state.savePod({ ...pod, name });
        const attributes = { old_name: pod.name };
        state.tell({ kind: "pod", id: pod.id, name, action: "rename", attributes });
      });
      await state.durable();
    });
  }

  /**
   * Removes a pod with all its containers.
   *
   * @throws {KurmaError} `state`: an app runs, and `force` is not set.
   */
  remove(reference: string, force = false): Promise<Pod> {
    return this.#queued(reference, async (pod) => {
      const up = this.apps(pod).find(isUp);
      if (up !== undefined && !force) {
        throw new KurmaError("state", `Cannot remove pod "${pod.name}": "${up.name}" runs`, {
          fix: "Stop it first, or force its removal",
        });
      }
      await this.#unmake(pod);
      await this.#host.state.durable();
    });
  }

  /** An app has ended and will not be started again. */
  appIsOver(id: string): void {
    const pod = this.#host.state.pods.get(id);
    if (!pod?.spec.autoRemove) return;
    const isOver = (app: Container) => {
      const policy = app.spec.restart ?? { policy: "no" };
      return !isUp(app) && restartDelay(policy, app.status, 0) === undefined;
    };
    if (!this.apps(pod).every(isOver)) return;
    // Not waited for: the caller has the turn of one of the apps.
    this.remove(id).catch((error) => {
      this.#host.log("error", `Cannot remove pod "${pod.name}"`, { cause: String(error) });
    });
  }

  async #startAll(pod: Pod): Promise<void> {
    const started: Container[] = [];
    try {
      for (const app of this.apps(pod)) {
        if (app.status.phase === "running") continue;
        await this.#turn(app, () => this.#lifecycle.start(app));
        started.push(app);
      }
    } catch (error) {
      await this.#stopAll(started);
      throw error;
    }
  }

  async #stopAll(apps: readonly Container[], options?: StopOptions): Promise<void> {
    for (const app of apps.toReversed()) {
      await this.#turn(app, () => this.#lifecycle.stop(app, options));
    }
  }

  async #unmake(pod: Pod): Promise<void> {
    const containers = this.apps(pod);
    await this.#stopAll(containers, { signal: 9, limitMs: 0 });
    await undoSteps(makingOf(this.#host), { containers, pod });
    this.#claims.release(pod.range);
  }

  #turn(app: Container, work: () => Promise<void>): Promise<void> {
    return this.#host.queues.run(app.id, work);
  }

  /** Does `work` when it is the pod's turn; that pod, as it is then. */
  async #queued(reference: string, work: (pod: Pod) => Promise<void>): Promise<Pod> {
    const { id, name } = this.get(reference);
    return await this.#host.queues.run(`pod ${id}`, async () => {
      const pod = this.#host.state.pods.get(id);
      if (pod === undefined) {
        throw new KurmaError("missing", `Cannot go on with pod "${name}": it was removed`);
      }
      await work(pod);
      return this.#host.state.pods.get(id) ?? pod;
    });
  }
}
