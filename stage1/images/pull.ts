/**
 * Images from elsewhere, into the store: from registries, web servers and by appc discovery.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { importFile, importImage } from "./bring_in.ts";
import { fileContent } from "./bytes.ts";
import { hasLabels } from "./aci.ts";
import type { AciDependency, AciManifest } from "./aci_manifest.ts";
import { requireStored } from "./find.ts";
import type { OnProgress } from "./image.ts";
import type { ImportOptions, Incoming, LayerSource } from "./layers.ts";
import { openStore, type StoreOptions } from "./manage.ts";
import { importManifest } from "./oci.ts";
import { noPaths, type OpenOptions } from "./open.ts";
import { PartialBlob } from "./partial.ts";
import { metered } from "./progress.ts";
import { type BlobOptions, copyBlob } from "./sources/blob.ts";
import { type Digest, digestOf, quote } from "./sources/digest.ts";
import { download } from "./sources/download.ts";
import type { Descriptor } from "./sources/documents.ts";
import { type Reach, requireAllowedName, requireSigner } from "./sources/reach.ts";
import {
  type AppcReference,
  formatReference,
  type HttpReference,
  parseReference,
  type RegistryReference,
} from "./sources/reference.ts";
import type { RemoteImage } from "./sources/registry.ts";
import { type AciPlace, nameOfUrl, openRemote, type Remote } from "./sources/remote.ts";
import type { BlobReference, ImageRecord, Store, StoredImage } from "./store.ts";
import { decideAci } from "./trust/decide.ts";
import { requireAccepted } from "./trust/policy.ts";

/** How images come from elsewhere. */
export interface PullOptions extends ImportOptions, StoreOptions {
  /** The folder of `hosts.yaml`, `policy.yaml`, `trust/` and `auth.json`. */
  readonly config: string;
  /** Where it may come from, if who asks may not have it from anywhere. */
  readonly reach?: Reach;
}

/**
 * Brings an image from elsewhere into the store, under the name it was asked for by. What
 * is in the store is not fetched again, and what an earlier pull left half-done goes on.
 *
 * @param text A reference to a registry's image, a URL, or an appc name; a path is imported.
 * @throws {KurmaError} `denied` by the policy or the server; `missing`; `unavailable`;
 *   `invalid`: no such reference, or an image that is damaged, hostile or foreign.
 */
export async function pullImage(
  text: string,
  options: PullOptions & Pick<OpenOptions, "paths">,
): Promise<StoredImage> {
  const reference = parseReference(text);
  if (reference.kind === "file" || reference.kind === "stdin") {
    if (options.paths === false) throw noPaths(text);
    return await importImage(text, { ...options, pull: options });
  }
  using store = openStore(options);
  await store.sweep();
  using _lock = await store.removalLock(false);
  const { id } = await pullInto(store, reference, metered(options));
  return requireStored(store, id);
}

/** What led to a pull, so that no image is pulled because of itself. */
interface Lineage {
  /** Each asked for the next. */
  readonly images: readonly Pick<AciManifest, "name" | "labels">[];
  /** The downloads that wait for what they depend on. */
  readonly keys: ReadonlySet<Digest>;
  /** How many images may still come along; one count for all. */
  readonly rest: { count: number };
}

/** What may come along with an ACI. */
const dependencyLimits = { depth: 16, images: 64 } as const;

const noLineage = (): Lineage => {
  return { images: [], keys: new Set(), rest: { count: dependencyLimits.images } };
};

/** As {@linkcode pullImage}, into an open store; the caller shares the removal lock. */
export async function pullInto(
  store: Store,
  reference: RegistryReference | HttpReference | AppcReference,
  options: PullOptions,
  lineage = noLineage(),
): Promise<ImageRecord> {
  const { reach = {} } = options;
  requireAllowedName(reference, formatReference(reference), reach);
  store.requireSpace();
  using remote = await openRemote(options.config, { reach });
  const { record, names } = reference.kind === "registry"
    ? await pullFromRegistry(store, remote, reference, options)
    : await pullFile(store, remote, reference, options, lineage);
  store.saveImage(record, names);
  return record;
}

/**
 * Pulls what an ACI depends on, by discovery, and what that depends on.
 *
 * @param by The manifest that asks for it.
 * @throws {KurmaError} `invalid`: it depends on itself, too many come along, or what was
 *   found is not what is asked for; and what {@linkcode pullImage} throws.
 */
