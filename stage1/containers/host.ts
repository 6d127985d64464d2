/**
 * What the operations on containers stand on, and what is known of a container only while
 * this process lives.
 *
 * @module
 */

import type { Kernel } from "../../ffi/kernel.ts";
import type { Exit, Stage2 } from "../../stage2/server.ts";
import type { Images, Use } from "./images.ts";
import { Queues } from "./queue.ts";
import type { Container } from "./record.ts";
import type { ContainerDefaults, Resolved } from "./resolve.ts";
import type { State } from "./state.ts";
import type { Reactor } from "./streams.ts";
import type { Supervisor } from "./supervisor.ts";

/** How important a line of the log is. */
export type Level = "debug" | "info" | "warn" | "error";

/** One line of the daemon's log. */
export type Log = (
  level: Level,
  message: string,
  fields?: Readonly<Record<string, unknown>>,
) => void;

/** Where things are kept: absolute host paths. */
export interface Folders {
  /** The state, and stage2's. */
  readonly state: string;
  readonly containers: string;
  readonly volumes: string;
}

/** Where what is to be removed goes first: on the same file system, and no name of anything. */
export function trashOf(folder: string): string {
  return `${folder}/.trash`;
}

/** The manager's surroundings. */
export interface Host {
  readonly kernel: Kernel;
  readonly folders: Folders;
  readonly state: State;
  readonly images: Images;
  readonly log: Log;
  /** Operations on one container, one after the other, by its id. */
  readonly queues: Queues;
  readonly supervisor: Supervisor;
  readonly live: LiveTable;
  /** Pipes and terminals of this process. */
  readonly reactor: Reactor;
  /** What the configuration says now. */
  settings(): Settings;
}

/** The part of the configuration that containers are made with. */
export interface Settings {
  readonly containerDefaults?: ContainerDefaults;
}

/** What is known of a container beside its record. */
export interface Live {
  /** Its image, held. */
  use?: Use;
  /** What its specification and its image come to. */
  meant?: Resolved;
  /** Who has made its first run but for the command, and waits for the plan of that run. */
  madeBy?: Stage2;
  /** Ends that are told while the run is still being started. */
  early?: Exit[];
  /** Told the status of the post-stop handler that runs. */
  afterwards?: PromiseWithResolvers<number>;
  /** Kills of the newest run that are on their way or were carried out. */
  kills: Set<symbol>;
  /** Settles when the run that goes on has ended. */
  ended: PromiseWithResolvers<void>;
  /** Told once of that end. Whoever may go before takes itself out; a promise would keep it. */
  readonly listeners: Set<() => void>;
  /** When it was started, by a clock that nobody sets: milliseconds. */
  startedAt: number;
  /** How long the run before took, by the same clock. */
  ranMs: number;
  /** Ends the checks of its health. */
  checks?: AbortController;
  /** The next start by policy: when (milliseconds since 1970), and what waits for it. */
  restart?: { at: number; timer: number };
}

/** Tells whoever waits that the run has ended. */
export function tellEnd(live: Live): void {
  live.ended.resolve();
  for (const listener of live.listeners) listener();
  live.listeners.clear();
}

/** All containers' {@linkcode Live} parts by id. */
export class LiveTable {
  readonly #entries = new Map<string, Live>();

  of(container: Pick<Container, "id">): Live {
    const known = this.#entries.get(container.id);
    if (known) return known;
    const made: Live = {
      ended: Promise.withResolvers(),
      listeners: new Set(),
      startedAt: performance.now(),
      ranMs: 0,
      kills: new Set(),
    };
    this.#entries.set(container.id, made);
    return made;
  }

  /** To look at: nothing is made, of one that is gone there is nothing. */
  find(container: Pick<Container, "id">): Partial<Live> {
    return this.#entries.get(container.id) ?? {};
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  /** Forgets a container. */
  delete(container: Pick<Container, "id">): void {
    const live = this.#entries.get(container.id);
    clearTimeout(live?.restart?.timer);
    live?.checks?.abort();
    live?.use?.[Symbol.dispose]();
    this.#entries.delete(container.id);
  }

  /** Stops all timers and lets go of all images. */
  clear(): void {
    for (const id of [...this.#entries.keys()]) this.delete({ id });
  }
}

/** The folder with a folder for each role, each with the socket `kurma.sock` for containers. */
export function apiFolderOf(folders: Pick<Folders, "state">): string {
  return `${folders.state}/api`;
}

/** What a container's folder and files are called. */
export function folderOf(host: Pick<Host, "folders">, container: Pick<Container, "id">): string {
  return `${host.folders.containers}/${container.id}`;
}

/** A container, as far as names of its runs go. */
export type Named = Pick<Container, "id" | "pod"> & {
  readonly status: Pick<Container["status"], "run">;
};

/**
 * The name of a run to stage2: each has its own, so that one can begin while another is
 * cleared up. Those of a pod's apps begin with the pod's id, and so do their cgroups.
 *
 * @param what Something else that is made of the container, in place of a run.
 */
export function runName({ id, pod, status }: Named, what = String(status.run)): string {
  return `${pod === undefined ? "" : `${pod}/`}${id}.${what}`;
}

/** What a run's name consists of; undefined for a name that is no container's run. */
export function partsOfRun(
  name: string,
): { readonly id: string; readonly run: number; readonly what?: string } | undefined {
  const parts = /^(?:[^/]+\/)?([^/.]+)\.(\d+)(?:\.(.+))?$/.exec(name);
  if (parts === null) return undefined;
  const [, id, run, what] = parts;
  return { id, run: Number(run), ...(what === undefined ? {} : { what }) };
}

/** Whether processes of it may be there. */
export function isUp({ status }: Container): boolean {
  return status.phase === "starting" || status.phase === "running" || status.phase === "stopping";
}

/** A failure as one line: the message and its causes. */
export function oneLine(error: unknown): string {
  const lines: string[] = [];
  for (let at = error; at instanceof Error; at = at.cause) lines.push(at.message);
  return lines.join(": ");
}
