/**
 * What a user writes to name an image, taken apart. The text alone decides what it
 * is; no file is looked for and no host asked, so the same words mean the same
 * everywhere:
 *
 * | written | is |
 * | --- | --- |
 * | `-` | standard input |
 * | `/x`, `./x`, `../x`, `.`, `..`, `file://x` | a path |
 * | `http://…`, `https://…`, with or without `@sha256:…` | a download |
 * | `name[:tag][@digest]`, `docker://…`, `oci://…` | an image in a registry |
 * | `name[:version],label=value…`, `appc://…` | an appc image, to be discovered |
 *
 * @module
 * @see distribution-spec 1.1, "Pulling manifests"; appc spec 0.8, "App Container Image Discovery"
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { type Digest, isDigest, parseDigest, quote } from "./digest.ts";

/** An image in a registry; at least one of `tag` and `digest` is there. */
export interface RegistryReference {
  readonly kind: "registry";
  /** `host[:port]` in lower case; Docker Hub is `docker.io`. */
  readonly registry: string;
  /** Path components joined by `/`, for example `library/busybox`. */
  readonly repository: string;
  readonly tag?: string;
  readonly digest?: Digest;
}

/** A file or folder on this machine. */
export interface FileReference {
  readonly kind: "file";
  /** As written; relative to the caller's working directory if it is not absolute. */
  readonly path: string;
}

/** Standard input. */
export interface StdinReference {
  readonly kind: "stdin";
}

/** A file to download. */
export interface HttpReference {
  readonly kind: "http";
  /** Normalised, without user, password and fragment. */
  readonly url: string;
  /** Of the file as the server sends it. */
  readonly digest?: Digest;
}

/** An image to find by appc discovery. */
export interface AppcReference {
  readonly kind: "appc";
  /** An ACIdentifier, for example `example.com/app`. */
  readonly name: string;
  /** What was asked for; `version` is the part after the colon. */
  readonly labels: Readonly<Record<string, string>>;
}

export type Reference =
  | RegistryReference
  | FileReference
  | StdinReference
  | HttpReference
  | AppcReference;

/** No reference is longer, in characters. */
export const maxReferenceLength = 4096;