export async function pullDependency(
  store: Store,
  dependency: AciDependency,
  by: AciManifest,
  options: PullOptions,
  lineage = noLineage(),
): Promise<ImageRecord> {
  const { name, labels, imageId } = dependency;
  const images = [...lineage.images, by];
  const text = formatReference({ kind: "appc", name, labels });
  const refuse = (why: string) =>
    new KurmaError("invalid", `Cannot pull what ${quote(by.name)} depends on: ${why}`, {
      fix: "Tell who made the image",
    });
  if (images.some((image) => image.name === name && hasLabels(image.labels, dependency))) {
    const way = [...images.map((image) => image.name), name].join(" on ");
    throw refuse(`it depends on itself: ${way}`);
  }
  if (images.length > dependencyLimits.depth) {
    throw refuse(`more than ${dependencyLimits.depth} images depend on each other`);
  }
  if (--lineage.rest.count < 0) {
    throw refuse(`more than ${dependencyLimits.images} images would come along`);
  }
  const reference = parseReference(text) as AppcReference; // Again: a label may be anything.
  const record = await pullInto(store, reference, options, { ...lineage, images });
  if (imageId !== undefined && record.id !== imageId) {
    throw refuse(`the server's ${quote(text)} has another imageID`);
  }
  if (!hasLabels(record.config.labels, dependency)) {
    throw refuse(`the server's ${quote(text)} has other labels`);
  }
  return record;
}

interface PulledImage {
  readonly record: ImageRecord;
  readonly names: readonly string[];
}

async function pullFromRegistry(
  store: Store,
  remote: Remote,
  reference: RegistryReference,
  options: PullOptions,
): Promise<PulledImage> {
  const { image, decision } = await remote.resolve(reference, { signal: options.signal });
  requireSigner(decision, formatReference(reference), options.reach ?? {});
  const { manifest, config, layers, digest } = image;
  const { bytes, mediaType, parsed } = manifest;
  const record = await importManifest(
    store,
    {
      manifest: parsed,
      bytes,
      descriptor: { digest: manifest.digest, size: bytes.length, mediaType },
      config,
    },
    layers.map((layer) => remoteLayer(store, image, layer)),
    options,
  );
  const from = formatReference(reference);
  return { record: { ...record, pulled: { from, digest, trust: decision } }, names: [from] };
}

/** A layer that comes into a file of the store's before it is unpacked. */
function remoteLayer(store: Store, image: RemoteImage, layer: Descriptor): LayerSource {
  const { digest, size, mediaType } = layer;
  const what = `layer ${digest} of ${quote(formatReference(image.reference))}`;
  const incoming = (path: string): Incoming => {
    return { what, format: "oci", content: fileContent(path, 0, size), digest };
  };
  return {
    digest,
    mediaType,
    async open(options) {
      const file = await PartialBlob.open(store.partialPath(digest));
      try {
        if (await store.hasBlob(digest)) { // Whoever had the file before has finished it.
          await file.discard();
          file[Symbol.dispose]();
          return incoming(store.blobPath(digest));
        }
        await fetchInto(file, image.openBlob, layer, options);
        return { ...incoming(file.path), file };
      } catch (error) {
        if (file.offset === 0) await file.discard();
        file[Symbol.dispose]();
        throw error;
      }
    },
  };
}

/** Brings a blob of a registry into `file`, from where an earlier attempt stopped. */
async function fetchInto(
  file: PartialBlob,
  open: RemoteImage["openBlob"],
  blob: BlobReference,
  { signal, onProgress = () => {} }: ImportOptions,
): Promise<void> {
  const { digest, size } = blob;
  const read = (options: BlobOptions) =>
    counted(open(blob, options), options.offset ?? 0, (bytes) => {
      onProgress({ step: "read", subject: digest, bytes, total: size });
    });
  await copyBlob(read, blob, file, signal);
}

/**
 * Fetches a blob of an image that was pulled once more, and puts it in place of what the
 * store has.
 *
 * @param from What the image was pulled by.
 * @throws {KurmaError} As {@linkcode pullImage}.
 */
export async function fetchAgain(
  store: Store,
  from: string,
  blob: BlobReference,
  options: PullOptions,
): Promise<void> {
  const reference = parseReference(from);
  using remote = await openRemote(options.config);
  const { digest, mediaType } = blob;
  if (reference.kind === "registry" && /\.manifest\./.test(mediaType)) {
    const { bytes } = await remote.registries.fetchDocument(reference, digest, options);
    return await store.putBlob(digest, bytes);
  }
  using file = await PartialBlob.open(store.partialPath(digest));
  if (reference.kind === "registry") {
    const open: RemoteImage["openBlob"] = (blob, options) =>
      remote.registries.openBlob(reference, blob, options);
    await fetchInto(file, open, blob, options);
  } else if (reference.kind === "http" || reference.kind === "appc") {
    const [place] = await remote.locate(reference, options);
    const sink = told(file, digest, options.onProgress ?? (() => {}));
    await download(remote.transport, { url: place.url, digest }, sink, options);
  }
  await file.sync();
  await store.commitBlob(digest, file.path);
}

