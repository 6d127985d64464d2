/**
 * An ACI's manifest: appc ImageManifest 0.8, and what older ones wrote.
 *
 * @module
 * @see appc spec 0.8.11, aci.md and types.md
 */

import { absolute, environment, list, printable } from "./config.ts";
import { bareConfig, type ImageConfig, type MountPoint } from "./image.ts";
import { quote } from "./sources/digest.ts";
import {
  isObject,
  type JsonObject,
  optionalText,
  parseJsonObject,
  unreadable,
} from "./sources/json.ts";

/** Another image whose files lie below this one's. */
export interface AciDependency {
  readonly name: string;
  /** `sha512-HEX`: exactly that image. */
  readonly imageId?: string;
  readonly labels: Readonly<Record<string, string>>;
}

export interface AciManifest {
  /** An ACIdentifier such as `example.com/app`. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly config: ImageConfig;
  readonly dependencies: readonly AciDependency[];
  /** The only paths that the assembled root file system keeps; empty for all. */
  readonly pathWhitelist: readonly string[];
}

const identifier = /^[a-z0-9]+(?:[-._~/][a-z0-9]+)*$/;
const name = /^[a-z0-9]+(?:-[a-z0-9]+)*$/;
const version = /^[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]+)?$/;

/** What runs here, in appc's names. */
const machine: Readonly<Record<string, readonly string[]>> = {
  x86_64: ["amd64"],
  aarch64: ["aarch64", "arm64"],
};

/**
 * Reads a manifest.
 *
 * @param what Names it in messages.
 * @throws {KurmaError} `invalid`.
 */
export function parseAciManifest(bytes: Uint8Array, what: string): AciManifest {
  const document = parseJsonObject(bytes, what);
  if (document.acKind !== "ImageManifest") {
    throw unreadable(what, `its acKind is ${quote(String(document.acKind))}, not "ImageManifest"`);
  }
  const acVersion = optionalText(document, "acVersion", what) ?? "";
  if (!version.test(acVersion)) throw unreadable(what, "its acVersion is not a version");
  const imageName = optionalText(document, "name", what) ?? "";
  if (imageName.length > 255 || !identifier.test(imageName)) {
    throw unreadable(what, `name ${quote(imageName)} is not an appc identifier`);
  }
  const labels = pairs(document, "labels", what);
  if (Object.hasOwn(labels, "name")) throw unreadable(what, 'it has a label called "name"');
  checkMachine(labels, what);
  return {
    name: imageName,
    labels,
    config: parseApp(document, { ...pairs(document, "annotations", what), ...labels }, what),
    dependencies: objects(document, "dependencies", what).map((one) => dependency(one, what)),
    pathWhitelist: list(document, "pathWhitelist", what)
      .map((path) => whitelisted(path, what)),
  };
}

function checkMachine(labels: Readonly<Record<string, string>>, what: string): void {
  if (labels.os !== undefined && labels.os !== "linux") {
    throw unreadable(what, `it is for ${quote(labels.os)}, not "linux"`);
  }
  const { arch } = labels;
  if (arch !== undefined && !machine[Deno.build.arch].includes(arch)) {
    throw unreadable(what, `it is for ${quote(arch)}, not for this machine`);
  }
}

/**
 * The `app` of a manifest; an image without one is only there for others to depend on.
 *
 * @param document An object with the `app` in it.
 * @param labels Become those of the config.
 * @throws {KurmaError} `invalid`.
 */
export function parseApp(
  document: JsonObject,
  labels: Readonly<Record<string, string>>,
  what: string,
): ImageConfig {
  if (document.app === undefined || document.app === null) {
    return { ...bareConfig, labels };
  }
  const app = document.app;
  if (!isObject(app)) throw unreadable(what, '"app" is not an object');
  const user = optionalText(app, "user", what) ?? "";
  const group = optionalText(app, "group", what) ?? "";
  if (user === "" || group === "") throw unreadable(what, "its app has no user or no group");
  const mountPoints = objects(app, "mountPoints", what).map((one) => mountPoint(one, what));
  const gids = app.supplementaryGIDs ?? [];
  if (
    !Array.isArray(gids) ||
    !gids.every((gid) => Number.isInteger(gid) && gid >= 0 && gid < 2 ** 32 - 1)
  ) {
    throw unreadable(what, '"supplementaryGIDs" is not a list of group ids');
  }
  return {
    entrypoint: [],
    command: list(app, "exec", what),
    env: environment(variables(app, what), what),
    user: printable(user, "user", what),
    group: printable(group, "group", what),
    ...(gids.length > 0 ? { supplementaryGids: gids } : {}),
    workingDir: absolute(
      optionalText(app, "workingDirectory", what) ?? "",
      "working directory",
      what,
    ),
    labels,
    volumes: [],
    exposedPorts: objects(app, "ports", what).flatMap((one) => ports(one, what)),
    isolators: objects(app, "isolators", what).map((one) => ({
      name: requiredText(one, "name", what),
      value: one.value,
    })),
    mountPoints,
    eventHandlers: eventHandlers(app, what),
  };
}

