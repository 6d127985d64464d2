/**
 * Images out of the store again: as an OCI layout, a folder or a tar, or as a Docker
 * archive. Layers, configs and OCI manifests are the bytes that came in.
 *
 * @module
 * @see OCI image-spec 1.1, image-layout.md; Docker image-spec 1.2, "Combined Image JSON"
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Chunk, collect, type Content, fileContent, memoryContent, Passage } from "./bytes.ts";
import { requireStored } from "./find.ts";
import type { OnProgress } from "./image.ts";
import { openStore, type StoreOptions } from "./manage.ts";
import { metered } from "./progress.ts";
import { type Digest, digestOf, quote } from "./sources/digest.ts";
import { mediaTypes } from "./sources/documents.ts";
import {
  type BlobReference,
  type ImageRecord,
  type Store,
  type StoredImage,
  writeAll,
} from "./store.ts";
import { tarEnd, tarHeader } from "./tar.ts";

/** How an image is written out. */
export interface ExportOptions extends StoreOptions {
  /** The tag in the archive. Default: that of the image's name, or `latest`. */
  readonly tag?: string;
  /** `docker`: what `docker save` writes, and `docker load` and `podman load` read. */
  readonly format?: "oci" | "docker";
  readonly onProgress?: OnProgress;
  /** A reason to stop; what was written is removed. */
  readonly signal?: AbortSignal;
}

/**
 * Writes an image to `path`: a tar if the name ends with `.tar` or a Docker archive is
 * wanted, otherwise a folder. An ACI is written as the file that it came as.
 *
 * @param path Does not exist yet.
 * @throws {KurmaError} `missing`: no such image; `state`: `path` exists; `invalid`: a blob
 *   of the store is damaged, or an ACI is wanted as a Docker archive. Nothing is left at
 *   `path`.
 */
export async function exportImage(
  text: string,
  path: string,
  options: ExportOptions = {},
): Promise<void> {
  using store = openStore(options);
  using _lock = await store.removalLock(false);
  const { record, names } = requireStored(store, text);
  await requireFree(path);
  const contents = contentsOf(store, text, { record, names }, options);
  try {
    if (contents.kind === "files" && isFolder(path, options.format)) {
      await writeFolder(path, contents.files);
    } else await writeFile(path, chunksOf(contents));
  } catch (error) {
    if (await exists(path)) await Deno.remove(path, { recursive: true });
    throw error;
  }
}

/** Whether an image that is no ACI is written to `path` as a folder. */
export function isFolder(path: string, format: ExportOptions["format"]): boolean {
  return !path.endsWith(".tar") && format !== "docker";
}

/** @throws {KurmaError} `state`: there is something at the path that is to be written to. */
export async function requireFree(path: string): Promise<void> {
  if (!await exists(path)) return;
  throw new KurmaError("state", `Cannot export to ${quote(path)}: it exists`, {
    fix: "Name another path, or remove it",
  });
}

/**
 * An image as one file: a tar, or an ACI as it came. It stays in the store until all is
 * read or nobody wants the rest.
 *
 * @throws {KurmaError} As {@linkcode exportImage}.
 */
export async function* exportedImage(
  text: string,
  options: ExportOptions = {},
): AsyncGenerator<Chunk> {
  using store = openStore(options);
  using _lock = await store.removalLock(false);
  yield* chunksOf(contentsOf(store, text, requireStored(store, text), options));
}

/** What an exported image consists of. */
type Contents =
  | { readonly kind: "aci"; readonly content: Content }
  | { readonly kind: "files"; readonly files: readonly NamedContent[] };

function contentsOf(
  store: Store,
  text: string,
  { record, names }: Pick<StoredImage, "record" | "names">,
  options: ExportOptions,
): Contents {
  const { format = "oci" } = options;
  const own = metered(options);
  const open: Opener = (blob) => told(checkedBlob(store, blob), blob.digest, own);
  if (record.format === "aci") {
    if (format === "docker") throw notDocker(text);
    return { kind: "aci", content: open(record.blobs[0]) };
  }
  if (format === "docker") {
    return { kind: "files", files: archiveFiles(record, repoTags(names, options.tag), open) };
  }
  const tag = options.tag ?? tagIn(names[0] ?? "") ?? "latest";
  return { kind: "files", files: layoutFiles(record, tag, open) };
}

async function* chunksOf(contents: Contents): AsyncGenerator<Chunk> {
  if (contents.kind === "aci") return yield* contents.content.chunks();
  for (const { name, content } of contents.files) {
    const { header, padding } = tarHeader(name, content.size);
    yield header;
    yield* content.chunks();
    yield padding;
  }
  yield tarEnd;
}

interface NamedContent {
  readonly name: string;
  readonly content: Content & { readonly size: number };
}

/** Reads a blob of the store, checks it, and tells how far it is. */
type Opener = (blob: BlobReference) => NamedContent["content"];

function notDocker(text: string): KurmaError {
  return new KurmaError("invalid", `Cannot export ${quote(text)} for docker load: it is an ACI`, {
    fix: "Leave the format out: an ACI is written as the file that it came as",
  });
}

/** The tag at the end of a name. */
function tagIn(name: string): string | undefined {
  return /:([^/:@]+)$/.exec(name)?.[1];
}

