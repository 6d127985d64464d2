/**
 * Images in OCI layouts and Docker archives, into the store.
 *
 * @module
 * @see OCI image-spec 1.1, image-layout.md; Docker image-spec 1.2, "Combined Image JSON"
 */

import { KurmaError } from "../../ffi/errors.ts";
import { parseOciConfig } from "./config.ts";
import { type Chunk, memoryContent, Passage } from "./bytes.ts";
import { type Folder, readFrom } from "./folder.ts";
import { importLayer, type ImportOptions, layersAtOnce, type LayerSource } from "./layers.ts";
import { inParallel } from "./sources/blob.ts";
import { type Digest, digestOf, quote } from "./sources/digest.ts";
import {
  type Descriptor,
  documentLimits,
  type Manifest,
  mediaTypes,
  parseDocument,
  requireImage,
} from "./sources/documents.ts";
import { isObject, parseJsonObject, unreadable } from "./sources/json.ts";
import { hostPlatform, selectPlatform } from "./sources/platform.ts";
import type { Format, ImageRecord, Store } from "./store.ts";

/** An image that was brought in, and what its archive calls it. */
export interface Imported {
  readonly record: ImageRecord;
  readonly names: readonly string[];
}

/** Where in a layout the image is known as: containerd writes the first, all others the second. */
const nameAnnotation = "io.containerd.image.name";
const tagAnnotation = "org.opencontainers.image.ref.name";

/** Whether `folder` is an OCI layout. */
export async function isLayout(folder: Folder): Promise<boolean> {
  return await folder.find("oci-layout") !== undefined;
}

/**
 * Brings an image of an OCI layout into the store.
 *
 * @param tag Its `org.opencontainers.image.ref.name`; needed if the layout has several.
 * @throws {KurmaError} `invalid`, or `missing` with the tags that there are.
 */
export async function importLayout(
  store: Store,
  folder: Folder,
  tag: string | undefined,
  options: ImportOptions,
): Promise<Imported> {
  const layout = parseJsonObject(
    await readFrom(folder, "oci-layout", 4096),
    `"oci-layout" in ${folder.what}`,
  );
  if (
    typeof layout.imageLayoutVersion !== "string" || !layout.imageLayoutVersion.startsWith("1.")
  ) {
    throw unreadable(`"oci-layout" in ${folder.what}`, "its imageLayoutVersion is not 1.x");
  }
  const bytes = await readFrom(folder, "index.json", documentLimits.bytes);
  const what = `"index.json" in ${folder.what}`;
  const index = parseDocument(bytes, what, mediaTypes.ociIndex);
  if (index.kind !== "index") throw unreadable(what, "it is not an index");
  const chosen = choose(index.manifests, tag, folder.what);
  const found = await findManifest(folder, chosen, 0);
  const names = [chosen.annotations?.[nameAnnotation], chosen.annotations?.[tagAnnotation]]
    .filter((name) => name !== undefined);
  const config = await readBlob(folder, found.manifest.config);
  const sources = found.manifest.layers.map((layer): LayerSource => ({
    ...layer,
    open: async () => {
      const what = `layer ${layer.digest} in ${folder.what}`;
      const content = await folder.find(blobName(layer.digest));
      if (content === undefined) throw partMissing(what);
      const { digest, size } = layer;
      return { what, format: "oci", content: { ...content, size }, digest };
    },
  }));
  const record = await importManifest(store, { ...found, config }, sources, options);
  return { record, names };
}

