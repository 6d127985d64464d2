/**
 * App Container Images, into the store.
 *
 * @module
 * @see appc spec 0.8.11, aci.md "Image Archives" and "Image ID"
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type AciManifest, parseAciManifest } from "./aci_manifest.ts";
import type { Content } from "./bytes.ts";
import { nameIn } from "./find.ts";
import { arrive, type ImportOptions } from "./layers.ts";
import type { Imported } from "./oci.ts";
import { type Digest, quote } from "./sources/digest.ts";
import type { Store } from "./store.ts";

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
  if (manifest.pathWhitelist.length > 0) {
    throw new KurmaError("invalid", `Cannot use ${what}: it has a pathWhitelist`, {
      fix: "Build it without one: Kurma shows an image's files whole",
    });
  }
  const below = dependencyLayers(store, manifest, what);
  const reference = { ...blob, mediaType };
  {
    using _lock = await store.lock(unpacked.digest);
    if (store.layerBlob(unpacked.digest) === undefined) {
      await store.commitBlob(blob.digest, blobPath);
      await store.commitLayer(unpacked.digest, path, { ...unpacked, blob: reference });
    }
  }
  const { version } = manifest.labels;
  return {
    record: {
      id: unpacked.digest.replace(":", "-"),
      format: "aci",
      layers: [...below, unpacked.digest],
      blobs: [reference],
      config: manifest.config,
    },
    names: [version === undefined ? manifest.name : `${manifest.name}:${version}`],
  };
}

/**
 * The layers of all that an ACI depends on, bottom first: depth first in the order in
 * which they are listed, each once, where it stands highest.
 *
 * @throws {KurmaError} `missing`: one is not in the store.
 */
function dependencyLayers(store: Store, { dependencies }: AciManifest, what: string): Digest[] {
  const topFirst = dependencies.flatMap(({ name, imageId, labels }) => {
    const called = `${name}:${labels.version ?? "latest"}`;
    const id = imageId ?? store.imageOfName(nameIn(called) ?? called);
    const found = id === undefined ? undefined : store.image(id);
    if (found !== undefined) return found.layers.toReversed();
    throw new KurmaError(
      "missing",
      `Cannot use ${what}: it depends on ${quote(imageId ?? called)}`,
      {
        fix: "Pull or import that image first",
      },
    );
  });
  return [...new Set(topFirst)].reverse();
}

function cutOff(what: string): KurmaError {
  return new KurmaError("invalid", `Cannot use ${what}: it ends too early`, {
    fix: "Fetch or save the image again",
  });
}
