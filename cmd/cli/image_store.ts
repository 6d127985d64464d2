/**
 * The image store as the commands see it, whoever looks after it: a daemon, or we ourselves.
 *
 * @module
 */

import type { Damage, OnProgress, Removed } from "../../stage1/images/mod.ts";
import type { Context } from "./context.ts";
import { daemonIfAny } from "./daemon_if_any.ts";
import type { Where } from "./host.ts";

/** An image as `--output json` lists it. */
export interface ImageRow {
  readonly id: string;
  readonly names: readonly string[];
  readonly format: string;
  /** How many there are. */
  readonly layers: number;
  readonly bytes: number;
  /** When it came and when it was last opened, as ISO 8601 has it. */
  readonly created: string;
  readonly used: string;
}

/** All that is known of an image, by field. */
export type ImageFields = Readonly<Record<string, unknown>>;

/** How an image is taken out. */
export interface TakeOutOptions {
  readonly format: "oci" | "docker";
  readonly tag: string | undefined;
  readonly onProgress: OnProgress | undefined;
}

/** What can be done with images. Each method throws what the store does. */
export interface ImageStore {
  /** The image used last comes first. */
  list(): Promise<readonly ImageRow[]>;
  show(image: string): Promise<ImageFields>;
  pull(reference: string, onProgress: OnProgress | undefined): Promise<ImageRow>;
  /** @returns The digest that the reference names now. */
  push(
    image: string,
    reference: string | undefined,
    onProgress: OnProgress | undefined,
  ): Promise<string>;
  /** @param file A path, or `-` for standard input. */
  bringIn(
    file: string,
    name: string | undefined,
    onProgress: OnProgress | undefined,
  ): Promise<ImageRow>;
  /** @param path Nothing is there yet. */
  takeOut(image: string, path: string, options: TakeOutOptions): Promise<void>;
  /** @returns The name as it is kept. */
  tag(image: string, name: string): Promise<string>;
  remove(image: string): Promise<Removed>;
  /** @param maxBytes What may stay; undefined: all that has a name. */
  prune(maxBytes: number | undefined): Promise<Removed>;
  verify(checkOnly: boolean, onProgress: OnProgress | undefined): Promise<readonly Damage[]>;
}

/**
 * The store that `context` means.
 *
 * @param signal Gives up waiting for a daemon that says nothing.
 */
export async function imageStore(
  context: Where & Pick<Context, "root" | "config" | "alone">,
  signal?: AbortSignal,
): Promise<ImageStore> {
  const api = await daemonIfAny(context, signal);
  if (api) {
    const { DaemonImages } = await import("./images_daemon.ts");
    return new DaemonImages(api);
  }
  const { OwnImages } = await import("./images_own.ts");
  return new OwnImages(context);
}
