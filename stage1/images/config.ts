/**
 * From an OCI or Docker config to {@linkcode ImageConfig}: nothing passes that is not
 * what its field says.
 *
 * @module
 * @see OCI image-spec 1.1, config.md; Docker image-spec 1.3 for Healthcheck
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Healthcheck, ImageConfig } from "./image.ts";
import { type Digest, isDigest, quote } from "./sources/digest.ts";
import {
  isObject,
  type JsonObject,
  optionalText,
  parseJsonObject,
  texts,
  unreadable,
} from "./sources/json.ts";
import { formatPlatform, hostPlatform, runsOn } from "./sources/platform.ts";

/** A config, read. */
export interface OciConfig {
  readonly config: ImageConfig;
  /** Digests of the uncompressed layers, bottom first. */
  readonly diffIds: readonly Digest[];
}

/** More layers than this no overlay takes. */
const maxLayers = 500;

/**
 * Reads a config.
 *
 * @param what Names the config in messages.
 * @throws {KurmaError} `invalid`: not a config, or for another kind of machine.
 */
export function parseOciConfig(bytes: Uint8Array, what: string): OciConfig {
  const document = parseJsonObject(bytes, what);
  const platform = {
    os: optionalText(document, "os", what) ?? "",
    architecture: optionalText(document, "architecture", what) ?? "",
  };
  if (!runsOn(platform, hostPlatform())) {
    throw new KurmaError(
      "invalid",
      `Cannot use ${what}: it is for ${formatPlatform(platform)}, this machine is ${
        formatPlatform(hostPlatform())
      }`,
      { fix: "Get the image for this machine" },
    );
  }
  const settings = object(document, "config", what);
  const user = optionalText(settings, "User", what) ?? "";
  const colon = user.indexOf(":");
  const group = colon < 0 ? undefined : user.slice(colon + 1);
  const stopSignal = optionalText(settings, "StopSignal", what);
  const healthcheck = parseHealthcheck(settings, what);
  return {
    diffIds: diffIds(document, what),
    config: {
      entrypoint: list(settings, "Entrypoint", what),
      command: list(settings, "Cmd", what),
      env: environment(list(settings, "Env", what), what),
      user: printable(colon < 0 ? user : user.slice(0, colon), "user", what),
      ...(group ? { group: printable(group, "group", what) } : {}),
      workingDir: absolute(
        optionalText(settings, "WorkingDir", what) ?? "",
        "working directory",
        what,
      ),
      labels: texts(settings, "Labels", what),
      ...(stopSignal ? { stopSignal: printable(stopSignal, "stop signal", what) } : {}),
      volumes: Object.keys(object(settings, "Volumes", what))
        .map((path) => absolute(path, "volume", what)),
      exposedPorts: Object.keys(object(settings, "ExposedPorts", what))
        .map((port) => exposedPort(port, what)),
      ...(healthcheck ? { healthcheck } : {}),
    },
  };
}

/**
 * Checks that each is `NAME=value`, and keeps the last of each name. A bare name is
 * refused: some engines take it as a wish for the host's variable.
 *
 * @throws {KurmaError} `invalid`.
 */
export function environment(variables: readonly string[], what: string): string[] {
  const byName = new Map<string, string>();
  for (const variable of variables) {
    const equals = variable.indexOf("=");
    if (equals <= 0 || variable.includes("\0")) {
      throw unreadable(what, `environment entry ${quote(variable)} is not NAME=value`);
    }
    byName.set(variable.slice(0, equals), variable);
  }
  return [...byName.values()];
}

/** Checks a path of the container: absolute or empty, no NUL. */
export function absolute(path: string, field: string, what: string): string {
  if ((path !== "" && !path.startsWith("/")) || path.includes("\0") || path.length > 4095) {
    throw unreadable(what, `${field} ${quote(path)} is not an absolute path`);
  }
  return path;
}

/** Checks a word: no control characters, no spaces at its ends, at most 255 characters. */
export function printable(text: string, field: string, what: string): string {
  if (/[\p{Cc}]/u.test(text) || text.trim() !== text || text.length > 255) {
    throw unreadable(what, `${field} ${quote(text)} is not allowed`);
  }
  return text;
}

/** The texts under `key`; none if it is absent. */
export function list(parent: JsonObject, key: string, what: string): string[] {
  const value = Object.hasOwn(parent, key) ? parent[key] : undefined;
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.some((item) => typeof item !== "string")) {
    throw unreadable(what, `${quote(key)} is not a list of texts`);
  }
  const withNul = value.find((item: string) => item.includes("\0"));
  if (withNul !== undefined) throw unreadable(what, `${quote(key)} has a NUL in it`);
  return value;
}

function object(parent: JsonObject, key: string, what: string): JsonObject {
  const value = Object.hasOwn(parent, key) ? parent[key] : undefined;
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw unreadable(what, `${quote(key)} is not an object`);
  return value;
}

function diffIds(document: JsonObject, what: string): Digest[] {
  const rootfs = object(document, "rootfs", what);
  if (rootfs.type !== "layers") throw unreadable(what, "its rootfs is not made of layers");
  const ids = list(rootfs, "diff_ids", what);
  if (ids.length > maxLayers) throw unreadable(what, `it has more than ${maxLayers} layers`);
  return ids.map((id) => {
    if (isDigest(id) && id.startsWith("sha256:")) return id;
    throw unreadable(what, `diff id ${quote(id)} is not a sha256 digest`);
  });
}

function exposedPort(text: string, what: string): string {
  const port = /^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (port === null || Number(port[1]) > 65535 || Number(port[2] ?? 0) > 65535) {
    throw unreadable(what, `port ${quote(text)} is not PORT/PROTOCOL`);
  }
  return port[3] ? text : `${text}/tcp`;
}

function parseHealthcheck(settings: JsonObject, what: string): Healthcheck | undefined {
  const check = object(settings, "Healthcheck", what);
  const test = list(check, "Test", what);
  if (test.length === 0) return undefined;
  if (!["NONE", "CMD", "CMD-SHELL"].includes(test[0])) {
    throw unreadable(what, `health check ${quote(test[0])} is not NONE, CMD or CMD-SHELL`);
  }
  const fields = [
    ["interval", "Interval"],
    ["timeout", "Timeout"],
    ["startPeriod", "StartPeriod"],
    [
      "retries",
      "Retries",
    ],
  ] as const;
  const numbers = fields.flatMap(([name, key]) => {
    const value = check[key];
    if (value === undefined || value === null || value === 0) return [];
    if (!Number.isSafeInteger(value) || (value as number) < 0) {
      throw unreadable(what, `${quote(key)} is not a number`);
    }
    return [[name, value as number] as const];
  });
  return { test, ...Object.fromEntries(numbers) };
}
