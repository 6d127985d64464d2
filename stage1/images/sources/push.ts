/**
 * Brings an image into a registry: first its blobs, then its manifests, last the one
 * that the reference names, so that nobody sees a name whose content is not there yet.
 *
 * @module
 * @see distribution-spec 1.1, "Push"
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { inParallel } from "./blob.ts";
import { type Digest, digestOf, quote } from "./digest.ts";
import type { Descriptor } from "./documents.ts";
import type { RegistryReference } from "./reference.ts";
import { type Endpoint, type RegistryClient, repositoryOf } from "./registry.ts";
import { PeerError, retrying, sleep } from "./timing.ts";
import type { Answer, Ask } from "./transport.ts";

/** An image to bring into a registry. */
export interface LocalImage {
  /** Manifests, then the index if there is one; the reference comes to name the last. */
  readonly documents: readonly { readonly bytes: Uint8Array; readonly mediaType: string }[];
  /** Configurations and layers of all manifests. */
  readonly blobs: readonly Descriptor[];
  /** The blob's bytes. */
  open(descriptor: Descriptor): AsyncIterable<Uint8Array>;
}

export interface PushOptions {
  /** Repositories of the same registry that may have the blobs already. */
  readonly mountFrom?: readonly string[];
  /** Blobs at once; 3 by default. */
  readonly parallel?: number;
  readonly signal?: AbortSignal;
  /** Called when a blob is there: how it got there. */
  readonly onBlob?: (descriptor: Descriptor, how: Outcome) => void;
}

/** How a blob came to be in the repository. */
export type Outcome = "present" | "mounted" | "uploaded";

/** A larger blob goes in parts of this size, so that a broken connection costs one part. */
export const chunkBytes = 8 * 1024 * 1024;
/** No registry may ask for larger parts: they are held in memory. */
const maxChunkBytes = 64 * 1024 * 1024;

/**
 * Pushes `image` as `reference`.
 *
 * @returns The digest that the reference names now.
 * @throws {KurmaError} `denied`, `unavailable`, or `invalid`; the name is unchanged.
 */
export async function push(
  client: RegistryClient,
  reference: RegistryReference,
  image: LocalImage,
  { mountFrom = [], parallel = 3, signal, onBlob = () => {} }: PushOptions = {},
): Promise<Digest> {
  const endpoint = client.endpoints(reference).at(-1)!;
  const unique = [...new Map(image.blobs.map((blob) => [blob.digest, blob])).values()];
  await inParallel(unique, parallel, async (blob, signal) => {
    const upload = new Upload(client, endpoint, repositoryOf(reference), blob, signal);
    onBlob(blob, await upload.run(() => image.open(blob), mountFrom));
  }, signal);

  const digests = image.documents.map(({ bytes }) => digestOf(bytes));
  const last = digests.at(-1);
  if (last === undefined) {
    throw new KurmaError("invalid", "Cannot push an image without a manifest");
  }
  if (reference.digest !== undefined && reference.digest !== last) {
    throw new KurmaError(
      "invalid",
      `Cannot push ${last} as ${reference.digest}: the digests differ`,
      { fix: "Name a tag, or nothing, instead of the digest" },
    );
  }
  for (const [at, { bytes, mediaType }] of image.documents.entries()) {
    const name = at === digests.length - 1 ? reference.tag ?? digests[at] : digests[at];
    await retrying(client.timing, signal, async () => {
      await using _answer = await client.request(endpoint, "pull,push", {
        task: `push manifest ${quote(name)} of ${quote(repositoryOf(reference))}`,
        method: "PUT",
        url: new URL(`${endpoint.base}/v2/${endpoint.repository}/manifests/${name}`),
        headers: { "content-type": mediaType },
        body: Uint8Array.from(bytes),
        deadlineMs: client.timing.documentMs,
        signal,
      }, [201]);
    });
  }
  return last;
}

/** One blob on its way into one repository. */
class Upload {
  readonly #client: RegistryClient;
  readonly #endpoint: Endpoint;
  readonly #blob: Descriptor;
  readonly #signal: AbortSignal;
  readonly #task: string;
  readonly #base: string;

  constructor(
    client: RegistryClient,
    endpoint: Endpoint,
    repository: string,
    blob: Descriptor,
    signal: AbortSignal,
  ) {
    this.#client = client;
    this.#endpoint = endpoint;
    this.#blob = blob;
    this.#signal = signal;
    this.#task = `push ${blob.digest} to ${quote(repository)}`;
    this.#base = `${endpoint.base}/v2/${endpoint.repository}/blobs`;
  }

