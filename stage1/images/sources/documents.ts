/**
 * Image manifests and indexes, OCI and Docker schema 2, from bytes to checked values.
 *
 * What a document is follows from its fields; what the document, its descriptor and
 * the server's Content-Type say about it has to agree with that. So the same bytes
 * cannot be a manifest for one reader and an index for another.
 *
 * @module
 * @see OCI image-spec 1.1, manifest.md, image-index.md, descriptor.md
 * @see CVE-2021-41190, "OCI Manifest Type Confusion"
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { type Digest, digestOf, isDigest, quote } from "./digest.ts";
import {
  isObject,
  type JsonObject,
  optionalText,
  parseJsonObject,
  texts,
  unreadable,
} from "./json.ts";
import type { Platform } from "./platform.ts";

/** Names other content by its digest. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
  /** In an index: what the manifest runs on. */
  readonly platform?: Platform;
}

/** One image for one platform. */
export interface Manifest {
  readonly kind: "manifest";
  readonly mediaType: string;
  /** What an artifact says it is; images say nothing. */
  readonly artifactType?: string;
  readonly config: Descriptor;
  /** Lowest first. */
  readonly layers: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
}

/** Manifests for several platforms. */
export interface Index {
  readonly kind: "index";
  readonly mediaType: string;
  readonly manifests: readonly Descriptor[];
  readonly annotations: Readonly<Record<string, string>>;
}

export const mediaTypes = {
  ociIndex: "application/vnd.oci.image.index.v1+json",
  ociManifest: "application/vnd.oci.image.manifest.v1+json",
  ociConfig: "application/vnd.oci.image.config.v1+json",
  dockerIndex: "application/vnd.docker.distribution.manifest.list.v2+json",
  dockerManifest: "application/vnd.docker.distribution.manifest.v2+json",
  dockerConfig: "application/vnd.docker.container.image.v1+json",
} as const;

/** How a layer's tar is compressed, by media type. */
export const layerTypes: Readonly<Record<string, "none" | "gzip" | "zstd">> = {
  "application/vnd.oci.image.layer.v1.tar": "none",
  "application/vnd.oci.image.layer.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.v1.tar+zstd": "zstd",
  "application/vnd.oci.image.layer.nondistributable.v1.tar": "none",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip": "gzip",
  "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd": "zstd",
  "application/vnd.docker.image.rootfs.diff.tar": "none",
  "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
  "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
  "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": "gzip",
};

/** What one document may hold at most. */
export const documentLimits = { bytes: 4 * 1024 * 1024, layers: 1024, manifests: 1024 } as const;

const mediaTypeGrammar = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*\/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$/;

/**
 * Reads a manifest or an index. Its digest is the caller's to check.
 *
 * A document without a `mediaType` passes only as OCI, where the specification allows
 * it (umoci writes such), and only if `stated` names its type.
 *
 * @param what Names the document in messages.
 * @param stated Its media type by its descriptor or by the server.
 * @throws {KurmaError} `invalid`.
 */
export function parseDocument(bytes: Uint8Array, what: string, stated?: string): Manifest | Index {
  const document = parseJsonObject(bytes, what, { bytes: documentLimits.bytes, depth: 64 });
  if (document.schemaVersion === 1 || Object.hasOwn(document, "fsLayers")) {
    throw unreadable(what, "it is a Docker schema 1 manifest, which ended in 2017");
  }
  if (document.schemaVersion !== 2) throw unreadable(what, "its schemaVersion is not 2");

  const isIndex = Object.hasOwn(document, "manifests");
  if (isIndex && (Object.hasOwn(document, "layers") || Object.hasOwn(document, "config"))) {
    throw unreadable(what, "it is a manifest and an index at once");
  }
  const written = optionalText(document, "mediaType", what);
  const mediaType = agreedType(written, stated, isIndex, what);
  const annotations = texts(document, "annotations", what);

  if (isIndex) {
    const manifests = descriptors(document, "manifests", documentLimits.manifests, what);
    return { kind: "index", mediaType, manifests, annotations };
  }
  const layers = descriptors(document, "layers", documentLimits.layers, what);
  const config = parseDescriptor(document.config, `config of ${what}`);
  const artifactType = optionalText(document, "artifactType", what);
  return {
    kind: "manifest",
    mediaType,
    config,
    layers,
    annotations,
    ...(artifactType ? { artifactType } : {}),
  };
}

