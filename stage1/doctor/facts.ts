/**
 * What is so on this machine, as far as Kurma cares: gathered in one place, changing
 * nothing, so that what it means can be told, and tested, without a machine.
 *
 * @module
 */

import type { Feature } from "../../ffi/mod.ts";
import type { Leftover } from "./leftovers.ts";

/** A range of ids that somebody has. subuid(5) */
export interface IdRange {
  readonly file: string;
  readonly owner: string;
  readonly first: number;
  readonly count: number;
}

/** A file system with room in it. */
export interface Room {
  readonly type: string;
  readonly freeBytes: number;
  readonly bytes: number;
  /** 0 in both where the file system does not count them. */
  readonly freeInodes: number;
  readonly inodes: number;
}

/** Everything that {@link ./checks.ts} judges. */
export interface Facts {
  /** Whether we are root: much cannot be seen otherwise. */
  readonly isRoot: boolean;
  readonly kernel: {
    readonly release: string;
    /** Why what is not there is not there, by its name. */
    readonly missing: Readonly<Partial<Record<Feature, string>>>;
    /** Their names, as far as they are loaded. */
    readonly fileSystems: readonly string[];
    /** Kinds, as in /proc/self/ns. */
    readonly namespaces: readonly string[];
  };
  /** Settings of the kernel by their path below /proc/sys; what is not there is left out. */
  readonly sysctl: Readonly<Record<string, number>>;
  /** The most descriptors that this process may have; the daemon inherits the like. */
  readonly descriptors: number;
  readonly cgroups: {
    /** `none`, `v1`, `v2` or `hybrid`. */
    readonly mode: string;
    readonly controllers: readonly string[];
    /** With version 2: what the cgroup of the daemon, or ours, can pass on; undefined otherwise. */
    readonly delegated?: readonly string[];
  };
  readonly ids: {
    readonly given: readonly IdRange[];
    /** The ids that there are for us. user_namespaces(7) */
    readonly mapped: readonly { readonly first: number; readonly count: number }[];
  };
  readonly state: {
    readonly path: string;
    /** Undefined if it is not there yet. */
    readonly folder?: { readonly mode: number; readonly uid: number };
    /** Of the file system that it is on, or will be. */
    readonly room?: Room;
    /** When something in it was last changed, in milliseconds since 1970. */
    readonly changed?: number;
  };
  /** The wall clock, in milliseconds since 1970. */
  readonly now: number;
  readonly socket: {
    readonly path: string;
    /** Undefined if nothing is there. */
    readonly file?: { readonly mode: number; readonly gid: number; readonly isSocket: boolean };
    /** The number of the group that may use it; undefined if there is none. */
    readonly group?: number;
  };
  readonly daemon: {
    /** What it says it is; undefined if none answers. */
    readonly version?: string;
    readonly pid?: number;
    /** Why none answers. */
    readonly error?: string;
    /** The version of this program. */
    readonly own: string;
    /** Its state folder, as far as it tells. */
    readonly stateDir?: string;
    /** Processes that make containers for this state folder. */
    readonly stage2: readonly number[];
    /** Whether some kurmad has this state folder. */
    readonly hasState: boolean;
  };
  readonly leftovers: readonly Leftover[];
  /** Downloads that were cut short. */
  readonly partial: { readonly count: number; readonly bytes: number };
}
