/**
 * From a layer's bytes to its folder in the store, in one pass: the bytes are hashed
 * and kept as they come, inflated, hashed again and unpacked.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { AciDependency, AciManifest } from "./aci_manifest.ts";
import { collect, type Content, fileContent, Passage } from "./bytes.ts";
import { compressionOf, inflated, type InflateLimits } from "./compression.ts";
import type { OnProgress } from "./image.ts";
import type { PartialBlob } from "./partial.ts";
import type { Digest } from "./sources/digest.ts";
import {
  type BlobReference,
  type ImageRecord,
  type Store,
  type Workspace,
  writeAll,
} from "./store.ts";
import { unpack, type Unpacked, type UnpackLimits } from "./unpack.ts";

/** What an archive may ask for. Absent ones have defaults. */
export interface ImageLimits extends UnpackLimits, InflateLimits {}

/** How images are brought in. */
export interface ImportOptions {
  readonly limits?: ImageLimits;
  readonly onProgress?: OnProgress;
  /** A reason to stop; what was written is removed. */
  readonly signal?: AbortSignal;
  /** Brings in what an ACI depends on and the store lacks; without it, that is an error. */
  readonly fetchDependency?: FetchDependency;
}

/** @param by The manifest that asks for it. */
export type FetchDependency = (
  dependency: AciDependency,
  by: AciManifest,
) => Promise<ImageRecord>;

/** A layer, or another archive, on its way in. */
export interface Incoming {
  /** Names it in messages. */
  readonly what: string;
  readonly format: "oci" | "aci";
  readonly content: Content;
  /** Of the bytes as they come, where it is known. */
  readonly digest?: Digest;
  /** The file of the store that holds the bytes already, and becomes the blob. */
  readonly file?: PartialBlob;
}

/** A layer that is opened only if the store lacks it. */
export interface LayerSource {
  /** Of the bytes as they come, where it is known. */
  readonly digest?: Digest;
  /** What the bytes are; undefined to look at them. */
  readonly mediaType?: string;
  open(options: ImportOptions): Promise<Incoming>;
}

/** What became of the bytes. */
export interface Arrived {
  readonly blob: { readonly digest: Digest; readonly size: number };
  readonly unpacked: Unpacked;
  /** Where it was unpacked, in the workspace. */
  readonly path: string;
  /** Where the bytes are as they came, synced. */
  readonly blobPath: string;
}

/**
 * Unpacks an archive in a workspace and keeps its bytes beside it, unless a file has them.
 * Nothing of it is in the store yet.
 *
 * @throws {KurmaError} As {@linkcode unpack}; `invalid` if the bytes are not those of `digest`.
 */
export async function arrive(
  workspace: Workspace,
  { what, format, content, digest, file }: Incoming,
  { limits = {}, onProgress = () => {}, signal }: ImportOptions,
): Promise<Arrived> {
  const { ratio, ...unpackLimits } = limits;
  const path = `${workspace.path}/layer`;
  const blobPath = file?.path ?? `${workspace.path}/blob`;
  await Deno.mkdir(path, { mode: 0o700 });
  using copy = file
    ? undefined
    : await Deno.open(blobPath, { write: true, createNew: true, mode: 0o600 });
  const subject = digest ?? what;
  const passage = new Passage(
    content.chunks(),
    {
      what,
      // The digest of an ACI's file is its id in Kurma of 2016.
      ...(digest ? { digest } : format === "aci" ? { algorithm: "sha512" as const } : {}),
      ...(content.size !== undefined ? { size: content.size } : {}),
    },
    async (chunk, bytes) => {
      signal?.throwIfAborted();
      if (copy === undefined) return;
      onProgress({
        step: "read",
        subject,
        bytes,
        ...(content.size !== undefined ? { total: content.size } : {}),
      });
      await writeAll(copy, chunk);
    },
  );
  try {
    const stream = inflated(passage.chunks(), what, ratio === undefined ? {} : { ratio });
    const unpacked = await unpack(stream, path, what, format, unpackLimits);
    const found = await passage.finish();
    await (file ?? copy)?.sync();
    onProgress({ step: "unpacked", subject, bytes: unpacked.bytes });
    return { blob: { digest: found, size: passage.count }, unpacked, path, blobPath };
  } finally {
    await passage.cancel();
  }
}