/**
 * Refuses a manifest that is no container image: a chart, a signature, a module …
 *
 * @throws {KurmaError} `invalid`, naming what it is.
 */
export function requireImage(manifest: Manifest, what: string): void {
  const { mediaType } = manifest.config;
  if (mediaType !== mediaTypes.ociConfig && mediaType !== mediaTypes.dockerConfig) {
    throw noImage(what, manifest.artifactType ?? mediaType);
  }
  const foreign = manifest.layers.find((layer) => !Object.hasOwn(layerTypes, layer.mediaType));
  if (foreign) throw noImage(what, foreign.mediaType);
}

/**
 * Reads a descriptor. Its `urls` are ignored: content comes from where the image comes from.
 *
 * @throws {KurmaError} `invalid`.
 */
export function parseDescriptor(value: unknown, what: string): Descriptor {
  if (!isObject(value)) throw unreadable(what, "it is not a descriptor");
  const mediaType = optionalText(value, "mediaType", what) ?? "";
  if (mediaType.length > 255 || !mediaTypeGrammar.test(mediaType)) {
    throw unreadable(what, `media type ${quote(mediaType)} is not one`);
  }
  const { digest, size } = value;
  if (!isDigest(digest)) {
    throw unreadable(what, `digest ${quote(String(digest))} is not sha256 or sha512 in lower case`);
  }
  if (!Number.isSafeInteger(size) || (size as number) < 0) {
    throw unreadable(what, `size ${quote(String(size))} is not a number of bytes`);
  }
  const descriptor: Descriptor = { mediaType, digest, size: size as number };
  checkInline(value, descriptor, what);
  const annotations = texts(value, "annotations", what);
  const platform = parsePlatform(value, what);
  return {
    ...descriptor,
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
    ...(platform ? { platform } : {}),
  };
}

function descriptors(
  document: JsonObject,
  key: "layers" | "manifests",
  limit: number,
  what: string,
): Descriptor[] {
  const list = document[key];
  if (!Array.isArray(list)) throw unreadable(what, `it has no list of ${key}`);
  if (list.length > limit) throw unreadable(what, `it has more than ${limit} ${key}`);
  const one = key === "layers" ? "layer" : "manifest";
  return list.map((entry, at) => parseDescriptor(entry, `${one} ${at + 1} of ${what}`));
}

function agreedType(
  written: string | undefined,
  stated: string | undefined,
  isIndex: boolean,
  what: string,
): string {
  const mediaType = written ?? stated;
  const possible: readonly (string | undefined)[] = isIndex
    ? [mediaTypes.ociIndex, mediaTypes.dockerIndex]
    : [mediaTypes.ociManifest, mediaTypes.dockerManifest];
  if (mediaType === undefined) throw unreadable(what, "nothing states its media type");
  if (!possible.includes(mediaType)) {
    throw unreadable(
      what,
      `its media type is ${quote(mediaType)}, its content is ${
        isIndex ? "an index" : "a manifest"
      }`,
    );
  }
  if (stated !== undefined && stated !== mediaType) {
    throw unreadable(what, `it says ${quote(mediaType)}, but comes as ${quote(stated)}`);
  }
  if (written === undefined && mediaType !== possible[0]) {
    throw unreadable(what, "its mediaType is missing, which only OCI documents may lack");
  }
  return mediaType;
}

function parsePlatform(descriptor: JsonObject, what: string): Platform | undefined {
  const value = descriptor.platform;
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw unreadable(what, '"platform" is not an object');
  const variant = optionalText(value, "variant", what);
  return {
    os: optionalText(value, "os", what) ?? "",
    architecture: optionalText(value, "architecture", what) ?? "",
    ...(variant ? { variant } : {}),
  };
}

/** Content embedded in a descriptor is not used, but one that lies is refused. */
function checkInline(value: JsonObject, descriptor: Descriptor, what: string): void {
  const data = optionalText(value, "data", what);
  if (data === undefined) return;
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.fromBase64(data);
  } catch (cause) {
    throw unreadable(what, "its data is not base64", cause);
  }
  if (
    bytes.length !== descriptor.size || digestOf(bytes, descriptor.digest) !== descriptor.digest
  ) {
    throw unreadable(what, "its data is not what its digest and size say");
  }
}

function noImage(what: string, type: string): KurmaError {
  return new KurmaError(
    "invalid",
    `Cannot use ${what}: it is an artifact of type ${quote(type)}, not a container image`,
    { fix: "Name an image; artifacts such as charts and signatures have nothing to run" },
  );
}
