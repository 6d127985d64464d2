/**
 * Images of the store, into registries.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { checkedBlob, manifestOf } from "./export.ts";
import { requireStored, storedNameIn } from "./find.ts";
import { openStore } from "./manage.ts";
import { metered } from "./progress.ts";
import type { PullOptions } from "./pull.ts";
import { type Digest, quote } from "./sources/digest.ts";
import { push } from "./sources/push.ts";
import { parseReference, type RegistryReference } from "./sources/reference.ts";
import { openRemote } from "./sources/remote.ts";

/**
 * Pushes an image of the store: its manifest, config and layers as they came.
 *
 * @param text A name, an id, or the first digits of one.
 * @param target A registry's reference. Default: `text`, if it is a name.
 * @returns The digest that the reference names now.
 * @throws {KurmaError} `missing`: no such image; `invalid`: an ACI, or no place to push to;
 *   `denied`, `unavailable`.
 */
export async function pushImage(
  text: string,
  target: string | undefined,
  options: PullOptions,
): Promise<Digest> {
  const { signal, onProgress = () => {} } = metered(options);
  using store = openStore(options);
  using _lock = await store.removalLock(false);
  const { record, names } = requireStored(store, text);
  const reference = targetOf(target ?? names.find((name) => name === storedNameIn(text)), text);
  const manifest = await manifestOf(store, record);
  if (record.configBlob === undefined || manifest === undefined) {
    throw new KurmaError("invalid", `Cannot push ${quote(text)}: registries take no ACIs`, {
      fix: 'Write the file out with "kurma image export", and serve it',
    });
  }
  using remote = await openRemote(options.config);
  return await push(remote.registries, reference, {
    documents: [manifest],
    blobs: [record.configBlob, ...record.blobs],
    async *open(blob) {
      let bytes = 0;
      for await (const chunk of checkedBlob(store, blob).chunks()) {
        yield new Uint8Array(chunk); // Who sends it may still do so when it asks for the next.
        bytes += chunk.length;
        onProgress({ step: "read", subject: blob.digest, bytes, total: blob.size });
      }
    },
  }, {
    mountFrom: names.flatMap((name) => siblingOf(name, reference)),
    signal,
    onBlob: ({ digest, size }, how) => {
      const step = how === "uploaded" ? how : "present";
      onProgress({ step, subject: digest, bytes: size });
    },
  });
}

function targetOf(target: string | undefined, text: string): RegistryReference {
  if (target === undefined) {
    throw new KurmaError("invalid", `Cannot push ${quote(text)}: it does not say where to`, {
      fix: "Add a REFERENCE, for example registry.example.com/team/app:1.2",
    });
  }
  const reference = parseReference(target);
  if (reference.kind === "registry") return reference;
  throw new KurmaError("invalid", `Cannot push to ${quote(target)}: it is in no registry`, {
    fix: "Write HOST/NAME:TAG, for example registry.example.com/team/app:1.2",
  });
}

/** The repository of `name`, if it is another one of the same registry: blobs may be there. */
function siblingOf(name: string, { registry, repository }: RegistryReference): string[] {
  const other = name === "hello" ? undefined : parseReference(name);
  return other?.kind === "registry" && other.registry === registry &&
      other.repository !== repository
    ? [other.repository]
    : [];
}
