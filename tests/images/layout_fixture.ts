/**
 * OCI layouts of layers that are given as bytes, honest in all but what a test changes.
 *
 * @module
 * @see OCI image-spec 1.1, image-layout.md
 */

import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";

/** What a test changes in an honest layout. */
export interface Lies {
  /** Over the config's own `config`. */
  config?: Record<string, unknown>;
  diffIds?: readonly string[];
  /** Over what the manifest says of its only layer. */
  layer?: Record<string, unknown>;
  /** Over the manifest, and over what the index says of it. */
  manifest?: Record<string, unknown>;
  descriptor?: Record<string, unknown>;
  /** Instead of the manifest's own text. */
  manifestText?: string;
  configText?: string;
  indexText?: string;
}

const media = (name: string) => `application/vnd.oci.image.${name}`;

/** Writes the layout to the folder `path`; `gzip` layers are told by their first bytes. */
export async function layout(
  path: string,
  layers: readonly Uint8Array<ArrayBuffer>[],
  lies: Lies = {},
): Promise<string> {
  await Deno.mkdir(`${path}/blobs/sha256`, { recursive: true });
  const blob = async (bytes: Uint8Array<ArrayBuffer>) => {
    const digest = sha256(bytes);
    await Deno.writeFile(`${path}/blobs/sha256/${digest.slice(7)}`, bytes);
    return { digest, size: bytes.length };
  };
  const compressed = (bytes: Uint8Array) => bytes[0] === 0x1f && bytes[1] === 0x8b;
  const diffIds = layers.map((bytes) => sha256(compressed(bytes) ? gunzipSync(bytes) : bytes));
  const config = await blob(encode(
    lies.configText ?? JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["/bin/sh"], ...lies.config },
      rootfs: { type: "layers", diff_ids: lies.diffIds ?? diffIds },
    }),
  ));
  const described = [];
  for (const bytes of layers) {
    const mediaType = media(compressed(bytes) ? "layer.v1.tar+gzip" : "layer.v1.tar");
    described.push({ mediaType, ...await blob(bytes), ...lies.layer });
  }
  const manifest = await blob(encode(
    lies.manifestText ?? JSON.stringify({
      schemaVersion: 2,
      mediaType: media("manifest.v1+json"),
      config: { mediaType: media("config.v1+json"), ...config },
      layers: described,
      ...lies.manifest,
    }),
  ));
  const descriptor = { mediaType: media("manifest.v1+json"), ...manifest, ...lies.descriptor };
  await Deno.writeTextFile(`${path}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  await Deno.writeTextFile(
    `${path}/index.json`,
    lies.indexText ??
      JSON.stringify({
        schemaVersion: 2,
        mediaType: media("index.v1+json"),
        manifests: [descriptor],
      }),
  );
  return path;
}

export function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
