/**
 * A client of registries: what a reference names, and the bytes behind it, verified.
 * Nothing is written to disk here.
 *
 * @module
 * @see distribution-spec 1.1
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { type Access, Authorizer } from "./auth.ts";
import { type BlobOptions, DigestError, readBlob } from "./blob.ts";
import { anonymous, type Credentials } from "./credentials.ts";
import { type Digest, digestOf, isDigest, quote } from "./digest.ts";
import {
  type Descriptor,
  documentLimits,
  type Index,
  type Manifest,
  mediaTypes,
  parseDocument,
  requireImage,
} from "./documents.ts";
import type { Hosts } from "./hosts.ts";
import { optionalText, parseJsonObject } from "./json.ts";
import { formatPlatform, hostPlatform, type Platform, runsOn, selectPlatform } from "./platform.ts";
import { formatReference, type RegistryReference } from "./reference.ts";
import type { Reach } from "./reach.ts";
import { retrying, type Timing } from "./timing.ts";
import { type Answer, type Ask, complaint, Transport } from "./transport.ts";

/** A manifest or an index as it came, and as it reads. */
export interface Document<Parsed = Manifest | Index> {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly parsed: Parsed;
}

/** An image in a registry, resolved for one platform; its layers are not fetched yet. */
export interface RemoteImage {
  readonly reference: RegistryReference;
  /** Of what the reference names: the index if there is one, else the manifest. */
  readonly digest: Digest;
  readonly index?: Document<Index>;
  readonly manifest: Document<Manifest>;
  /** The bytes of the image's configuration. */
  readonly config: Uint8Array<ArrayBuffer>;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
  /** Streams a layer; see {@linkcode readBlob}. */
  openBlob(
    descriptor: Descriptor,
    options?: BlobOptions,
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>;
}

/** One place that serves a repository: the registry, or a mirror of it. */
export interface Endpoint {
  /** `https://host[:port]` */
  readonly base: string;
  /** The name whose credentials count there. */
  readonly registry: string;
  readonly repository: string;
  readonly isMirror: boolean;
}

export interface RegistryOptions {
  readonly hosts: Hosts;
  readonly credentials?: Credentials;
  readonly timing?: Partial<Timing>;
  /** Whom it may ask, if not anybody. */
  readonly reach?: Reach;
}

/** No configuration of an image is larger. */
export const maxConfigBytes = 8 * 1024 * 1024;

const accept = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerIndex,
  mediaTypes.dockerManifest,
].join(", ");
/** Indexes may name indexes; so many times. */
const maxIndexDepth = 3;

/** Talks to registries; keeps connections and tokens until disposed of. */
export class RegistryClient implements Disposable {
  /** Its connections, for downloads beside the registry. */
  readonly transport: Transport;
  readonly #authorizer: Authorizer;

  constructor({ hosts, credentials = anonymous, timing, reach }: RegistryOptions) {
    this.transport = new Transport(hosts, timing, reach);
    this.#authorizer = new Authorizer(this.transport, credentials);
  }

  get timing(): Timing {
    return this.transport.timing;
  }

  [Symbol.dispose](): void {
    this.transport[Symbol.dispose]();
  }

  /**
   * Finds out what `reference` names, and fetches all but the layers.
   *
   * @param options.platform What an index is searched for; this machine by default.
   * @throws {KurmaError} `missing`, `denied`, `unavailable`, or `invalid` for what lies.
   */
  async resolve(
    reference: RegistryReference,
    { platform = hostPlatform(), signal }: { platform?: Platform; signal?: AbortSignal } = {},
  ): Promise<RemoteImage> {
    const what = quote(formatReference(reference));
    const top = await this.#named(reference, signal);
    let document = top.pinned ?? top.document;
    for (let depth = 0; document.parsed.kind === "index"; depth++) {
      if (depth >= maxIndexDepth) {
        throw new KurmaError("invalid", `Cannot use ${what}: its index has no end`);
      }
      const entry = selectPlatform(document.parsed.manifests, platform, what);
      document = await this.fetchDocument(reference, entry.digest, { expected: entry, signal });
    }
    const manifest = document as Document<Manifest>;
    requireImage(manifest.parsed, what);
    const openBlob: RemoteImage["openBlob"] = (descriptor, options) =>
      this.openBlob(reference, descriptor, options);
    const config = await this.fetchBlob(reference, manifest.parsed.config, maxConfigBytes, signal);
    checkConfig(config, top.pinned ? undefined : platform, what);
    return {
      reference,
      digest: top.document.digest,
      ...(top.document.parsed.kind === "index" ? { index: top.document as Document<Index> } : {}),
      manifest,
      config,
      layers: manifest.parsed.layers,
      openBlob,
    };
  }

