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
export {
  type BlobReference,
  type Format,
  type ImageRecord,
  type StoredImage,
  writeAll,
} from "./store.ts";
export { openImage, type OpenOptions } from "./open.ts";
export {
  type ImagePath,
  imagePath,
  importImage,
  type ImportImageOptions,
  sentImage,
} from "./bring_in.ts";
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
export { exportedImage, exportImage, type ExportOptions, isFolder, requireFree } from "./export.ts";
export { type Damage, verifyImages, type VerifyOptions } from "./verify.ts";
