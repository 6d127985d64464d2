/**
 * The service Images: the image store over the API.
 *
 * @module
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { KurmaError } from "../../ffi/errors.ts";
import {
  exportedImage,
  importImage,
  listImages,
  type Progress,
  pruneImages,
  type Removed,
  removeImage,
  showImage,
  type StoredImage,
  tagImage,
  verifyImages,
} from "../images/mod.ts";
import {
  ImageProgress_Step as Step,
  type ImageProgressSchema,
  type Images,
  type ImageSchema,
  type ImportImageRequest,
  ImportImageRequestSchema,
} from "./kurma.gen.ts";
import { withProgress } from "./progress.ts";
import { restrictionsKey } from "./via.ts";

/** Where images are, and how they come from elsewhere. */
export interface ImagesHost {
  /** The state folder: an absolute host path. */
  readonly root: string;
  /** The folder of `hosts.yaml`, `policy.yaml`, `trust/` and `auth.json`. */
  readonly config: string;
  /** Told what was done to an image, by its id and the name that it was called by. */
  readonly onChange?: (action: ImageAction, image: { id: string; name: string }) => void;
}

/** What is done to images: the action of an event. */
export type ImageAction = "pull" | "import" | "push" | "tag" | "remove";

/** What an exported image is sent in, in bytes. */
const pieceSize = 256 * 1024;

/** The service over the store of `host`. */
export function imagesService(host: ImagesHost): ServiceImpl<typeof Images> {
  const tell = (action: ImageAction, id: string, name: string) =>
    host.onChange?.(action, { id, name });
  const tellRemoved = ({ names, images }: Removed) => {
    for (const id of images) tell("remove", id, names.length === 1 ? names[0] : "");
  };
  return {
    async *pull({ reference }, { signal, values }) {
      requireReference(reference);
      const reach = values.get(restrictionsKey);
      const { pullImage } = await import("../images/pull.ts");
      const pull = withProgress(
        signal,
        (onProgress, signal) => pullImage(reference, { ...host, reach, onProgress, signal }),
      );
      for await (const told of pull) {
        if ("result" in told) tell("pull", told.result.record.id, reference);
        yield { message: imageMessage(told) };
      }
    },

    async *import(requests, { signal }) {
      const upload = new Upload(requests);
      const { name, tag } = await upload.settings();
      const options = { root: host.root, name: name || undefined, tag: tag || undefined };
      const work = withProgress(
        signal,
        (onProgress, signal) =>
          importImage(upload.chunks(), {
            ...options,
            onProgress,
            signal,
          }),
      );
      for await (const told of work) {
        if ("result" in told) tell("import", told.result.record.id, name);
        yield { message: imageMessage(told) };
      }
    },

    async *push({ image, target }, { signal }) {
      const { pushImage } = await import("../images/push.ts");
      const push = withProgress(
        signal,
        (onProgress, signal) =>
          pushImage(image, target || undefined, { ...host, onProgress, signal }),
      );
      for await (const told of push) {
        if ("result" in told) tell("push", showImage(image, host).record.id, target || image);
        yield {
          message: "progress" in told
            ? { case: "progress" as const, value: progressMessage(told.progress) }
            : { case: "digest" as const, value: told.result },
        };
      }
    },

    async *export({ image, tag, format }, { signal }) {
      const told: MessageInitShape<typeof ImageProgressSchema>[] = [];
      const options = {
        root: host.root,
        tag: tag || undefined,
        format: exportFormat(format),
        signal,
        onProgress: (news: Progress) => told.push(progressMessage(news)),
      };
      for await (const bytes of exportedImage(image, options)) {
        for (let at = 0; at < bytes.length; at += pieceSize) {
          signal.throwIfAborted();
          yield { chunk: bytes.subarray(at, at + pieceSize), progress: told.splice(0) };
        }
      }
      if (told.length > 0) yield { progress: told.splice(0) };
    },

    tag({ image, name }) {
      const given = tagImage(image, name, host);
      tell("tag", showImage(given, host).record.id, given);
      return { name: given };
    },

    async remove({ image }) {
      const removed = await removeImage(image, host);
      tellRemoved(removed);
      return { names: [...removed.names], ids: [...removed.images] };
    },

    async prune({ maxBytes }) {
      const limit = maxBytes === undefined ? undefined : Number(maxBytes);
      const removed = await pruneImages({ root: host.root, maxBytes: limit });
      tellRemoved(removed);
      return { names: [...removed.names], ids: [...removed.images] };
    },

    async *verify({ checkOnly }, { signal }) {
      const verify = withProgress(
        signal,
        (onProgress, signal) => verifyImages({ ...host, checkOnly, onProgress, signal }),
      );
      for await (const told of verify) {
        if ("progress" in told) {
          yield { message: { case: "progress" as const, value: progressMessage(told.progress) } };
        } else {
          for (const damage of told.result) {
            yield { message: { case: "damage" as const, value: { ...damage } } };
          }
        }
      }
    },

    get({ image }) {
      const stored = showImage(image, host);
      const { record } = stored;
      return {
        image: imageOf(stored),
        config: JSON.stringify(record.config),
        record: JSON.stringify(record),
      };
    },

    list: () => ({ images: listImages(host).map(imageOf) }),
  };
}

