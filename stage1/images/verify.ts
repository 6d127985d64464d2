/**
 * Reads the whole store again, says what is not as it was committed, and repairs what it
 * can: a blob is fetched again from where it came, a layer is unpacked again from its blob.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { fileContent, Passage } from "./bytes.ts";
import { differences } from "./compare.ts";
import { inflated } from "./compression.ts";
import type { OnProgress } from "./image.ts";
import { openStore, type StoreOptions } from "./manage.ts";
import { metered } from "./progress.ts";
import { render } from "./render.ts";
import type { Digest } from "./sources/digest.ts";
import { type BlobReference, type ImageRecord, keptLayers, type Store } from "./store.ts";
import { unpack, type Unpacked } from "./unpack.ts";

/** Something that is not as it was committed. */
export interface Damage {
  /** The id of the image it belongs to. */
  readonly image: string;
  /** The blob or layer. */
  readonly digest: string;
  /** A file of the unpacked layer, without `/` in front. */
  readonly path?: string;
  /** What is wrong with it. */
  readonly problem: string;
  /** What was done, if it is as it should be again. */
  readonly repaired?: string;
  /** What to do, if it is not. */
  readonly fix?: string;
}

export interface VerifyOptions extends StoreOptions {
  /** Only say what is damaged. Default false. */
  readonly checkOnly?: boolean;
  /** The folder of `hosts.yaml`, `policy.yaml` and `auth.json`; without it nothing is fetched. */
  readonly config?: string;
  readonly onProgress?: OnProgress;
  /** A reason to stop. */
  readonly signal?: AbortSignal;
}

/**
 * Checks every image: its config, manifest and layers as they came, by digest, and each
 * layer's files against what the layer unpacks to now; that takes room for one layer.
 *
 * @returns What was damaged, whether it is repaired or not; nothing if all is well.
 * @throws {KurmaError} `kernel`: for example `ENOSPC`. Nothing is worse than before.
 */
export async function verifyImages(options: VerifyOptions = {}): Promise<Damage[]> {
  using store = openStore(options);
  const records = store.images().map(({ record }) => record);
  const verification = new Verification(store, records, metered(options));
  {
    using _lock = await store.removalLock(false);
    await verification.checkBlobs();
    await verification.checkLayers();
  }
  if (!options.checkOnly && verification.hasBadLayers) {
    // Alone: nobody starts a container on a layer, or removes it, while it is replaced.
    using _lock = await store.removalLock(true);
    await verification.repairLayers();
  }
  return verification.damages();
}

/** What is known of a blob or layer that is not as it should be. */
interface Finding {
  readonly problems: { readonly path?: string; readonly problem: string }[];
  repaired?: string;
  fix?: string;
}

/** Differences of one layer that are worth a line each. */
const maxDifferences = 20;

class Verification {
  readonly #blobs = new Map<Digest, Finding | undefined>();
  readonly #layers = new Map<Digest, Finding | undefined>();

  constructor(
    readonly store: Store,
    readonly records: readonly ImageRecord[],
    readonly options: VerifyOptions,
  ) {}

  get hasBadLayers(): boolean {
    return this.#layers.values().some((finding) => finding !== undefined);
  }

