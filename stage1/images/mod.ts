/**
 * Images: what the rest of Kurma uses of them. Each function opens the store for itself
 * and may run beside others, in this process or another.
 *
 * @module
 */

export type {
  Healthcheck,
  HeldImage,
  Image,
  ImageConfig,
  Layer,
  MountPoint,
  OnProgress,
  Progress,
} from "./image.ts";
export type { ImageLimits, ImportOptions } from "./layers.ts";
export type { BlobReference, Format, ImageRecord, StoredImage } from "./store.ts";
export { importImage, type ImportImageOptions, openImage, type OpenOptions } from "./open.ts";
export {
  defaultRoot,
  listImages,
  pruneImages,
  type PruneOptions,
  type Removed,
  removeImage,
  showImage,
  type StoreOptions,
  tagImage,
} from "./manage.ts";
export { exportedImage, exportImage, type ExportOptions } from "./export.ts";
export { type Damage, verifyImages, type VerifyOptions } from "./verify.ts";