  /**
   * Fetches a manifest or an index by tag or digest, and verifies a digest.
   *
   * @param options.expected The descriptor that led there.
   */
  async fetchDocument(
    reference: RegistryReference,
    name: string,
    { expected, signal }: { expected?: Descriptor; signal?: AbortSignal } = {},
  ): Promise<Document> {
    const what = `manifest ${quote(name)} of ${quote(repositoryOf(reference))}`;
    const limit = documentLimits.bytes;
    if (expected && expected.size > limit) {
      throw new KurmaError("invalid", `Cannot fetch ${what}: it is larger than ${limit} bytes`);
    }
    return await this.#anywhere(reference, signal, async (endpoint, attempts) => {
      const { bytes, headers } = await this.#document(endpoint, attempts, {
        task: `fetch ${what}`,
        url: new URL(`${endpoint.base}/v2/${endpoint.repository}/manifests/${name}`),
        headers: { accept },
        signal,
      }, limit);
      const wanted = expected?.digest ?? (isDigest(name) ? name : undefined);
      const digest = digestOf(bytes, wanted);
      if (wanted !== undefined && digest !== wanted) {
        throw new DigestError(`fetch ${what}`, wanted, digest);
      }
      if (expected && bytes.length !== expected.size) {
        throw new KurmaError(
          "invalid",
          `Cannot fetch ${what}: it has ${bytes.length} bytes, not ${expected.size}`,
        );
      }
      const announced = headers.get("docker-content-digest");
      if (isDigest(announced) && digestOf(bytes, announced) !== announced) {
        throw new DigestError(`fetch ${what}`, announced, digestOf(bytes, announced));
      }
      const stated = headers.get("content-type")?.split(";")[0].trim().toLowerCase();
      const served = stated?.startsWith("application/vnd.") ? stated : undefined;
      const parsed = parseDocument(bytes, what, expected?.mediaType ?? served);
      if (served !== undefined && served !== parsed.mediaType) {
        throw new KurmaError(
          "invalid",
          `Cannot read ${what}: it says ${quote(parsed.mediaType)}, but comes as ${quote(served)}`,
        );
      }
      return { bytes, digest, mediaType: parsed.mediaType, parsed };
    });
  }

  /** Fetches a small blob as a whole, verified. */
  async fetchBlob(
    reference: RegistryReference,
    descriptor: Descriptor,
    limit: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    if (descriptor.size > limit) {
      throw new KurmaError(
        "invalid",
        `Cannot fetch ${descriptor.digest} of ${quote(repositoryOf(reference))}: ` +
          `it has ${descriptor.size} bytes, the limit is ${limit}`,
      );
    }
    const whole = new Uint8Array(descriptor.size);
    let at = 0;
    for await (const chunk of this.openBlob(reference, descriptor, { signal })) {
      whole.set(chunk, at);
      at += chunk.length;
    }
    return whole;
  }

  /** Streams a blob, verified; goes on at the next endpoint where one fails. */
  openBlob(
    reference: RegistryReference,
    descriptor: Descriptor,
    options: BlobOptions = {},
  ): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
    const { digest } = descriptor;
    const task = `fetch ${digest} of ${quote(repositoryOf(reference))}`;
    const { signal, direct } = options;
    const open = (offset: number, failures: number) =>
      this.#anywhere(reference, signal, (endpoint) =>
        this.request(endpoint, "pull", {
          task,
          url: new URL(`${endpoint.base}/v2/${endpoint.repository}/blobs/${digest}`),
          headers: offset > 0 ? { range: `bytes=${offset}-` } : {},
          signal,
        }, [200, 206]), direct || failures > 0);
    return readBlob(open, descriptor, task, this.timing, options);
  }

  /**
   * Sends one request of the distribution API, and once more with what a 401 asks for.
   *
   * @param actions `pull` or `pull,push`.
   * @param good The statuses that the caller deals with; others become errors.
   * @param from A repository to mount from, which needs access as well.
   */
  async request(
    endpoint: Endpoint,
    actions: "pull" | "pull,push",
    ask: Ask,
    good: readonly number[],
    from?: string,
  ): Promise<Answer> {
    const access: Access = {
      url: new URL(endpoint.base),
      registry: endpoint.registry,
      repository: endpoint.repository,
      scopes: [
        `repository:${endpoint.repository}:${actions}`,
        ...(from ? [`repository:${from}:pull`] : []),
      ],
    };
    for (let asked = false;; asked = true) {
      const own = ask.url.origin === access.url.origin; // An upload may have been sent elsewhere.
      const authorization = own ? this.#authorizer.header(access) : undefined;
      const answer = await this.transport.send({ ...ask, authorization });
      if (good.includes(answer.status)) return answer;
      await using failed = answer;
      // Only the registry itself may ask for its password, not where it redirected to.
      if (failed.status === 401 && !asked && failed.url.origin === access.url.origin) {
        this.#authorizer.forget(access);
        await this.#authorizer.answer(failed.headers.get("www-authenticate"), access, ask);
        continue;
      }
      throw await refusal(failed, ask, endpoint, authorization !== undefined);
    }
  }

  /** Where to look, in order; pushes go to the last one. */
  endpoints({ registry, repository }: RegistryReference): Endpoint[] {
    const hosts = this.transport.hosts;
    const baseOf = (host: string) => `${hosts.of(host).plainHttp ? "http" : "https"}://${host}`;
    const mirrors = hosts.of(registry).mirrors.map((mirror): Endpoint => {
      const [host, ...prefix] = mirror.split("/");
      return {
        base: baseOf(host),
        registry: host,
        repository: [...prefix, repository].join("/"),
        isMirror: true,
      };
    });
    const host = registry === "docker.io" ? "registry-1.docker.io" : registry;
    return [...mirrors, { base: baseOf(host), registry, repository, isMirror: false }];
  }

  /** What the reference names, and what its digest picks if that is within an index. */
  async #named(
    reference: RegistryReference,
    signal: AbortSignal | undefined,
  ): Promise<{ document: Document; pinned?: Document }> {
    const { tag, digest } = reference;
    if (tag === undefined || digest === undefined) {
      return {
        document: await this.fetchDocument(reference, digest ?? tag ?? "latest", { signal }),
      };
    }
    const document = await this.fetchDocument(reference, tag, { signal });
    if (digestOf(document.bytes, digest) === digest) return { document };
    const entry = document.parsed.kind === "index"
      ? document.parsed.manifests.find((entry) => entry.digest === digest)
      : undefined;
    if (entry === undefined) {
      throw new KurmaError(
        "invalid",
        `Cannot use ${quote(formatReference(reference))}: tag ${quote(tag)} is ${document.digest}`,
        { fix: "Drop the tag to get the digest, or the digest to get what the tag is now" },
      );
    }
    const pinned = await this.fetchDocument(reference, digest, { expected: entry, signal });
    return { document, pinned };
  }

  /** Asks one endpoint after the other; a mirror gets one try, the registry all. */
  async #anywhere<Result>(
    reference: RegistryReference,
    signal: AbortSignal | undefined,
    ask: (endpoint: Endpoint, attempts: number) => Promise<Result>,
    direct = false,
  ): Promise<Result> {
    const [registry, ...mirrors] = this.endpoints(reference).toReversed();
    for (const mirror of direct ? [] : mirrors.toReversed()) {
      try {
        return await ask(mirror, 1);
      } catch (error) {
        signal?.throwIfAborted();
        // Whatever is wrong with a mirror, the registry decides.
        if (!(error instanceof KurmaError)) throw error;
      }
    }
    return await ask(registry, this.timing.attempts);
  }

  #document(
    endpoint: Endpoint,
    attempts: number,
    ask: Ask,
    limit: number,
  ): Promise<{ bytes: Uint8Array<ArrayBuffer>; headers: Headers }> {
    const deadlineMs = this.timing.documentMs;
    return retrying(this.timing, ask.signal, async () => {
      await using answer = await this.request(endpoint, "pull", { deadlineMs, ...ask }, [200]);
      return { bytes: await answer.bytes(limit), headers: answer.headers };
    }, attempts);
  }
}

