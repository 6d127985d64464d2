/**
 * Names, tags and ids, resolved the same everywhere.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { quote } from "./sources/digest.ts";
import { formatReference, parseReference, type RegistryReference } from "./sources/reference.ts";
import type { ImageRecord, Store, StoredImage } from "./store.ts";

/** Fewer digits of an id say too little. */
const minDigits = 4;

/**
 * A name as the store keeps it: `busybox` is `docker.io/library/busybox:latest`.
 *
 * @throws {KurmaError} `invalid`: not a name, or with a digest.
 */
export function normalName(name: string): string {
  if (name === "hello") return name;
  const reference = parseReference(name);
  if (reference.kind !== "registry" || reference.digest !== undefined) {
    throw new KurmaError("invalid", `Cannot use ${quote(name)} as a name`, {
      fix: 'Write NAME or NAME:TAG, for example "example.com/app:1.0"',
    });
  }
  return formatReference(reference);
}

/**
 * The image that `text` names: a whole id, a name, a name with a digest, or the first
 * digits of an id. The digest is that of the manifest, or of the index that led to it.
 *
 * @returns Undefined if there is none.
 * @throws {KurmaError} `invalid`: it may be several; the message lists them.
 */
export function findImage(store: Store, text: string): StoredImage | undefined {
  const images = store.images();
  const exact = images.find(({ record }) => idsOf(record).includes(text));
  if (exact !== undefined) return exact;
  const digits = /^(?:sha256:|sha512-)?([0-9a-f]{4,})$/.exec(text)?.[1];
  const named = storedNameIn(text);
  const found = images.filter((image) =>
    (named !== undefined && (image.names.includes(named) || isPinned(image, named))) ||
    (digits !== undefined && digits.length >= minDigits &&
      idsOf(image.record).some((id) => isShort(id, text, digits)))
  );
  if (found.length <= 1) return found[0];
  const candidates = found.map(({ record, names }) => names[0] ?? record.id.slice(0, 31));
  throw new KurmaError(
    "invalid",
    `Cannot choose an image by ${quote(text)}: it may be ${candidates.slice(0, 10).join(", ")}`,
    { fix: "Write more digits of the id, or the whole name" },
  );
}

/**
 * As {@linkcode findImage}.
 *
 * @throws {KurmaError} `missing` if there is none.
 */
export function requireStored(store: Store, text: string): StoredImage {
  const found = findImage(store, text);
  if (found !== undefined) return found;
  throw new KurmaError(
    "missing",
    `Cannot find image ${quote(text)}: none in the store has that name or id`,
    {
      fix: "`kurma image list` shows what there is",
    },
  );
}

/** Whether `name`, which has a digest, means the image: by one of its names, and its digest. */
function isPinned({ record, names }: StoredImage, name: string): boolean {
  const wanted = registryReference(name);
  const digests = [record.manifestBlob?.digest, record.pulled?.digest];
  if (wanted?.digest === undefined || !digests.includes(wanted.digest)) return false;
  const { registry, repository, tag } = wanted;
  return [...names, ...(record.pulled ? [record.pulled.from] : [])].some((own) => {
    const has = registryReference(own);
    return has?.registry === registry && has.repository === repository &&
      (tag === undefined || has.tag === tag);
  });
}

/** A name of the store taken apart, if it is one of a registry. */
function registryReference(name: string): RegistryReference | undefined {
  const reference = name === "hello" ? undefined : parseReference(name);
  return reference?.kind === "registry" ? reference : undefined;
}

/** An image's id, and that of an ACI in Kurma of 2016: the sha512 of the file, as it came. */
function idsOf({ id, format, blobs }: ImageRecord): string[] {
  return format === "aci" ? [id, blobs[0].digest.replace(":", "-")] : [id];
}

function isShort(id: string, text: string, digits: string): boolean {
  return id.startsWith(text) || id.slice("sha256:".length).startsWith(digits);
}

/** The text as a name; undefined if it cannot be one. */
export function nameIn(text: string): string | undefined {
  try {
    return normalName(text);
  } catch (error) {
    if (error instanceof KurmaError) return undefined;
    throw error;
  }
}

/**
 * The text as a name that an image in the store may have: one that a user gave it, or what
 * it was pulled by, which may also be a digest, a URL or an appc name.
 *
 * @returns undefined if it cannot be one.
 */
export function storedNameIn(text: string): string | undefined {
  if (text === "hello") return text;
  try {
    return formatReference(parseReference(text));
  } catch (error) {
    if (error instanceof KurmaError) return undefined;
    throw error;
  }
}
