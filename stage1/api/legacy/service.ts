/**
 * The service `client.Kurma` of the first Kurma, for programs that still speak it: the same
 * calls and handshakes over the containers of today.
 *
 * What it did wrong is not kept: an upload under an unknown id or a manifest of `null` was
 * the end of the daemon, uploads that never came were kept for ever, and a container that
 * could not be started said nothing.
 *
 * @module
 */

import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { KurmaError } from "../../../ffi/errors.ts";
import type { ByteChunk, Container_State, Kurma } from "./client.gen.ts";

/** A container as the first Kurma told it. */
export interface LegacyContainer {
  readonly uuid: string;
  /** An appc pod manifest as JSON. */
  readonly manifest: string;
  readonly state: keyof typeof Container_State;
}

/** What the service asks of the manager of containers. */
export interface LegacyContainers {
  /**
   * Checks an image manifest before its image comes.
   *
   * @throws {KurmaError} `invalid`.
   */
  check(name: string, manifest: string): Promise<void>;
  /**
   * Makes a container of an ACI and starts it.
   *
   * @param manifest As it was checked; the one in the image does not count.
   * @param image The bytes of the ACI, compressed or not.
   */
  create(
    name: string,
    manifest: string,
    image: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): Promise<void>;
  /** Stops a container and removes it. */
  destroy(uuid: string): Promise<void>;
  list(): Promise<readonly LegacyContainer[]>;
  /** @throws {KurmaError} `missing`. */
  get(uuid: string): Promise<LegacyContainer>;
  /** A shell on a terminal: what is typed, and what it shows until it ends. */
  enter(
    uuid: string,
    input: AsyncIterable<Uint8Array>,
    signal: AbortSignal,
  ): AsyncIterable<Uint8Array>;
}

/** How long an upload may take to come, and how many may be waited for. */
export interface LegacyLimits {
  readonly uploadMs: number;
  readonly uploads: number;
}

const defaultLimits: LegacyLimits = { uploadMs: 600_000, uploads: 64 };

/** An upload that Create has promised. */
interface Upload {
  readonly name: string;
  readonly manifest: string;
  readonly untilMs: number;
}

/** The largest manifest, in bytes. */
const maxManifest = 1024 * 1024;

export function legacyService(
  containers: LegacyContainers,
  limits: LegacyLimits = defaultLimits,
): ServiceImpl<typeof Kurma> {
  const uploads = new Map<string, Upload>();
  const forgetLate = () => {
    for (const [id, { untilMs }] of uploads) if (untilMs < performance.now()) uploads.delete(id);
  };
  return {
    create: (request) =>
      plainly(async () => {
        const manifest = manifestText(request.manifest);
        await containers.check(request.name, manifest);
        forgetLate();
        if (uploads.size >= limits.uploads) {
          throw new KurmaError("unavailable", "Cannot create: too many images are waited for");
        }
        const imageUploadId = crypto.randomUUID();
        const untilMs = performance.now() + limits.uploadMs;
        uploads.set(imageUploadId, { name: request.name, manifest, untilMs });
        return { imageUploadId };
      }),

    uploadImage: (chunks, { signal }) =>
      plainly(async () => {
        const { first, rest } = await opened(chunks);
        forgetLate();
        const upload = uploads.get(first.streamId);
        if (upload === undefined) {
          throw new KurmaError("missing", "Cannot upload: no such upload id", {
            fix: "Call Create first, and send each image once",
          });
        }
        uploads.delete(first.streamId);
        await containers.create(upload.name, upload.manifest, bytesOf(first, rest), signal);
        return {};
      }),

    destroy: ({ uuid }) =>
      plainly(async () => {
        await containers.destroy(uuid);
        return {};
      }),

    list: () =>
      plainly(async () => ({ containers: (await containers.list()).map(containerMessage) })),

    get: ({ uuid }) => plainly(async () => containerMessage(await containers.get(uuid))),

    async *enter(chunks, { signal }) {
      try {
        const { first, rest } = await opened(chunks);
        const streamId = first.streamId;
        for await (const bytes of containers.enter(streamId, bytesOf(first, rest), signal)) {
          yield { streamId, bytes };
        }
      } catch (error) {
        throw plain(error);
      }
    },
  };
}

/** The numbers of client.proto, which the first Kurma had as well. */
const states: Record<LegacyContainer["state"], Container_State> = {
  NEW: 0,
  STARTING: 1,
  RUNNING: 2,
  STOPPING: 3,
  STOPPED: 4,
  EXITED: 5,
};

function containerMessage({ uuid, manifest, state }: LegacyContainer) {
  return { uuid, manifest: new TextEncoder().encode(manifest), state: states[state] };
}

/** A JSON object, as text. */
function manifestText(bytes: Uint8Array): string {
  if (bytes.length > maxManifest) {
    throw new KurmaError("invalid", "Cannot create: the manifest is larger than 1 MiB");
  }
  let value: unknown;
  const text = new TextDecoder().decode(bytes);
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new KurmaError("invalid", "Cannot create: the manifest is no JSON", { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return text;
  throw new KurmaError("invalid", "Cannot create: the manifest is no JSON object");
}

/** The first chunk, which says what the stream is about. */
async function opened(chunks: AsyncIterable<ByteChunk>) {
  const rest = chunks[Symbol.asyncIterator]();
  const { done, value: first } = await rest.next();
  if (done) throw new KurmaError("invalid", "Cannot read the stream: it ended before its id");
  return { first, rest };
}

async function* bytesOf(first: ByteChunk, rest: AsyncIterator<ByteChunk>) {
  if (first.bytes.length > 0) yield first.bytes;
  while (true) {
    const { done, value } = await rest.next();
    if (done) return;
    if (value.bytes.length > 0) yield value.bytes;
  }
}

async function plainly<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw plain(error);
  }
}

/** The first Kurma's errors: a line of text with the status UNKNOWN, whatever happened. */
function plain(error: unknown): unknown {
  return error instanceof KurmaError ? new ConnectError(error.message, Code.Unknown) : error;
}
