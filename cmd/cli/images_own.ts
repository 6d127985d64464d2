/**
 * The image store in a folder of our own.
 *
 * @module
 */

import * as images from "../../stage1/images/manage.ts";
import type { Damage, OnProgress, Removed, StoredImage } from "../../stage1/images/mod.ts";
import type { Context } from "./context.ts";
import type { ImageFields, ImageRow, ImageStore, TakeOutOptions } from "./image_store.ts";

export class OwnImages implements ImageStore {
  readonly #place: Pick<Context, "root" | "config">;

  constructor({ root, config }: Pick<Context, "root" | "config">) {
    this.#place = { root, config };
  }

  list(): Promise<readonly ImageRow[]> {
    return Promise.resolve(images.listImages(this.#place).map(rowOf));
  }

  show(image: string): Promise<ImageFields> {
    const stored = images.showImage(image, this.#place);
    const { record } = stored;
    return Promise.resolve({ ...record, ...rowOf(stored), layers: record.layers });
  }

  async pull(reference: string, onProgress: OnProgress | undefined): Promise<ImageRow> {
    const { pullImage } = await import("../../stage1/images/pull.ts");
    return rowOf(await pullImage(reference, { ...this.#place, onProgress }));
  }

  async push(image: string, reference: string | undefined, onProgress: OnProgress | undefined) {
    const { pushImage } = await import("../../stage1/images/push.ts");
    return await pushImage(image, reference, { ...this.#place, onProgress });
  }

  async bringIn(file: string, name: string | undefined, onProgress: OnProgress | undefined) {
    const { root } = this.#place;
    const { importImage } = await import("../../stage1/images/bring_in.ts");
    return rowOf(await importImage(file, { root, name, onProgress }));
  }

  async takeOut(image: string, path: string, options: TakeOutOptions): Promise<void> {
    const { exportImage } = await import("../../stage1/images/export.ts");
    await exportImage(image, path, { root: this.#place.root, ...options });
  }

  tag(image: string, name: string): Promise<string> {
    return Promise.resolve(images.tagImage(image, name, this.#place));
  }

  async remove(image: string): Promise<Removed> {
    return await images.removeImage(image, this.#place);
  }

  async prune(maxBytes: number | undefined): Promise<Removed> {
    return await images.pruneImages({ root: this.#place.root, maxBytes });
  }

  async verify(
    checkOnly: boolean,
    onProgress: OnProgress | undefined,
  ): Promise<readonly Damage[]> {
    const { verifyImages } = await import("../../stage1/images/verify.ts");
    return await verifyImages({ ...this.#place, checkOnly, onProgress });
  }
}

function rowOf({ record, names, created, used, bytes }: StoredImage): ImageRow {
  return {
    id: record.id,
    names,
    format: record.format,
    layers: record.layers.length,
    bytes,
    created: created.toISOString(),
    used: used.toISOString(),
  };
}