  async run(
    open: () => AsyncIterable<Uint8Array>,
    mountFrom: readonly string[],
  ): Promise<Outcome> {
    const { digest, size } = this.#blob;
    if (await this.#isThere()) return "present";

    let begun: { status: number; headers: Headers; url: URL } | undefined;
    for (const from of mountFrom.slice(0, 1)) { // The registry has one try to know it.
      const url = new URL(`${this.#base}/uploads/`);
      url.search = new URLSearchParams({ mount: digest, from }).toString();
      begun = await this.#ask({ method: "POST", url }, [201, 202], from);
      if (begun.status === 201) return "mounted";
    }
    begun ??= await this.#ask(
      { method: "POST", url: new URL(`${this.#base}/uploads/`) },
      [202],
    );
    let location = this.#location(begun);
    const asked = Number(begun.headers.get("oci-chunk-min-length") ?? 0);
    if (!(asked <= maxChunkBytes)) {
      throw new KurmaError(
        "invalid",
        `Cannot ${this.#task}: the registry wants parts of ${asked} bytes`,
      );
    }
    const limit = Math.max(chunkBytes, asked);
    let position = 0;
    for await (const part of inParts(open(), limit)) {
      if (position === 0 && part.length === size) {
        await this.#finish(location, part);
        return "uploaded";
      }
      location = await this.#part(location, part, position);
      position += part.length;
    }
    if (position !== size) {
      throw new KurmaError(
        "invalid",
        `Cannot ${this.#task}: it has ${position} bytes here, not ${size}`,
      );
    }
    await this.#finish(location, new Uint8Array());
    return "uploaded";
  }

  /** Sends one part; where the connection breaks, the registry says how much it has. */
  async #part(location: URL, part: Uint8Array<ArrayBuffer>, start: number): Promise<URL> {
    const end = start + part.length;
    let from = start;
    for (let failures = 0; from < end;) {
      try {
        const answer = await this.#once({
          method: "PATCH",
          url: location,
          headers: {
            "content-type": "application/octet-stream",
            "content-range": `${from}-${end - 1}`,
          },
          body: part.subarray(from - start),
        }, [202]);
        return this.#location(answer);
      } catch (error) {
        const { attempts, backoffMs } = this.#client.timing;
        if (!(error instanceof PeerError && error.transient) || ++failures >= attempts) throw error;
        await sleep(error.retryAfterMs ?? backoffMs * 2 ** failures, this.#signal);
        const state = await this.#ask({ url: location }, [204]);
        const held = /^(?:bytes=)?0-([0-9]+)$/.exec(state.headers.get("range") ?? "");
        from = held ? Number(held[1]) + 1 : start;
        if (from < start || from > end) throw error; // It lost a part that it had.
        location = this.#location(state);
      }
    }
    return location;
  }

  async #finish(location: URL, body: Uint8Array<ArrayBuffer>): Promise<void> {
    const url = new URL(location);
    url.searchParams.set("digest", this.#blob.digest);
    const headers = { "content-type": "application/octet-stream" };
    try {
      await this.#ask({ method: "PUT", url, headers, body }, [201]);
    } catch (error) {
      // Where the answer to a first try was lost, the upload is gone because it is done.
      if (!(error instanceof KurmaError && error.code === "missing")) throw error;
      if (!await this.#isThere()) throw error;
    }
  }

  async #isThere(): Promise<boolean> {
    const url = new URL(`${this.#base}/${this.#blob.digest}`);
    return (await this.#ask({ method: "HEAD", url }, [200, 404])).status === 200;
  }

  #location({ headers, url }: { headers: Headers; url: URL }): URL {
    const location = URL.parse(headers.get("location") ?? "", url);
    if (location && headers.has("location")) return location;
    throw new KurmaError("invalid", `Cannot ${this.#task}: the registry does not say where to`);
  }

  #ask(ask: Omit<Ask, "task">, good: number[], from?: string): Promise<Answered> {
    return retrying(this.#client.timing, this.#signal, () => this.#once(ask, good, from));
  }

  async #once(ask: Omit<Ask, "task">, good: number[], from?: string): Promise<Answered> {
    const whole = { task: this.#task, signal: this.#signal, ...ask };
    await using answer = await this.#client.request(this.#endpoint, "pull,push", whole, good, from);
    const { status, headers, url } = answer;
    return { status, headers, url };
  }
}

type Answered = Pick<Answer, "status" | "headers" | "url">;

/** The same bytes in parts of `limit` bytes, the last one shorter. */
async function* inParts(
  chunks: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  let part = new Uint8Array(limit);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length;) {
      const piece = chunk.subarray(at, at + limit - filled);
      part.set(piece, filled);
      filled += piece.length;
      at += piece.length;
      if (filled < limit) continue;
      yield part;
      part = new Uint8Array(limit);
      filled = 0;
    }
  }
  if (filled > 0) yield part.subarray(0, filled);
}