/** `registry/repository` */
export function repositoryOf({ registry, repository }: RegistryReference): string {
  return `${registry}/${repository}`;
}

/** An image says what it runs on, even where no index did. */
function checkConfig(bytes: Uint8Array, wanted: Platform | undefined, what: string): void {
  const config = parseJsonObject(bytes, `config of ${what}`, { bytes: maxConfigBytes, depth: 64 });
  const os = optionalText(config, "os", `config of ${what}`);
  const architecture = optionalText(config, "architecture", `config of ${what}`);
  if (!wanted || !os || !architecture) return;
  const variant = optionalText(config, "variant", `config of ${what}`);
  const offered = { os, architecture, ...(variant ? { variant } : {}) };
  if (runsOn(offered, wanted)) return;
  throw new KurmaError(
    "missing",
    `Cannot find ${formatPlatform(wanted)} in ${what}: it is for ${formatPlatform(offered)}`,
    { fix: "Name that platform, or another image" },
  );
}

async function refusal(
  answer: Answer,
  ask: Ask,
  endpoint: Endpoint,
  authorized: boolean,
): Promise<KurmaError> {
  const { status, url } = answer;
  const said = await answer.bytes(16 * 1024).catch(() => new Uint8Array()); // The status will do.
  const message = complaint(ask.task, url, { status }, said);
  if (status === 404) return new KurmaError("missing", message, { fix: "Check name and tag" });
  if (status === 401 || status === 403) {
    return new KurmaError("denied", message, {
      fix: authorized
        ? `Check the name; the account used for ${endpoint.registry} may not do this`
        : `Check the name, or log in with "podman login ${endpoint.registry}"`,
    });
  }
  return new KurmaError("invalid", message);
}