const component = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagGrammar = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
const hostLabel = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const identifier = /^[a-z0-9]+(?:[-._~/][a-z0-9]+)*$/;
const urlDigest = /@(sha(?:256|512):[^/@?#]*)$/;
const archive = /\.(?:aci|oci|tar|tgz|tar\.(?:gz|bz2|xz|zst))$/;
// deno-lint-ignore no-control-regex
const control = /[\x00-\x1f\x7f]/;

/**
 * Takes `text` apart.
 *
 * @throws {KurmaError} `invalid`, with what is wrong and what to write instead.
 */
export function parseReference(text: string): Reference {
  if (text === "") throw refused(text, "it is empty", 'Name an image, for example "busybox"');
  if (text.length > maxReferenceLength) {
    throw refused(text, `it is longer than ${maxReferenceLength} characters`);
  }
  if (control.test(text)) throw refused(text, "it holds a control character");
  if (text === "-") return { kind: "stdin" };
  if (/^(?:\/|\.{1,2}(?:\/|$))/.test(text)) return { kind: "file", path: text };

  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text);
  if (scheme === null) {
    return text.includes(",") ? parseAppc(text, text) : parseRegistry(text, text);
  }
  const rest = text.slice(scheme[0].length);
  switch (scheme[1].toLowerCase()) {
    case "docker":
    case "oci":
      return parseRegistry(rest, text);
    case "appc":
      return parseAppc(rest, text);
    case "file":
      if (rest === "") throw refused(text, "it has no path", 'Write "file:///path/to/image"');
      return { kind: "file", path: rest };
    case "http":
    case "https":
      return parseHttp(text);
    default:
      throw refused(
        text,
        `scheme ${quote(scheme[1])} is unknown`,
        "Use docker://, appc://, file://, http:// or https://",
      );
  }
}

/**
 * The reference as text that {@linkcode parseReference} reads back to the same value:
 * what the store keeps and messages show.
 */
export function formatReference(reference: Reference): string {
  switch (reference.kind) {
    case "stdin":
      return "-";
    case "file":
      return /^(?:\/|\.{1,2}(?:\/|$))/.test(reference.path)
        ? reference.path
        : `file://${reference.path}`;
    case "http":
      return reference.url + (reference.digest ? `@${reference.digest}` : "");
    case "registry":
      return `${reference.registry}/${reference.repository}` +
        (reference.tag ? `:${reference.tag}` : "") +
        (reference.digest ? `@${reference.digest}` : "");
    case "appc": {
      const { version, ...labels } = reference.labels;
      return `appc://${reference.name}` + (version ? `:${version}` : "") +
        Object.entries(labels).map(([name, value]) => `,${name}=${value}`).join("");
    }
  }
}

function parseRegistry(rest: string, text: string): RegistryReference {
  let name = rest;
  let digest: Digest | undefined;
  let tag: string | undefined;

  const at = name.indexOf("@");
  if (at >= 0) {
    digest = parseDigest(name.slice(at + 1));
    name = name.slice(0, at);
  }
  const colon = name.lastIndexOf(":");
  if (colon > name.lastIndexOf("/")) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
    if (!tagGrammar.test(tag)) {
      throw refused(
        text,
        `tag ${quote(tag)} is not a tag`,
        "A tag has up to 128 letters, digits, _ . - and begins with a letter, a digit or _",
      );
    }
  }

  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  const explicit = slash > 0 && (/[.:[]/.test(first) || first.toLowerCase() === "localhost");
  let registry = explicit ? parseHost(first, text) : "docker.io";
  let repository = explicit ? name.slice(slash + 1) : name;
  // Only what would go to Docker Hub unasked may have been meant as a file.
  if (!explicit && rest === text && archive.test(rest)) {
    throw refused(
      text,
      "it may be a file or an image in a registry",
      `Write "./${text}" for the file, "docker://${text}" for the registry`,
    );
  }
  if (registry === "index.docker.io" || registry === "registry-1.docker.io") registry = "docker.io";
  if (registry === "docker.io" && !repository.includes("/") && repository !== "") {
    repository = `library/${repository}`;
  }
  if (registry.length + 1 + repository.length > 255) {
    throw refused(text, "registry and repository together are longer than 255 characters");
  }
  for (const part of repository.split("/")) {
    if (component.test(part)) continue;
    throw refused(
      text,
      part === "" ? "a part of its name is empty" : `name part ${quote(part)} is not allowed`,
      "Each part has lower-case letters and digits, single . _ or - between them",
    );
  }
  return {
    kind: "registry",
    registry,
    repository,
    ...(tag !== undefined || digest === undefined ? { tag: tag ?? "latest" } : {}),
    ...(digest !== undefined ? { digest } : {}),
  };
}

/**
 * Checks `host[:port]`: labels, an IPv4 address, or an IPv6 address in brackets.
 *
 * @param text What the message quotes; the whole reference or setting.
 * @returns It, in lower case.
 * @throws {KurmaError} `invalid`.
 */
export function parseHost(host: string, text: string): string {
  const lower = host.toLowerCase();
  const parts = /^(\[[0-9a-f:.]+\]|[^:[\]]+)(?::([0-9]{1,5}))?$/.exec(lower);
  const port = Number(parts?.[2] ?? 443);
  const named = parts !== null && parts[1].length <= 253 &&
    (parts[1].startsWith("[")
      ? URL.canParse(`http://${parts[1]}`)
      : parts[1].split(".").every((label) => hostLabel.test(label)));
  if (!named) {
    throw refused(text, `${quote(host)} is not a host name`, 'Write "host" or "host:port"');
  }
  if (port < 1 || port > 65535) throw refused(text, `${port} is not a port`, "Use 1 to 65535");
  return lower;
}

function parseHttp(text: string): HttpReference {
  const pinned = urlDigest.exec(text);
  const digest = pinned ? parseDigest(pinned[1]) : undefined;
  const bare = pinned ? text.slice(0, pinned.index) : text;
  const url = URL.parse(bare);
  if (url === null || url.hostname === "") throw refused(text, "it is not a URL");
  if (url.username !== "" || url.password !== "") {
    throw refused(
      `${url.protocol}//…@${url.host}${url.pathname}`, // Without its password.
      "it carries a user or a password",
      "Remove them; they would show in lists and logs",
    );
  }
  url.hash = "";
  // A path or query that itself ends like a digest would read back as one.
  if (isDigest(urlDigest.exec(url.href)?.[1])) throw refused(text, "it has two digests");
  return { kind: "http", url: url.href, ...(digest ? { digest } : {}) };
}

function parseAppc(rest: string, text: string): AppcReference {
  const [head, ...pairs] = rest.split(",");
  const colon = head.indexOf(":");
  const name = colon < 0 ? head : head.slice(0, colon);
  const labels: Record<string, string> = {};
  if (!identifier.test(name)) {
    throw refused(
      text,
      `${quote(name)} is not an appc name`,
      "A name has lower-case letters and digits, single - . _ ~ / between them",
    );
  }
  if (colon >= 0) {
    labels.version = head.slice(colon + 1);
    if (labels.version === "") throw refused(text, 'nothing follows the ":"', "Add a version");
  }
  for (const pair of pairs) {
    const equals = pair.indexOf("=");
    const label = pair.slice(0, Math.max(equals, 0));
    const value = pair.slice(equals + 1);
    if (!identifier.test(label) || value === "") {
      throw refused(text, `${quote(pair)} is not a label`, 'Write "label=value"');
    }
    if (label === "name" || Object.hasOwn(labels, label)) {
      throw refused(text, `label ${quote(label)} is given twice`, "Give each label once");
    }
    labels[label] = value;
  }
  return { kind: "appc", name, labels };
}

function refused(text: string, why: string, fix?: string): KurmaError {
  return new KurmaError("invalid", `Cannot read image reference ${quote(text)}: ${why}`, { fix });
}