  damages(): Damage[] {
    return this.records.flatMap((record) => {
      const found = (digests: readonly Digest[], findings: Map<Digest, Finding | undefined>) =>
        digests.flatMap((digest): Damage[] => {
          const finding = findings.get(digest);
          if (finding === undefined) return [];
          const { problems, repaired, fix } = finding;
          const outcome = repaired === undefined ? { fix } : { repaired };
          return problems.map((one) => ({ image: record.id, digest, ...one, ...outcome }));
        });
      const blobs = [...new Set(blobsOf(record).map(({ digest }) => digest))];
      return [...found(blobs, this.#blobs), ...found(keptLayers(record), this.#layers)];
    });
  }

  async checkBlobs(): Promise<void> {
    for (const record of this.records) {
      for (const blob of blobsOf(record)) {
        if (this.#blobs.has(blob.digest)) continue;
        const problem = await this.#blobProblem(blob);
        this.#blobs.set(
          blob.digest,
          problem === undefined ? undefined : { problems: [{ problem }] },
        );
      }
    }
    if (this.options.checkOnly) return;
    for (const [digest, finding] of this.#blobs) {
      if (finding !== undefined) Object.assign(finding, await this.#fetchAgain(digest));
    }
  }

  async #blobProblem({ digest, size }: BlobReference): Promise<string | undefined> {
    const { onProgress = () => {}, signal } = this.options;
    const content = fileContent(this.store.blobPath(digest), 0, size);
    const expected = { what: digest, digest, size };
    const passage = new Passage(content.chunks(), expected, (_, bytes) => {
      signal?.throwIfAborted();
      onProgress({ step: "read", subject: digest, bytes, total: size });
    });
    try {
      await passage.finish();
      onProgress({ step: "verified", subject: digest, bytes: size });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "its file is missing";
      if (error instanceof KurmaError) return error.message;
      throw error;
    }
  }

  /** Tries every image that has the blob. */
  async #fetchAgain(digest: Digest): Promise<Pick<Finding, "repaired" | "fix">> {
    const { config } = this.options;
    let fix = 'Import it again from its file with "kurma image import", then verify again';
    for (const record of this.records) {
      const blob = blobsOf(record).find((blob) => blob.digest === digest);
      if (blob === undefined) continue;
      if (record.format === "hello") fix = 'Run "kurma image rm hello"; "kurma run hello" makes it';
      const from = record.pulled?.from;
      if (from === undefined) continue;
      fix = `Pull it again: "kurma image pull ${from}"; then verify again`;
      if (config === undefined) continue;
      const { fetchAgain } = await import("./pull.ts");
      try {
        await fetchAgain(this.store, from, blob, { ...this.options, config });
        return { repaired: `fetched again from ${from}` };
      } catch (error) {
        if (!(error instanceof KurmaError)) throw error;
        fix = `It cannot be fetched again now: ${error.message}. ${fix}`;
      }
    }
    // What nobody has any more: an import or a pull puts it there again.
    await Deno.remove(this.store.blobPath(digest)).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    return { fix };
  }

  async checkLayers(): Promise<void> {
    for (const record of this.records) {
      // Those it is made from stand before a rendered layer.
      for (const layer of keptLayers(record).toReversed()) {
        if (this.#layers.has(layer)) continue;
        this.#layers.set(layer, await this.#layerFinding(layer));
      }
    }
  }

  async #layerFinding(layer: Digest): Promise<Finding | undefined> {
    this.options.signal?.throwIfAborted();
    const whole = (problem: string): Finding => ({ problems: [{ problem }] });
    const { store } = this;
    if (store.layerBlob(layer) === undefined) return whole("the store does not know the layer");
    const path = `${store.layerPath(layer)}/rootfs`;
    if (!await isFolder(path)) return whole("its unpacked folder is missing");
    const isMadeOf = (one: Digest) =>
      this.records.some(({ layers, rendered }) =>
        layers[0] === layer && rendered?.from.includes(one)
      );
    if (this.#layers.entries().some(([one, finding]) => finding && isMadeOf(one))) {
      return whole("a layer that it is made from is damaged");
    }
    await using workspace = await store.workspace();
    const fresh = await this.#make(layer, `${workspace.path}/layer`);
    if (fresh === undefined) return undefined; // Its blob is what is said to be damaged.
    const found = await differences(`${workspace.path}/layer/rootfs`, path, maxDifferences);
    return found.length === 0 ? undefined : { problems: found };
  }

  /** Makes the layer anew in the folder `dir`; undefined if its blob is damaged. */
  async #make(layer: Digest, dir: string): Promise<MadeLayer | undefined> {
    const user = this.records.find(({ layers, rendered }) => rendered && layers[0] === layer);
    if (user?.rendered !== undefined) {
      await Deno.mkdir(dir, { mode: 0o700 });
      const entries = await render(this.store, user.rendered, `${dir}/rootfs`);
      return { bytes: 0, entries, blob: user.blobs[0] };
    }
    const blob = this.#goodBlob(layer);
    if (blob === undefined) return undefined;
    await Deno.mkdir(dir, { mode: 0o700 });
    const what = `layer ${layer}`;
    const { chunks } = fileContent(this.store.blobPath(blob.digest), 0, blob.size);
    const format = layer.startsWith("sha512:") ? "aci" : "oci";
    const unpacked: Unpacked = await unpack(inflated(chunks(), what), dir, what, format);
    if (unpacked.digest === layer) return { ...unpacked, blob };
    throw new KurmaError("invalid", `Cannot verify ${what}: its blob unpacks to another one`, {
      fix: "Remove its images and bring them in again",
    });
  }

  /** The layer as it came, in one of the ways that are not damaged. */
  #goodBlob(layer: Digest): BlobReference | undefined {
    const inImages = this.records.map(({ format, layers, rendered, blobs }) =>
      // An ACI's own layer lies on those of its dependencies.
      format !== "aci"
        ? blobs[layers.indexOf(layer)]
        : (rendered?.from ?? layers).at(-1) === layer
        ? blobs[0]
        : undefined
    );
    return [this.store.layerBlob(layer), ...inImages].find((blob) => {
      if (blob === undefined) return false;
      const finding = this.#blobs.get(blob.digest);
      return this.#blobs.has(blob.digest) &&
        (finding === undefined || finding.repaired !== undefined);
    });
  }

  /** Replaces bad layers by what their blobs unpack to. The caller holds the removal lock for itself. */
  async repairLayers(): Promise<void> {
    // Others had the store meanwhile: what they removed stays away.
    const kept = new Set(this.store.images().flatMap(({ record }) => keptLayers(record)));
    for (const [layer, finding] of this.#layers) {
      if (finding === undefined || !kept.has(layer)) continue;
      const users = this.records.filter((record) => keptLayers(record).includes(layer));
      const held = await Promise.all(users.map(({ id }) => this.store.isHeld(id)));
      if (held.includes(true)) {
        finding.fix = "Stop the containers that use it, then verify again";
        continue;
      }
      await using workspace = await this.store.workspace();
      const path = `${workspace.path}/layer`;
      const made = await this.#make(layer, path);
      if (made === undefined) {
        finding.fix = "Bring its blob back first, as is said there";
        continue;
      }
      await this.store.commitLayer(layer, path, made);
      finding.repaired = "made again from its blob";
    }
  }
}

/** What the store is told of a layer. */
type MadeLayer = Parameters<Store["commitLayer"]>[2];

function blobsOf({ blobs, configBlob, manifestBlob }: ImageRecord): BlobReference[] {
  return [...blobs, configBlob, manifestBlob].filter((blob) => blob !== undefined);
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isDirectory;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
