/**
 * The image store that a daemon looks after. What is asked in a word needs no protobuf; files
 * and progress come and go as streams.
 *
 * @module
 */

import type { MessageInitShape, MessageJsonType } from "@bufbuild/protobuf";
import type { ApiClient } from "../../stage1/api/client.ts";
import type { ApiStreams } from "../../stage1/api/client_streams.ts";
import type {
  Image,
  ImageProgress,
  ImageSchema,
  ImportImageRequestSchema,
} from "../../stage1/api/kurma.gen.ts";
import type { Damage, OnProgress, Removed } from "../../stage1/images/mod.ts";
import type { ImageFields, ImageRow, ImageStore, TakeOutOptions } from "./image_store.ts";
import { streamingWith } from "./streaming.ts";

type ImageJson = MessageJsonType<typeof ImageSchema>;

export class DaemonImages implements ImageStore {
  readonly #api: ApiClient;

  constructor(api: ApiClient) {
    this.#api = api;
  }

  async list(): Promise<readonly ImageRow[]> {
    const { images = [] } = await this.#api.call("Images", "List", {});
    return images.map(rowOf);
  }

  async show(image: string): Promise<ImageFields> {
    const { image: found = {}, record = "{}" } = await this.#api.call("Images", "Get", { image });
    return { ...JSON.parse(record), ...rowOf(found), layers: found.layers ?? [] };
  }

  async pull(reference: string, onProgress: OnProgress | undefined): Promise<ImageRow> {
    const { parseReference } = await import("../../stage1/images/sources/reference.ts");
    const { kind } = parseReference(reference);
    // A path is one of ours, not of the daemon.
    if (kind === "file" || kind === "stdin") {
      return await this.bringIn(reference, undefined, onProgress);
    }
    return await this.#streaming(onProgress, async ({ images }, tell) => {
      let image: Image | undefined;
      for await (const { message } of images.pull({ reference })) {
        if (message.case === "progress") tell(message.value);
        if (message.case === "image") image = message.value;
      }
      return await rowOfMessage(image);
    });
  }

  async push(
    image: string,
    reference: string | undefined,
    onProgress: OnProgress | undefined,
  ): Promise<string> {
    return await this.#streaming(onProgress, async ({ images }, tell) => {
      let digest = "";
      for await (const { message } of images.push({ image, target: reference ?? "" })) {
        if (message.case === "progress") tell(message.value);
        if (message.case === "digest") digest = message.value;
      }
      return digest;
    });
  }

  async bringIn(
    file: string,
    name: string | undefined,
    onProgress: OnProgress | undefined,
  ): Promise<ImageRow> {
    const { uploaded } = await import("./image_files.ts");
    const { sentImage } = await import("../../stage1/images/mod.ts");
    const { tag, what, inPlace, chunks } = await uploaded(file);
    let isThere = !inPlace;
    const asOurs: OnProgress = (progress) => {
      if (progress.subject !== sentImage) return onProgress?.(progress);
      if (isThere) return onProgress?.({ ...progress, subject: what });
      isThere = progress.step === "written";
    };
    return await this.#streaming(asOurs, async ({ images }, tell) => {
      let image: Image | undefined;
      for await (const { message } of images.import(requests(name, tag, chunks))) {
        if (message.case === "progress") tell(message.value);
        if (message.case === "image") image = message.value;
      }
      return await rowOfMessage(image);
    });
  }

  async takeOut(image: string, path: string, options: TakeOutOptions): Promise<void> {
    const { onProgress, format, tag = "" } = options;
    const [{ isFolder, requireFree }, { write }] = await Promise.all([
      import("../../stage1/images/mod.ts"),
      import("./image_files.ts"),
    ]);
    const { image: found } = await this.#api.call("Images", "Get", { image });
    await requireFree(path);
    const kind = found?.format !== "aci" && isFolder(path, format) ? "folder" : "file";
    await this.#streaming(onProgress, async ({ images }, tell) => {
      async function* chunks() {
        for await (const { chunk, progress } of images.export({ image, tag, format })) {
          yield chunk;
          for (const each of progress) tell(each);
        }
      }
      await write(path, chunks(), kind);
    });
  }

  async tag(image: string, name: string): Promise<string> {
    return (await this.#api.call("Images", "Tag", { image, name })).name ?? "";
  }

  async remove(image: string): Promise<Removed> {
    const { names = [], ids = [] } = await this.#api.call("Images", "Remove", { image });
    return { names, images: ids };
  }

  async prune(maxBytes: number | undefined): Promise<Removed> {
    const limit = maxBytes === undefined ? {} : { maxBytes: String(maxBytes) };
    const { names = [], ids = [] } = await this.#api.call("Images", "Prune", limit);
    return { names, images: ids };
  }

  async verify(
    checkOnly: boolean,
    onProgress: OnProgress | undefined,
  ): Promise<readonly Damage[]> {
    return await this.#streaming(onProgress, async ({ images }, tell) => {
      const damages: Damage[] = [];
      for await (const { message } of images.verify({ checkOnly })) {
        if (message.case === "progress") tell(message.value);
        if (message.case !== "damage") continue;
        const { image, digest, problem, path, repaired, fix } = message.value;
        damages.push({
          ...{ image, digest, ...(path === "" ? {} : { path }), problem },
          ...(repaired === "" ? {} : { repaired }),
          ...(fix === "" ? {} : { fix }),
        });
      }
      return damages;
    });
  }

  /** Makes a call of which progress is told, as if the work was done here. */
  async #streaming<Value>(
    onProgress: OnProgress | undefined,
    act: (streams: ApiStreams, tell: (progress: ImageProgress) => void) => Promise<Value>,
  ): Promise<Value> {
    const [{ progressOf }, { metered }] = await Promise.all([
      import("../../stage1/api/client_progress.ts"),
      import("../../stage1/images/progress.ts"),
    ]);
    const own = metered({ onProgress }).onProgress ?? (() => {});
    return await streamingWith(
      this.#api,
      (streams) => act(streams, (progress) => own(progressOf(progress))),
    );
  }
}

type UploadRequest = MessageInitShape<typeof ImportImageRequestSchema>;

async function* requests(
  name = "",
  tag = "",
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<UploadRequest> {
  yield { message: { case: "start", value: { name, tag } } };
  for await (const value of chunks) yield { message: { case: "chunk", value } };
}

async function rowOfMessage(image: Image | undefined): Promise<ImageRow> {
  const [{ toJson }, { ImageSchema }] = await Promise.all([
    import("@bufbuild/protobuf"),
    import("../../stage1/api/kurma.gen.ts"),
  ]);
  return rowOf(image === undefined ? {} : toJson(ImageSchema, image));
}

function rowOf(image: ImageJson): ImageRow {
  const { id = "", names = [], format = "", layers = [], bytes = "0", createTime, useTime } = image;
  return {
    ...{ id, names, format, layers: layers.length, bytes: Number(bytes) },
    created: new Date(createTime ?? 0).toISOString(),
    used: new Date(useTime ?? 0).toISOString(),
  };
}
