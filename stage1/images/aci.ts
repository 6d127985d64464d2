/**
 * App Container Images, into the store.
 *
 * @module
 * @see appc spec 0.8.11, aci.md "Image Archives" and "Image ID"
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type AciDependency, type AciManifest, parseAciManifest } from "./aci_manifest.ts";
import type { Content } from "./bytes.ts";
import { nameIn } from "./find.ts";
import { arrive, type ImportOptions } from "./layers.ts";
import type { Imported } from "./oci.ts";
import { renderLayer } from "./render.ts";
import { type Digest, quote } from "./sources/digest.ts";
import { formatReference, parseReference } from "./sources/reference.ts";
import type { ImageRecord, Store } from "./store.ts";

/** Nothing registered names an ACI; this is what servers send. */
const mediaType = "application/vnd.appc.aci";

/**
 * Brings an ACI into the store. Its layer and the image itself have one identity, the
 * sha512 of the uncompressed tar, which is known when all of it has been read.
 *
 * @param what Names it in messages, with quotes.
 * @throws {KurmaError} `invalid`, or what unpacking it met.
 */
export async function importAci(
  store: Store,
  content: Content,
  what: string,
  options: ImportOptions,
): Promise<Imported> {
  await using workspace = await store.workspace();
  const { unpacked, blob, path, blobPath } = await arrive(
    workspace,
    { what, format: "aci", content },
    options,
  );
  if (!unpacked.complete) throw cutOff(what);
  const bytes = await Deno.readFile(`${path}/manifest`);
  if (bytes.length === 0) {
    throw new KurmaError("invalid", `Cannot use ${what}: it has no manifest`, {
      fix: "Build it with an appc tool, for example `actool build`",
    });
  }
  const manifest = parseAciManifest(bytes, `manifest of ${what}`);
  const below = await dependencyLayers(store, manifest, what, options);
  const reference = { ...blob, mediaType };
  {
    using _lock = await store.lock(unpacked.digest);
    // The same ACI, compressed in another way: an export gives back those bytes.
    if (!await store.hasBlob(blob.digest)) await store.commitBlob(blob.digest, blobPath);
    if (store.layerBlob(unpacked.digest) === undefined) {
      await store.commitLayer(unpacked.digest, path, { ...unpacked, blob: reference });
    }
  }
  const layers = [...below.filter((layer) => layer !== unpacked.digest), unpacked.digest];
  const whole: ImageRecord = {
    id: unpacked.digest.replace(":", "-"),
    format: "aci",
    layers,
    blobs: [reference],
    config: manifest.config,
  };
  const { version } = manifest.labels;
  const names = [version === undefined ? manifest.name : `${manifest.name}:${version}`];
  if (manifest.pathWhitelist.length === 0) return { record: whole, names };
  const rendered = { from: layers, paths: manifest.pathWhitelist };
  const layer = await renderLayer(store, rendered, reference);
  return { record: { ...whole, layers: [layer], rendered }, names };
}

/**
 * The layers of all that an ACI depends on, bottom first. Each dependency lies on those
 * listed before it; a layer that several need is there once, where it stands highest.
 *
 * @throws {KurmaError} `missing`: one is not in the store, and nothing fetches it.
 */
async function dependencyLayers(
  store: Store,
  manifest: AciManifest,
  what: string,
  { fetchDependency }: ImportOptions,
): Promise<Digest[]> {
  const topFirst: Digest[] = [];
  for (const dependency of manifest.dependencies.toReversed()) {
    const found = findDependency(store, dependency) ??
      await fetchDependency?.(dependency, manifest);
    if (found === undefined) throw absent(dependency, what);
    topFirst.push(...found.layers.toReversed());
  }
  return [...new Set(topFirst)].reverse();
}

/**
 * The image of the store that a dependency means: by its id, or one of that name with all
 * its labels, the newest if there are several.
 *
 * @see appc spec 0.8.11, aci.md "Dependency Matching"
 */
function findDependency(store: Store, dependency: AciDependency): ImageRecord | undefined {
  if (dependency.imageId !== undefined) return store.image(dependency.imageId);
  const candidates = store.images()
    .filter(({ record, names }) =>
      record.format === "aci" && names.some((name) => isCalled(name, dependency.name)) &&
      hasLabels(record.config.labels, dependency)
    )
    .sort((a, b) => b.created.getTime() - a.created.getTime());
  return candidates[0]?.record;
}

/** Whether the name of an image in the store says that it is the ACI `wanted`. */
function isCalled(name: string, wanted: string): boolean {
  if (name === "hello") return false;
  const reference = parseReference(name);
  if (reference.kind === "appc") return reference.name === wanted;
  if (reference.kind !== "registry") return false;
  const { registry, repository } = reference;
  return nameIn(wanted) ===
    formatReference({ kind: "registry", registry, repository, tag: "latest" });
}

/** Whether an image with `labels` is what a dependency asks for. */
export function hasLabels(
  labels: Readonly<Record<string, string>>,
  wanted: AciDependency,
): boolean {
  return Object.entries(wanted.labels).every(([name, value]) => labels[name] === value);
}

function absent({ name, imageId, labels }: AciDependency, what: string): KurmaError {
  const reference = formatReference({ kind: "appc", name, labels });
  const called = `${name}${labels.version === undefined ? "" : `:${labels.version}`}`;
  return new KurmaError(
    "missing",
    `Cannot use ${what}: it depends on ${quote(imageId ?? called)}`,
    { fix: `Bring that image in first: "kurma image pull ${reference}", or import its file` },
  );
}

function cutOff(what: string): KurmaError {
  return new KurmaError("invalid", `Cannot use ${what}: it ends too early`, {
    fix: "Fetch or save the image again",
  });
}
