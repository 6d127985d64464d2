/**
 * A registry for tests, in this process and on 127.0.0.1, that serves honestly until a
 * test makes it lie.
 *
 * @module
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { type BlobSink, copyBlob } from "./blob.ts";
import { type Digest, digestOf } from "./digest.ts";
import { type Descriptor, mediaTypes } from "./documents.ts";
import { type HostConfig, Hosts } from "./hosts.ts";
import { parsePlatform } from "./platform.ts";
import { parseReference, type RegistryReference } from "./reference.ts";
import { RegistryClient, type RemoteImage } from "./registry.ts";
import type { Timing } from "./timing.ts";

/** Patience that a test can afford. */
export const impatient: Partial<Timing> = {
  headMs: 1000,
  idleMs: 500,
  minimumRate: 100,
  documentMs: 2000,
  attempts: 3,
  backoffMs: 1,
  backoffMaxMs: 4,
  retryAfterMaxMs: 2000,
};

/** Any JSON value as bytes. */
export function encode(value: unknown): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** Answers in place of the registry, or leaves it to answer. */
export type Intercept = (
  request: Request,
  path: string,
) => Response | undefined | Promise<Response | undefined>;

/** A registry in memory; see distribution-spec 1.1. */
export class TestRegistry implements AsyncDisposable {
  readonly blobs = new Map<string, Uint8Array<ArrayBuffer>>();
  /** By `repository:tag` or `repository@digest`. */
  readonly manifests = new Map<string, { bytes: Uint8Array<ArrayBuffer>; mediaType: string }>();
  /** `METHOD path` of all that was asked, with the range if one was. */
  readonly log: string[] = [];
  /** All `Authorization` headers that came, or "none". */
  readonly authorizations: string[] = [];
  intercept: Intercept = () => undefined;
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor(tls?: { cert: string; key: string }) {
    this.#server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen() {}, onError: () => new Response(null), ...tls },
      (request) => this.#answer(request),
    );
  }

  /** `127.0.0.1:port` */
  get host(): string {
    return `127.0.0.1:${this.#server.addr.port}`;
  }

  /** The settings a client needs: no TLS here. */
  hosts(more: Partial<HostConfig> = {}, ...others: TestRegistry[]): Hosts {
    const plain = { mirrors: [], plainHttp: true, tokenHosts: [] };
    return new Hosts([
      [this.host, { ...plain, ...more }],
      ...others.map(({ host }): [string, HostConfig] => [host, plain]),
    ]);
  }

  reference(rest = "app:1"): RegistryReference {
    return parseReference(`docker://${this.host}/${rest}`) as RegistryReference;
  }

  addBlob(bytes: Uint8Array<ArrayBuffer>, mediaType: string): Descriptor {
    const digest = digestOf(bytes);
    this.blobs.set(digest, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  addManifest(name: string, document: object): { digest: Digest; size: number; mediaType: string } {
    const bytes = encode(document);
    const digest = digestOf(bytes);
    const mediaType = (document as { mediaType?: string }).mediaType ?? mediaTypes.ociManifest;
    const repository = name.split(/[:@]/)[0];
    this.manifests.set(name, { bytes, mediaType });
    this.manifests.set(`${repository}@${digest}`, { bytes, mediaType });
    return { digest, size: bytes.length, mediaType };
  }

  /** An image with one layer of these bytes; returns its manifest's descriptor and layer. */
  addImage(name: string, layer: Uint8Array<ArrayBuffer>, architecture = "amd64") {
    const config = this.addBlob(
      encode({ os: "linux", architecture, rootfs: { type: "layers", diff_ids: [] } }),
      mediaTypes.ociConfig,
    );
    const descriptor = this.addBlob(layer, "application/vnd.oci.image.layer.v1.tar");
    const document = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config,
      layers: [descriptor],
    };
    return { ...this.addManifest(name, document), document, layer: descriptor, config };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const range = request.headers.get("range");
    this.log.push([request.method, pathname, ...(range ? [range] : [])].join(" "));
    this.authorizations.push(request.headers.get("authorization") ?? "none");
    return await this.intercept(request, pathname) ?? this.#honest(pathname, range);
  }

  #honest(pathname: string, range: string | null): Response {
    const blob = /^\/v2\/(.+)\/blobs\/(.+)$/.exec(pathname);
    if (blob) {
      const bytes = this.blobs.get(blob[2]);
      return bytes ? part(bytes, range) : unknown("BLOB_UNKNOWN");
    }
    const manifest = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(pathname);
    const found = manifest && (this.manifests.get(`${manifest[1]}:${manifest[2]}`) ??
      this.manifests.get(`${manifest[1]}@${manifest[2]}`));
    if (!found) return unknown("MANIFEST_UNKNOWN");
    return new Response(found.bytes, { headers: { "content-type": found.mediaType } });
  }
}