function choose(
  manifests: readonly Descriptor[],
  tag: string | undefined,
  what: string,
): Descriptor {
  const tagOf = ({ annotations }: Descriptor) => annotations?.[tagAnnotation];
  const found = tag === undefined ? manifests : manifests.filter((one) => {
    const own = tagOf(one);
    return own === tag || own?.endsWith(`:${tag}`) || one.digest === tag;
  });
  if (found.length === 1) return found[0];
  // Several without a tag may be one image for several machines.
  if (
    found.length > 1 &&
    found.every((one) => one.platform !== undefined && tagOf(one) === tagOf(found[0]))
  ) {
    return selectPlatform(found, hostPlatform(), what);
  }
  const tags = [...new Set(manifests.map(tagOf).filter((own) => own !== undefined))];
  const fix = tags.length > 0
    ? `Add one of these tags as PATH:TAG: ${tags.slice(0, 20).join(", ")}`
    : "Save the image again, with a tag";
  if (tag !== undefined && found.length === 0) {
    throw new KurmaError("missing", `Cannot find tag ${quote(tag)} in ${what}`, { fix });
  }
  throw new KurmaError(
    "invalid",
    `Cannot choose in ${what}: it has ${manifests.length === 0 ? "no image" : "several images"}`,
    { fix },
  );
}

function partMissing(what: string): KurmaError {
  return new KurmaError("invalid", `Cannot find ${what}`, {
    fix: "Save the image again: a part of it is missing",
  });
}

/** A manifest with the bytes that are its digest's. */
export interface FoundManifest {
  readonly manifest: Manifest;
  readonly bytes: Chunk;
  readonly descriptor: Descriptor;
}

/** The manifest behind a descriptor: itself, or the one for this machine in an index. */
async function findManifest(
  folder: Folder,
  descriptor: Descriptor,
  depth: number,
): Promise<FoundManifest> {
  const bytes = await readBlob(folder, descriptor);
  const what = `manifest ${descriptor.digest} in ${folder.what}`;
  const document = parseDocument(bytes, what, descriptor.mediaType);
  if (document.kind === "manifest") {
    requireImage(document, what);
    return { manifest: document, bytes, descriptor };
  }
  if (depth === 4) throw unreadable(what, "its indexes are nested too deep");
  const fitting = document.manifests.length === 1 && document.manifests[0].platform === undefined
    ? document.manifests[0]
    : selectPlatform(document.manifests, hostPlatform(), what);
  return findManifest(folder, fitting, depth + 1);
}

async function readBlob(folder: Folder, { digest, size }: Descriptor): Promise<Chunk> {
  const what = `blob ${digest} in ${folder.what}`;
  if (size > documentLimits.bytes) {
    throw unreadable(what, `it is larger than ${documentLimits.bytes} bytes`);
  }
  const bytes = await readFrom(folder, blobName(digest), documentLimits.bytes);
  await new Passage(memoryContent(bytes).chunks(), { what, digest, size }).finish();
  return bytes;
}

function blobName(digest: Digest): string {
  return `blobs/${digest.replace(":", "/")}`;
}

/**
 * Brings an image into the store by its manifest.
 *
 * @param found The manifest and the config that it names, both checked.
 * @param layers Where its layers come from, in its order.
 */
export async function importManifest(
  store: Store,
  { manifest, bytes, descriptor, config }: FoundManifest & { readonly config: Chunk },
  layers: readonly LayerSource[],
  options: ImportOptions,
): Promise<ImageRecord> {
  const what = `manifest ${descriptor.digest}`;
  const record = await importImage(store, "oci", config, manifest.config, what, layers, options);
  const { digest, size, mediaType } = descriptor;
  await store.putBlob(digest, bytes);
  return { ...record, manifestBlob: { digest, size, mediaType } };
}

/**
 * Brings an image of a `docker save` archive into the store.
 *
 * @param tag `NAME:TAG` or `TAG`; needed if the archive has several images.
 * @throws {KurmaError} `invalid`, or `missing` with the names that there are.
 */