/** A pull of a path would read the daemon's files, not the caller's. */
function requireReference(reference: string): void {
  if (!/^(?:-$|file:|\/|\.{1,2}(?:\/|$))/i.test(reference) && reference !== "") return;
  throw new KurmaError("invalid", `Cannot pull "${reference}": it is no name of an image`, {
    fix: "Send the file with Import",
  });
}

function exportFormat(text: string): "oci" | "docker" {
  if (text === "" || text === "oci") return "oci";
  if (text === "docker") return text;
  throw new KurmaError("invalid", `Cannot export as "${text}"`, { fix: "Say oci or docker" });
}

function imageMessage(told: { progress: Progress } | { result: StoredImage }) {
  return "progress" in told
    ? { case: "progress" as const, value: progressMessage(told.progress) }
    : { case: "image" as const, value: imageOf(told.result) };
}

const steps = {
  read: Step.READ,
  unpacked: Step.UNPACKED,
  present: Step.PRESENT,
  uploaded: Step.UPLOADED,
  written: Step.WRITTEN,
  verified: Step.VERIFIED,
} satisfies Record<Progress["step"], Step>;

export function progressMessage(progress: Progress): MessageInitShape<typeof ImageProgressSchema> {
  const { step, subject, bytes, total = 0 } = progress;
  return { step: steps[step], subject, bytes: BigInt(bytes), totalBytes: BigInt(total) };
}

/** An image as the API tells it. */
export function imageOf(
  { record, names, created, used, bytes }: StoredImage,
): MessageInitShape<typeof ImageSchema> {
  const { id, format, layers, pulled } = record;
  return {
    ...{ id, format, names: [...names], layers: [...layers], bytes: BigInt(bytes) },
    createTime: timestampFromDate(created),
    useTime: timestampFromDate(used),
    origin: pulled && { reference: pulled.from, digest: pulled.digest ?? "" },
  };
}

/** The messages of an Import: how first, then the bytes. */
class Upload {
  readonly #requests: AsyncIterator<ImportImageRequest>;

  constructor(requests: AsyncIterable<ImportImageRequest>) {
    this.#requests = requests[Symbol.asyncIterator]();
  }

  async settings() {
    const { value } = await this.#requests.next();
    const { message } = value ?? create(ImportImageRequestSchema);
    if (message.case === "start") return message.value;
    throw new KurmaError("invalid", "Cannot import: the first message has to be `start`");
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    while (true) {
      const { done, value } = await this.#requests.next();
      if (done) return;
      if (value.message.case !== "chunk") {
        throw new KurmaError("invalid", "Cannot import: only `chunk` may follow `start`");
      }
      yield value.message.value;
    }
  }
}
