/**
 * What is kept of containers, pods and volumes.
 *
 * @module
 */

import type { ContainerSpec, PodSpec } from "./spec.ts";

/**
 * How far a container is; original.md has the same six. EXITED: its main process ended by
 * itself. STOPPED: somebody asked for its end.
 */
export type Phase = "new" | "starting" | "running" | "stopping" | "stopped" | "exited";

/** What changes about a container by itself. */
export interface Status {
  phase: Phase;
  /** How often it was started; stage2 knows each run by a name of its own. */
  run: number;
  /** Its processes are stopped for now. */
  paused: boolean;
  /**
   * Whether somebody wants it to run: what a restart policy goes by, and what a kurmad that
   * comes back goes by.
   */
  wanted: boolean;
  /** Of its init, on the host; while it runs. */
  pid?: number;
  /** Milliseconds since 1970. */
  startedAt?: number;
  endedAt?: number;
  /** Of the last run that ended. */
  exit?: Exit;
  /** Why the last start failed or the last run ended, when nobody asked for it. */
  reason?: string;
  /** Its post-stop handler has still to run, for the run that has ended. */
  postStop?: true;
  /** Restarts by policy since somebody started it. */
  restarts: number;
  health?: Health;
}

/** How a run ended. */
export interface Exit {
  /** 0 to 255; 128 + n after signal n. */
  code: number;
  signal?: number;
  /** The kernel killed a process of it for want of memory. */
  oom: boolean;
}

export interface Health {
  state: "starting" | "healthy" | "unhealthy";
  /** Failed checks in a row. */
  failures: number;
  /** What the last check printed, cut. */
  output: string;
}

/** A container. Everything but `status`, `name` and limits stays as it was made. */
export interface Container {
  readonly id: string;
  name: string;
  /** The id of the pod that it is an app of. */
  readonly pod?: string;
  /** Its name within the pod. */
  readonly app?: string;
  /** Of its image. */
  readonly image: { readonly id: string; readonly name: string };
  spec: ContainerSpec;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** Which range of user ids it has; none if root inside is root outside. */
  readonly range?: number;
  status: Status;
}

/** Several containers that share namespaces. */
export interface Pod {
  readonly id: string;
  readonly name: string;
  readonly spec: PodSpec;
  /** The appc manifest that it was made from, as it came. */
  readonly manifest?: string;
  readonly createdAt: number;
  readonly range?: number;
}

/** A folder that outlives containers. */
export interface Volume {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: number;
  /** What it may take; `project` is the number that the file system counts it by. */
  readonly quota?: { readonly project: number; readonly bytes: number };
}