/** `NAME=value` for each; names are C identifiers and stand once. */
function variables(app: JsonObject, what: string): string[] {
  const seen = new Set<string>();
  return objects(app, "environment", what).map((one) => {
    const variable = requiredText(one, "name", what);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable)) {
      throw unreadable(what, `${quote(variable)} is not a name of a variable`);
    }
    if (seen.has(variable)) throw unreadable(what, `variable ${quote(variable)} stands twice`);
    seen.add(variable);
    return `${variable}=${optionalText(one, "value", what) ?? ""}`;
  });
}

function mountPoint(one: JsonObject, what: string): MountPoint {
  const path = requiredText(one, "path", what);
  return {
    name: acName(requiredText(one, "name", what), what),
    path: absolute(path, "mount point", what),
    readOnly: one.readOnly === true,
  };
}

function ports(one: JsonObject, what: string): string[] {
  const { port, count = 1 } = one;
  acName(requiredText(one, "name", what), what);
  const protocol = requiredText(one, "protocol", what);
  const valid = Number.isInteger(port) && Number.isInteger(count) &&
    (port as number) >= 1 && (count as number) >= 1 &&
    (port as number) + (count as number) <= 65536;
  if (!valid || !["tcp", "udp", "sctp"].includes(protocol)) {
    throw unreadable(what, `port ${quote(String(port))} is not one`);
  }
  const last = (port as number) + (count as number) - 1;
  return [last === port ? `${port}/${protocol}` : `${port}-${last}/${protocol}`];
}

function eventHandlers(app: JsonObject, what: string) {
  const handlers = objects(app, "eventHandlers", what).map((one) => ({
    name: requiredText(one, "name", what),
    exec: list(one, "exec", what),
  }));
  for (const [at, { name, exec }] of handlers.entries()) {
    if (!["pre-start", "post-stop"].includes(name) || exec.length === 0) {
      throw unreadable(
        what,
        `event handler ${quote(name)} is not pre-start or post-stop with a command`,
      );
    }
    if (handlers.findIndex((other) => other.name === name) !== at) {
      throw unreadable(what, `event handler ${quote(name)} stands twice`);
    }
  }
  return handlers;
}

/** `imageName`, or `app` as manifests before 0.8 call it. */
function dependency(one: JsonObject, what: string): AciDependency {
  const dependencyName = optionalText(one, "imageName", what) ?? optionalText(one, "app", what) ??
    "";
  if (dependencyName.length > 255 || !identifier.test(dependencyName)) {
    throw unreadable(what, `dependency ${quote(dependencyName)} is not an appc identifier`);
  }
  const imageId = optionalText(one, "imageID", what);
  if (imageId !== undefined && !/^sha512-[0-9a-f]{128}$/.test(imageId)) {
    throw unreadable(what, `imageID ${quote(imageId)} is not sha512 in lower case`);
  }
  return {
    name: dependencyName,
    ...(imageId !== undefined ? { imageId } : {}),
    labels: pairs(one, "labels", what),
  };
}

/** An absolute path that leads nowhere else. */
function whitelisted(path: string, what: string): string {
  const names = absolute(path, "whitelisted path", what).split("/");
  if (path !== "" && names.every((name) => name !== ".." && name.length <= 255)) return path;
  throw unreadable(what, `whitelisted path ${quote(path)} is not one`);
}

/** A list of `{name, value}` as a record; names stand once. */
function pairs(parent: JsonObject, key: string, what: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const one of objects(parent, key, what)) {
    const pair = requiredText(one, "name", what);
    if (Object.hasOwn(found, pair)) {
      throw unreadable(what, `${quote(pair)} stands twice in ${quote(key)}`);
    }
    Object.defineProperty(found, pair, {
      value: optionalText(one, "value", what) ?? "",
      enumerable: true,
    });
  }
  return found;
}

function objects(parent: JsonObject, key: string, what: string): JsonObject[] {
  const value = Object.hasOwn(parent, key) ? parent[key] : undefined;
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || !value.every(isObject)) {
    throw unreadable(what, `${quote(key)} is not a list of objects`);
  }
  return value;
}

function requiredText(parent: JsonObject, key: string, what: string): string {
  const text = optionalText(parent, key, what);
  if (text === undefined) throw unreadable(what, `${quote(key)} is missing`);
  return text;
}

function acName(text: string, what: string): string {
  if (!name.test(text)) throw unreadable(what, `${quote(text)} is not an appc name`);
  return text;
}