/**
 * Brings the layer `diffId` into the store, unless it is there. Waits for others that
 * are just doing it.
 *
 * @returns The bytes it came as.
 * @throws {KurmaError} `invalid`: damaged, hostile, or not what its digests say.
 */
export async function importLayer(
  store: Store,
  diffId: Digest,
  { digest, mediaType, open }: LayerSource,
  options: ImportOptions,
): Promise<BlobReference> {
  using _lock = await store.lock(diffId);
  const there = store.layerBlob(diffId);
  if (there !== undefined) {
    options.onProgress?.({ step: "present", subject: diffId, bytes: there.size });
    const isSame = digest === undefined || digest === there.digest;
    if (isSame && await store.hasBlob(there.digest)) return there;
    // The same files, compressed in another way, or bytes that were damaged: an export
    // needs them.
    const kept = await keepBlob(store, digest, open, options);
    return { ...kept, mediaType: mediaType ?? there.mediaType };
  }
  const incoming = await open(options);
  using file = incoming.file;
  try {
    return await unpackLayer(store, diffId, mediaType, incoming, options);
  } catch (error) {
    if (error instanceof KurmaError && error.code === "invalid") await file?.discard();
    throw error;
  }
}

async function unpackLayer(
  store: Store,
  diffId: Digest,
  mediaType: string | undefined,
  incoming: Incoming,
  options: ImportOptions,
): Promise<BlobReference> {
  await using workspace = await store.workspace();
  const arrived = await arrive(workspace, incoming, options);
  if (arrived.unpacked.digest !== diffId) {
    throw new KurmaError(
      "invalid",
      `Cannot use ${incoming.what}: unpacked its digest is ${arrived.unpacked.digest}, not ${diffId}`,
      { fix: "Fetch or save the image again: its config and its layers do not belong together" },
    );
  }
  const blob = { ...arrived.blob, mediaType: mediaType ?? await layerType(arrived.blobPath) };
  await store.commitBlob(blob.digest, arrived.blobPath);
  await store.commitLayer(diffId, arrived.path, { ...arrived.unpacked, blob });
  return blob;
}

/** Keeps the bytes of a layer that is there already. */
async function keepBlob(
  store: Store,
  known: Digest | undefined,
  open: LayerSource["open"],
  options: ImportOptions,
): Promise<{ digest: Digest; size: number }> {
  if (known !== undefined && await store.hasBlob(known)) {
    return { digest: known, size: (await Deno.stat(store.blobPath(known))).size };
  }
  const { what, content, file: whole } = await open(options);
  using kept = whole;
  if (kept !== undefined && known !== undefined) { // It was checked while it came.
    await kept.sync();
    await store.commitBlob(known, kept.path);
    return { digest: known, size: kept.offset };
  }
  await using workspace = await store.workspace();
  const path = `${workspace.path}/blob`;
  using file = await Deno.open(path, { write: true, createNew: true, mode: 0o600 });
  const expected = { what, ...(known ? { digest: known } : {}) };
  const passage = new Passage(content.chunks(), expected, async (chunk, bytes) => {
    options.signal?.throwIfAborted();
    await writeAll(file, chunk);
    options.onProgress?.({ step: "read", subject: known ?? what, bytes, total: content.size });
  });
  try {
    const digest = await passage.finish();
    await file.sync();
    await store.commitBlob(digest, path);
    return { digest, size: passage.count };
  } finally {
    await passage.cancel();
  }
}

async function layerType(path: string): Promise<string> {
  const head = await collect(fileContent(path, 0, 4).chunks(), `read "${path}"`, 4);
  const kind = compressionOf(head);
  const tar = "application/vnd.oci.image.layer.v1.tar";
  return kind === "gzip" || kind === "zstd" ? `${tar}+${kind}` : tar;
}

/**
 * How many layers of these media types are brought in at once. Two of gzip are faster than one,
 * and each takes a core; zstd waits for the disk, and two keep twice the memory.
 */
export function layersAtOnce(mediaTypes: readonly (string | undefined)[]): number {
  return mediaTypes.some((type) => type?.endsWith("zstd")) ? 1 : 2;
}