async function* counted<Chunk extends Uint8Array>(
  chunks: AsyncIterable<Chunk>,
  offset: number,
  tell: (bytes: number) => void,
): AsyncGenerator<Chunk, void, void> {
  let bytes = offset;
  for await (const chunk of chunks) {
    yield chunk;
    tell(bytes += chunk.length);
  }
}

async function pullFile(
  store: Store,
  remote: Remote,
  reference: AppcReference | HttpReference,
  options: PullOptions,
  lineage: Lineage,
): Promise<PulledImage> {
  const from = formatReference(reference);
  const places = await remote.locate(reference, { signal: options.signal });
  for (const [at, place] of places.entries()) {
    try {
      return await pullFrom(store, remote, reference, place, options, lineage);
    } catch (error) {
      // Discovery names several places; an image has to be in one of them.
      const absent = error instanceof KurmaError && error.code === "missing";
      if (!absent || at === places.length - 1) throw error;
    }
  }
  throw new KurmaError("missing", `Cannot find ${quote(from)}: no place has it`);
}

async function pullFrom(
  store: Store,
  remote: Remote,
  reference: AppcReference | HttpReference,
  place: AciPlace,
  options: PullOptions,
  lineage: Lineage,
): Promise<PulledImage> {
  const from = formatReference(reference);
  const { signal, onProgress = () => {} } = options;
  // A file whose digest nobody told goes by that of its URL, and is taken up again only
  // while the server says that it is the same one.
  const key = place.digest ?? digestOf(new TextEncoder().encode(place.url));
  if (lineage.keys.has(key)) { // Its lock is ours: to wait for it would never end.
    throw new KurmaError("invalid", `Cannot pull ${quote(from)}: it depends on itself`);
  }
  using file = await PartialBlob.open(store.partialPath(key));
  let total: number | undefined;
  const sink = told(file, quote(from), (progress) => onProgress({ ...progress, total }));
  let digest: Digest;
  try {
    ({ digest } = await download(remote.transport, place, sink, {
      signal,
      validator: place.digest === undefined ? await file.validator() : undefined,
      onValidator: (validator) => file.setValidator(validator),
      onSize: (size) => void (total = size),
    }));
  } catch (error) {
    const isOfUse = place.digest !== undefined || await file.validator() !== undefined;
    if (!isOfUse || file.offset === 0) await file.discard();
    throw error;
  }
  try {
    const trust = await decideAci(remote.trust, {
      name: reference.kind === "appc" ? reference.name : nameOfUrl(reference.url),
      open: () => Promise.resolve(ReadableStream.from(copies(file.replay()))),
      signature: () => remote.fetchSignature(place, signal),
    });
    requireAccepted(trust, from);
    requireSigner(trust, from, options.reach ?? {});
    const own = { ...lineage, keys: new Set([...lineage.keys, key]) };
    const { record, names } = await importFile(store, file.path, undefined, {
      ...options,
      fetchDependency: (dependency, by) => pullDependency(store, dependency, by, options, own),
    }, quote(from));
    if (reference.kind === "appc") requireName(reference.name, names, from);
    return { record: { ...record, pulled: { from, digest, trust } }, names: [from] };
  } finally {
    await file.discard();
  }
}

/** The same chunks for a reader that keeps some of them while it asks for more. */
async function* copies(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) yield new Uint8Array(chunk);
}

/** The sink, with progress told at each write. */
function told(sink: PartialBlob, subject: string, onProgress: OnProgress) {
  return {
    get offset() {
      return sink.offset;
    },
    replay: () => sink.replay(),
    clear: () => sink.clear(),
    write: async (chunk: Uint8Array) => {
      await sink.write(chunk);
      onProgress({ step: "read", subject, bytes: sink.offset });
    },
  };
}

/** An ACI that discovery found under a name has to have that name. */
function requireName(name: string, names: readonly string[], from: string): void {
  if (names.some((own) => own === name || own.startsWith(`${name}:`))) return;
  throw new KurmaError(
    "invalid",
    `Cannot use ${quote(from)}: its manifest calls it ${quote(names[0] ?? "")}`,
    { fix: "Tell who serves it, or give the image's URL" },
  );
}