export async function importDockerArchive(
  store: Store,
  folder: Folder,
  tag: string | undefined,
  options: ImportOptions,
): Promise<Imported> {
  const what = `"manifest.json" in ${folder.what}`;
  const images = parseDockerManifest(
    await readFrom(folder, "manifest.json", documentLimits.bytes),
    what,
  );
  const matching = tag === undefined ? images : images.filter(({ names }) => {
    return names.some((name) => name === tag || name.endsWith(`:${tag}`));
  });
  if (matching.length !== 1) {
    const names = images.flatMap((image) => image.names).slice(0, 20).join(", ");
    const fix = names === ""
      ? "Save the image again, with a tag"
      : `Add one of these as PATH:TAG: ${names}`;
    throw tag !== undefined && matching.length === 0
      ? new KurmaError("missing", `Cannot find tag ${quote(tag)} in ${folder.what}`, { fix })
      : new KurmaError(
        "invalid",
        `Cannot choose in ${folder.what}: it has ${images.length} images`,
        { fix },
      );
  }
  const [{ config, layers, names }] = matching;
  const bytes = await readFrom(folder, config, documentLimits.bytes);
  const descriptor = {
    digest: digestOf(bytes),
    size: bytes.length,
    mediaType: mediaTypes.dockerConfig,
  };
  // The file's name is its digest; one that says something else was tampered with.
  const named = /([0-9a-f]{64})(?:\.json)?$/.exec(config)?.[1];
  if (named !== undefined && descriptor.digest !== `sha256:${named}`) {
    throw unreadable(`${quote(config)} in ${folder.what}`, `its digest is ${descriptor.digest}`);
  }
  const sources = layers.map((name): LayerSource => ({
    open: async () => {
      const layer = `layer ${quote(name)} in ${folder.what}`;
      const content = await folder.find(name);
      if (content === undefined) throw partMissing(layer);
      return { what: layer, format: "oci", content };
    },
  }));
  const record = await importImage(store, "docker", bytes, descriptor, what, sources, options);
  return { record, names };
}

interface DockerImage {
  readonly config: string;
  readonly layers: readonly string[];
  readonly names: readonly string[];
}

function parseDockerManifest(bytes: Uint8Array, what: string): DockerImage[] {
  // A list at the top: wrapped, so that the same limits are applied to it.
  const text = new TextDecoder().decode(bytes);
  const { images } = parseJsonObject(new TextEncoder().encode(`{"images":${text}}`), what, {
    bytes: documentLimits.bytes + 16,
    depth: 64,
  });
  if (!Array.isArray(images)) throw unreadable(what, "it is not a list of images");
  return images.map((image) => {
    if (!isObject(image) || typeof image.Config !== "string") {
      throw unreadable(what, "an image has no Config");
    }
    return {
      config: image.Config,
      layers: names(image.Layers, "Layers", what),
      names: names(image.RepoTags, "RepoTags", what),
    };
  });
}

function names(value: unknown, key: string, what: string): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every((name) => typeof name === "string")) {
    throw unreadable(what, `${quote(key)} is not a list of names`);
  }
  if (value.length > documentLimits.layers) throw unreadable(what, `it has too many ${key}`);
  return value;
}

/** What both formats share: the config first, then its layers, then the record. */
async function importImage(
  store: Store,
  format: Format,
  bytes: Chunk,
  descriptor: Descriptor,
  what: string,
  layers: readonly LayerSource[],
  options: ImportOptions,
): Promise<ImageRecord> {
  const { config, diffIds } = parseOciConfig(bytes, `config ${descriptor.digest}`);
  if (diffIds.length !== layers.length) {
    throw unreadable(what, `it has ${layers.length} layers, its config ${diffIds.length}`);
  }
  const pairs = diffIds.map((diffId, at) => ({ diffId, layer: layers[at] }));
  const blobs = await inParallel(
    pairs,
    layersAtOnce(layers.map(({ mediaType }) => mediaType)),
    ({ diffId, layer }, signal) => importLayer(store, diffId, layer, { ...options, signal }),
    options.signal,
  );
  const { digest, size, mediaType } = descriptor;
  await store.putBlob(digest, bytes);
  return {
    id: digest,
    format,
    layers: diffIds,
    blobs,
    configBlob: { digest, size, mediaType },
    config,
  };
}
