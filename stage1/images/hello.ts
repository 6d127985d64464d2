/**
 * The image that the executable carries: one static program (hello/hello.zig).
 *
 * @module
 */

import program from "../../build/native/kurma-hello" with { type: "bytes" };
import { memoryContent } from "./bytes.ts";
import { bareConfig } from "./image.ts";
import { importLayer, type ImportOptions } from "./layers.ts";
import type { Imported } from "./oci.ts";
import { digestOf } from "./sources/digest.ts";
import { mediaTypes } from "./sources/documents.ts";
import type { Store } from "./store.ts";
import { tarEnd, tarHeader } from "./tar.ts";

/** Brings `hello` into the store. The same executable makes the same image every time. */
export async function importHello(store: Store, options: ImportOptions): Promise<Imported> {
  const { header, padding } = tarHeader("hello", program.length, 0o755);
  const tar = new Uint8Array(await new Blob([header, program, padding, tarEnd]).arrayBuffer());
  const diffId = digestOf(tar);
  const config = new TextEncoder().encode(JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Entrypoint: ["/hello"] },
    rootfs: { type: "layers", diff_ids: [diffId] },
  }));
  const id = digestOf(config);
  const there = store.image(id);
  if (there !== undefined) return { record: there, names: [] };
  const blob = await importLayer(
    store,
    diffId,
    {
      digest: diffId,
      mediaType: "application/vnd.oci.image.layer.v1.tar",
      open: () =>
        Promise.resolve({
          what: '"hello"',
          format: "oci",
          content: memoryContent(tar),
          digest: diffId,
        }),
    },
    options,
  );
  await store.putBlob(id, config);
  return {
    record: {
      id,
      format: "hello",
      layers: [diffId],
      blobs: [blob],
      configBlob: { digest: id, size: config.length, mediaType: mediaTypes.ociConfig },
      config: { ...bareConfig, entrypoint: ["/hello"] },
    },
    names: ["hello"],
  };
}