/** What a Docker archive calls the image: names with tags, or `tag` of the first. */
function repoTags(names: readonly string[], tag: string | undefined): string[] {
  const tagged = names.filter((name) => /^[^/]+(?:\/[^:@]+)+:[^/:@]+$/.test(name));
  if (tag === undefined || tagged.length === 0) return tagged;
  return [`${tagged[0].slice(0, tagged[0].lastIndexOf(":"))}:${tag}`];
}

/**
 * All files of a Docker archive that holds one image. Layers keep their compression, as
 * all that load such archives take it: so they are the bytes that came in.
 */
function archiveFiles(
  record: ImageRecord,
  repoTags: readonly string[],
  open: Opener,
): NamedContent[] {
  const config = record.configBlob!;
  const hex = ({ digest }: BlobReference) => digest.slice(digest.indexOf(":") + 1);
  const layers = new Map(record.blobs.map((blob) => [`${hex(blob)}.tar`, blob]));
  const manifest = [{
    Config: `${hex(config)}.json`,
    RepoTags: repoTags,
    Layers: record.blobs.map((blob) => `${hex(blob)}.tar`),
  }];
  return [
    { name: "manifest.json", content: memoryContent(jsonBytes(manifest)) },
    { name: `${hex(config)}.json`, content: open(config) },
    ...[...layers].map(([name, blob]) => ({ name, content: open(blob) })),
  ];
}

/** All files of a layout that holds one image. */
function layoutFiles(record: ImageRecord, tag: string, open: Opener): NamedContent[] {
  const blobs: NamedContent[] = [];
  const config = record.configBlob!;
  const manifest = record.manifestBlob ?? generatedManifest(record, config, blobs);
  const stored = [...record.blobs, config, ...(record.manifestBlob ? [record.manifestBlob] : [])];
  const unique = new Map(stored.map((blob) => [blob.digest, blob]));
  for (const blob of unique.values()) {
    blobs.push({ name: blobName(blob.digest), content: open(blob) });
  }
  const index = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: [{ ...manifest, annotations: { "org.opencontainers.image.ref.name": tag } }],
  };
  return [
    { name: "oci-layout", content: memoryContent(jsonBytes({ imageLayoutVersion: "1.0.0" })) },
    { name: "index.json", content: memoryContent(jsonBytes(index)) },
    ...blobs,
  ];
}

/** What came without an OCI manifest gets one. */
function generatedManifest(
  record: ImageRecord,
  config: BlobReference,
  blobs: NamedContent[],
): BlobReference {
  const bytes = manifestBytes(record, config);
  const digest = digestOf(bytes);
  blobs.push({ name: blobName(digest), content: memoryContent(bytes) });
  return { mediaType: mediaTypes.ociManifest, digest, size: bytes.length };
}

function manifestBytes(record: ImageRecord, config: BlobReference): Chunk {
  return jsonBytes({
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: { ...config, mediaType: mediaTypes.ociConfig },
    layers: record.blobs,
  });
}

/**
 * The manifest that an image came with, or gets.
 *
 * @returns undefined for an ACI, which has none.
 */
export async function manifestOf(
  store: Store,
  { configBlob, manifestBlob, ...record }: ImageRecord,
): Promise<{ readonly bytes: Chunk; readonly mediaType: string } | undefined> {
  if (configBlob === undefined) return undefined;
  if (manifestBlob === undefined) {
    return { bytes: manifestBytes(record, configBlob), mediaType: mediaTypes.ociManifest };
  }
  const { digest, size, mediaType } = manifestBlob;
  const bytes = await collect(
    checkedBlob(store, manifestBlob).chunks(),
    `read blob ${digest}`,
    size,
  );
  return { bytes, mediaType };
}

function blobName(digest: Digest): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function jsonBytes(value: unknown): Chunk {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** A blob of the store; it is checked while it is read. */
export function checkedBlob(
  store: Store,
  { digest, size }: BlobReference,
): Content & { readonly size: number } {
  const stored = fileContent(store.blobPath(digest), 0, size);
  return {
    size,
    async *chunks(): AsyncGenerator<Chunk> {
      const passage = new Passage(stored.chunks(), { what: `blob ${digest}`, digest, size });
      yield* passage.chunks();
      await passage.finish();
    },
  };
}

/** The content, with progress told as it is read. */
function told(
  content: NamedContent["content"],
  subject: Digest,
  { onProgress = () => {}, signal }: ExportOptions,
): NamedContent["content"] {
  const { size } = content;
  return {
    size,
    async *chunks() {
      let bytes = 0;
      for await (const chunk of content.chunks()) {
        signal?.throwIfAborted();
        yield chunk;
        bytes += chunk.length;
        onProgress({ step: "read", subject, bytes, total: size });
      }
      onProgress({ step: "written", subject, bytes });
    },
  };
}

async function writeFolder(path: string, files: readonly NamedContent[]): Promise<void> {
  await Deno.mkdir(path);
  for (const { name, content } of files) {
    const target = `${path}/${name}`;
    await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    await writeFile(target, content.chunks());
  }
}

async function writeFile(path: string, chunks: AsyncIterable<Chunk>): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  for await (const chunk of chunks) await writeAll(file, chunk);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
