/**
 * App Container Images, into the store.
 *
 * @module
 * @see appc spec 0.8.11, aci.md "Image Archives" and "Image ID"
 */

import { KurmaError } from "../../ffi/errors.ts";
import { parseAciManifest } from "./aci_manifest.ts";
import type { Content } from "./bytes.ts";
import { arrive, type ImportOptions } from "./layers.ts";
import type { Imported } from "./oci.ts";
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
      layers: [unpacked.digest],
      blobs: [reference],
      config: manifest.config,
    },
    names: [version === undefined ? manifest.name : `${manifest.name}:${version}`],
  };
}

function cutOff(what: string): KurmaError {
  return new KurmaError("invalid", `Cannot use ${what}: it ends too early`, {
    fix: "Fetch or save the image again",
  });
}