/** The answer to a request for all bytes, or for those from an offset on. */
export function part(bytes: Uint8Array<ArrayBuffer>, range: string | null): Response {
  const start = Number(/^bytes=([0-9]+)-$/.exec(range ?? "")?.[1] ?? 0);
  if (start === 0) return new Response(bytes);
  return new Response(bytes.subarray(start), {
    status: 206,
    headers: { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` },
  });
}

function unknown(code: string): Response {
  return Response.json({ errors: [{ code, message: "not\x1b[31m here" }] }, { status: 404 });
}

/** A server that writes exactly what it is told to each connection, then closes it. */
export class RawServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #running: Promise<void>;
  connections = 0;

  constructor(speak: (connection: Deno.Conn, head: string) => Promise<void>) {
    this.#running = this.#serve(speak);
  }

  get host(): string {
    return `127.0.0.1:${this.#listener.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#running;
  }

  async #serve(speak: (connection: Deno.Conn, head: string) => Promise<void>): Promise<void> {
    const talks: Promise<void>[] = [];
    for await (const connection of this.#listener) {
      this.connections++;
      talks.push(
        (async () => {
          const buffer = new Uint8Array(8192);
          const read = await connection.read(buffer) ?? 0;
          await speak(connection, new TextDecoder().decode(buffer.subarray(0, read)));
        })().catch(() => {}).finally(() => connection.close()),
      ); // The client may leave first.
    }
    await Promise.all(talks);
  }
}

/** A sink that keeps its bytes in memory. */
export class MemorySink implements BlobSink {
  bytes: number[] = [];
  cleared = 0;

  constructor(held: Uint8Array = new Uint8Array()) {
    this.bytes = [...held];
  }

  get offset(): number {
    return this.bytes.length;
  }

  async *replay(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Uint8Array.from(this.bytes));
  }

  write(chunk: Uint8Array): Promise<void> {
    for (const byte of chunk) this.bytes.push(byte);
    return Promise.resolve();
  }

  clear(): Promise<void> {
    this.cleared++;
    this.bytes = [];
    return Promise.resolve();
  }
}

/** What images in tests are for, and a layer for them to have. */
export const platform = parsePlatform("linux/amd64");
export const layer: Uint8Array<ArrayBuffer> = crypto.getRandomValues(new Uint8Array(50_000));

/** A client that knows the registry and has no patience. */
export function clientOf(registry: TestRegistry): RegistryClient {
  return new RegistryClient({ hosts: registry.hosts(), timing: impatient });
}

/** Pulls the image into a sink; ends with both, or with the error. */
export async function pull(
  client: RegistryClient,
  reference: RegistryReference,
  sink = new MemorySink(),
): Promise<{ image: RemoteImage; sink: MemorySink }> {
  const image = await client.resolve(reference, { platform });
  for (const layer of image.layers) {
    await copyBlob((options) => image.openBlob(layer, options), layer, sink);
  }
  return { image, sink };
}

/** How a pull that fails ends: code, message and fix. */
export async function failure(registry: TestRegistry, rest?: string): Promise<string> {
  using client = clientOf(registry);
  try {
    await pull(client, registry.reference(rest));
  } catch (error) {
    if (!(error instanceof KurmaError)) throw error;
    return `${error.code}: ${error.message}; ${error.fix}`;
  }
  return "it went well";
}

/** Sends a byte now and then: never silent, never done. */
export function drip(bytes: Uint8Array): Response {
  let at = 0;
  let timer: number;
  return new Response(
    new ReadableStream({
      start: (controller) => {
        timer = setInterval(() => controller.enqueue(bytes.slice(at, ++at)), 20);
      },
      cancel: () => clearInterval(timer),
    }),
    { headers: { "content-type": mediaTypes.ociManifest } },
  );
}
