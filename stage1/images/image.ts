/**
 * What an image is once it is here, whatever format it came in.
 *
 * @module
 */

import type { Pulled } from "./store.ts";

/** An image whose layers are unpacked in the store. */
export interface Image {
  /** `sha256:HEX` of the config (OCI, Docker) or `sha512-HEX` of the uncompressed tar (ACI). */
  readonly id: string;
  /** What it is called: a name of the store, or the name inside the archive. */
  readonly name?: string;
  /** Bottom first. */
  readonly layers: readonly Layer[];
  readonly config: ImageConfig;
}

/** An image that nobody can remove while it is held. */
export interface HeldImage extends Image {
  /** How it came here, if it was pulled. */
  readonly pulled?: Pulled;
  /** Ends with the process, or when it is disposed of: no container uses the image any more. */
  readonly hold: Disposable;
}

/** One layer, as overlayfs takes it: whiteouts are character devices 0:0, opaque
 * folders carry `trusted.overlay.opaque=y`. */
export interface Layer {
  /** Of the uncompressed tar: `sha256:HEX`, or `sha512:HEX` for an ACI. */
  readonly digest: string;
  /** The unpacked files: an absolute host path. */
  readonly path: string;
}

/** How the image wants to be run. All of it is data from outside: checked, never obeyed blindly. */
export interface ImageConfig {
  /** What comes before the command; the caller's arguments do not replace it. */
  readonly entrypoint: readonly string[];
  /** What is run, or what `entrypoint` gets, if the caller names nothing. */
  readonly command: readonly string[];
  /** `NAME=value`, each name once. */
  readonly env: readonly string[];
  /** A name or number in the image's own terms; empty means root. */
  readonly user: string;
  readonly group?: string;
  readonly supplementaryGids?: readonly number[];
  /** Absolute, or empty for `/`. */
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  /** A name such as `SIGTERM`, or a number. */
  readonly stopSignal?: string;
  /** Paths that want storage of their own. */
  readonly volumes: readonly string[];
  /** `PORT/PROTOCOL`. */
  readonly exposedPorts: readonly string[];
  readonly healthcheck?: Healthcheck;
  /** An ACI's, as they are written; stage2's plan gives them their meaning. */
  readonly isolators?: readonly { readonly name: string; readonly value: unknown }[];
  readonly mountPoints?: readonly MountPoint[];
  readonly eventHandlers?: readonly { readonly name: string; readonly exec: readonly string[] }[];
}

/** Of an image that says nothing about how it wants to be run. */
export const bareConfig: ImageConfig = {
  entrypoint: [],
  command: [],
  env: [],
  user: "",
  workingDir: "",
  labels: {},
  volumes: [],
  exposedPorts: [],
};

/** A command that tells whether the container is well. Durations are nanoseconds. */
export interface Healthcheck {
  /** `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", TEXT]`. */
  readonly test: readonly string[];
  readonly interval?: number;
  readonly timeout?: number;
  readonly startPeriod?: number;
  readonly retries?: number;
}

/** A place where an ACI wants a volume. */
export interface MountPoint {
  readonly name: string;
  readonly path: string;
  readonly readOnly: boolean;
}

/** Told while an image is being brought in, a few times a second for each subject. */
export interface Progress {
  /** `read`: bytes of the source; the others end a layer. */
  readonly step: "read" | "unpacked" | "present" | "uploaded" | "written" | "verified";
  /** A layer's digest, or the reference while no digest is known. */
  readonly subject: string;
  readonly bytes: number;
  /** Bytes in all, where that is known. */
  readonly total?: number;
  /** Bytes, once it has gone on for half a second. */
  readonly perSecond?: number;
  /** Until the end at this speed, where `total` is known. */
  readonly leftMs?: number;
}

export type OnProgress = (progress: Progress) => void;
