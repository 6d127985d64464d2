/**
 * What a caller may not give to containers, though who may write to the socket may: what
 * kurma-api tells kurmad of its remote callers. Checked where the request, its manifest and
 * the image have come together, so that it is one check wherever it was asked for.
 *
 * @module
 */

import { posix } from "node:path";
import { KurmaError } from "../../ffi/errors.ts";
import type { Decision } from "../images/trust/policy.ts";
import { type Reach, requireAllowedName } from "../images/sources/reach.ts";
import { parseReference } from "../images/sources/reference.ts";
import { quote } from "../images/sources/digest.ts";
import {
  absolutePath,
  boolean,
  listOf,
  object,
  optional,
  pattern,
  type Schema,
  where,
  word,
} from "../schema.ts";
import { allCapabilities, defaultCapabilities } from "./capabilities.ts";
import type { Resolved } from "./resolve.ts";
import type { MountSpec, PodSpec, PodVolume } from "./spec.ts";

/** What gives a container some of the host, each by a word for policies. */
export const hostThings = [
  "privileged",
  "host-namespaces",
  "devices",
  "capabilities",
  "seccomp",
  "sysctls",
  "api-access",
] as const;

export type HostThing = typeof hostThings[number];

/** What is forbidden to a caller. */
export interface Restrictions extends Reach {
  readonly forbid: readonly HostThing[];
  /** Folders of the host that may be mounted, and what is below them. Left out: all of them. */
  readonly hostPaths?: readonly string[];
}

/** A folder or file of the host, as a prefix of others. */
export const hostPath: Schema<string> = where(
  absolutePath,
  (path) => posix.normalize(path) === path && (path === "/" || !path.endsWith("/")),
  "an absolute path without .., doubled slashes or one at its end",
);

/** A prefix of image names: a registry, or a part of one. */
export const imagePrefix: Schema<string> = pattern(
  /^[a-z0-9[\]:._~-]{1,255}(?:\/[a-z0-9._~-]{1,255}){0,31}$/,
  "a registry, or the beginning of an image's name, as in docker.io/library",
);

export const hostThing: Schema<HostThing> = word(...hostThings);

/** As it comes from the broker. What this version does not know, it refuses. */
export const restrictionsSchema: Schema<Restrictions> = object<Restrictions>({
  forbid: listOf(hostThing, hostThings.length),
  hostPaths: optional(listOf(hostPath, 128)),
  registries: optional(listOf(imagePrefix, 128)),
  signedImages: optional(boolean),
  remoteRegistries: optional(boolean),
});

/** Something of the host that a container or a pod has. */
export interface Hold {
  readonly thing: HostThing | "host-paths";
  /** In a sentence behind "has". */
  readonly words: string;
  /** Of the host, with `host-paths`. */
  readonly path?: string;
}

/** Parts of a container, of its confinement and of a pod that hold nothing of the host. */
type Harmless = {
  container:
    | ("args" | "env" | "workingDir" | "user" | "extraGroups" | "umask" | "terminal")
    | ("consoleSize" | "openStdin" | "hostname" | "annotations" | "allCapabilities" | "stop")
    | ("restart" | "healthCheck" | "log" | "eventHandlers" | "autoRemove" | "isolators");
  security: "noNewPrivileges" | "readOnlyRoot" | "landlock";
  pod:
    | ("name" | "labels" | "annotations" | "apps" | "share" | "hostname" | "resources")
    | "autoRemove";
};

/** Parts that are looked at below. */
type Judged = {
  container:
    | ("security" | "namespaces" | "devices" | "capabilities" | "sysctls" | "mounts")
    | ("ulimits" | "resources");
  security: "privileged" | "hostTree" | "apiRole" | "seccomp" | "maskedPaths" | "readOnlyPaths";
  pod: "namespaces" | "sysctls" | "volumes";
};

/** Nothing, until there is a part that nobody has thought about: then no call compiles. */
type Forgotten<Parts, Kind extends keyof Harmless> = Record<
  Exclude<keyof Parts, Harmless[Kind] | Judged[Kind]>,
  never
>;

/**
 * What a container has of the host, whoever asked for it.
 *
 * @param hostUsers Whether root inside is root outside.
 */
export function* holdsOf(
  meant: Resolved & Forgotten<Resolved, "container"> & {
    readonly security: Forgotten<Resolved["security"], "security">;
  },
  hostUsers: boolean,
): Iterable<Hold> {
  const { security, namespaces, devices, capabilities, sysctls, mounts, ulimits, resources } =
    meant;
  if (security.privileged) yield { thing: "privileged", words: "all rights of the host" };
  if (security.hostTree) yield { thing: "privileged", words: "the host's file tree" };
  if (security.maskedPaths !== undefined || security.readOnlyPaths !== undefined) {
    yield { thing: "privileged", words: "paths of /proc and /sys that others do not see" };
  }
  if (security.apiRole) yield { thing: "api-access", words: "the API of kurmad" };
  yield* namespaceHolds(namespaces);
  if (hostUsers && namespaces.user !== "host") yield hostUserIds;
  for (const { path } of devices) yield { thing: "devices", words: `the device "${path}"` };
  const more = capabilities.filter((name) => !defaultCapabilities.includes(name));
  if (more.length > 0) {
    const words = more.length === allCapabilities.length - defaultCapabilities.length
      ? "all capabilities"
      : more.join(", ");
    yield { thing: "capabilities", words };
  }
  // What without it takes CAP_SYS_NICE or CAP_SYS_RESOURCE.
  if (ulimits.some(({ name, soft, hard = soft }) => name === "rtprio" && hard !== 0)) {
    yield { thing: "capabilities", words: "a priority before all others of the host" };
  }
  if ((resources.oomScoreAdj ?? 0) < 0) {
    yield { thing: "capabilities", words: "precedence when the host has no memory left" };
  }
  if (security.seccomp !== "default") {
    yield { thing: "seccomp", words: "system calls beyond the default filter" };
  }
  yield* sysctlHolds(sysctls);
  for (const mount of mounts) {
    if (mount.type === "bind") yield pathHold(pathOf(mount.source, mount.subPath));
  }
}

/** What a pod has of the host beside its apps. */
export function* podHoldsOf(spec: PodSpec & Forgotten<PodSpec, "pod">): Iterable<Hold> {
  yield* namespaceHolds(spec.namespaces ?? {});
  yield* sysctlHolds(spec.sysctls ?? {});
  for (const { kind, source = "/", subPath } of spec.volumes ?? []) {
    if (kind === "host") yield pathHold(pathOf(source, subPath));
  }
}

const hostUserIds: Hold = { thing: "host-namespaces", words: "the host's users" };

function* namespaceHolds(namespaces: Partial<Resolved["namespaces"]>): Iterable<Hold> {
  for (const [kind, whose] of Object.entries(namespaces)) {
    if (whose !== "host") continue;
    if (kind === "user") yield hostUserIds;
    else yield { thing: "host-namespaces", words: `the host's ${kind} namespace` };
  }
}

function* sysctlHolds(sysctls: Readonly<Record<string, string>>): Iterable<Hold> {
  const [name] = Object.keys(sysctls);
  if (name !== undefined) yield { thing: "sysctls", words: `the kernel setting "${name}"` };
}

function pathHold(path: string): Hold {
  return { thing: "host-paths", words: `the host's path "${path}"`, path };
}

/** The path of the host that a mount of it shows. */
export function pathOf(source: string, subPath = ""): string {
  return posix.join(source, subPath);
}

/** The first of `holds` that is forbidden. */
export function forbiddenHold(
  holds: Iterable<Hold>,
  { forbid, hostPaths }: Restrictions,
): Hold | undefined {
  for (const hold of holds) {
    if (hold.thing !== "host-paths") {
      if (forbid.includes(hold.thing)) return hold;
    } else if (hostPaths !== undefined && coverOf(hostPaths, hold.path ?? "/") === undefined) {
      return hold;
    }
  }
}

/**
 * The outermost of `folders` that `path` is, or is below: what lies in it may have been
 * written by whoever may mount it, the folder itself may not.
 */
export function coverOf(folders: readonly string[], path: string): string | undefined {
  const normal = posix.normalize(path).replace(/(?<=.)\/$/, "");
  return folders
    .filter((folder) => folder === "/" || normal === folder || normal.startsWith(`${folder}/`))
    .sort((one, other) => one.length - other.length)[0];
}

/**
 * The same mounts; those of the host's paths are found from the folder that may be mounted,
 * without following a link: whoever writes there could put one that leads out of it.
 */
export function fromAllowedFolders(
  mounts: readonly MountSpec[],
  { hostPaths }: Restrictions,
): readonly MountSpec[] {
  if (hostPaths === undefined) return mounts;
  return mounts.map((mount) => {
    return mount.type === "bind" ? { ...mount, ...below(hostPaths, mount) } : mount;
  });
}

/** Likewise for the volumes of a pod. */
export function volumesFromAllowedFolders(
  volumes: readonly PodVolume[],
  { hostPaths }: Restrictions,
): readonly PodVolume[] {
  if (hostPaths === undefined) return volumes;
  return volumes.map((volume) => {
    if (volume.kind !== "host" || volume.source === undefined) return volume;
    return { ...volume, ...below(hostPaths, { ...volume, source: volume.source }) };
  });
}

function below(
  hostPaths: readonly string[],
  { source, subPath }: { readonly source: string; readonly subPath?: string },
): { source: string; subPath?: string } {
  const path = pathOf(source, subPath);
  const folder = coverOf(hostPaths, path);
  // What nothing covers stays as it is: it is refused by name.
  if (folder === undefined) return { source, ...(subPath === undefined ? {} : { subPath }) };
  const rest = posix.relative(folder, path);
  return { source: folder, ...(rest === "" ? {} : { subPath: rest }) };
}

/**
 * Refuses an image of the store that came from elsewhere than it may.
 *
 * @param pulled How it came; undefined if it was imported.
 * @throws {KurmaError} `denied`.
 */
export function requireOrigin(
  what: string,
  pulled: { readonly from: string; readonly trust: Decision } | undefined,
  restrictions: Restrictions,
): void {
  const reference = pulled === undefined ? undefined : parseReference(pulled.from);
  if (reference !== undefined && reference.kind !== "file" && reference.kind !== "stdin") {
    requireAllowedName(reference, what, restrictions);
  }
  if (!restrictions.signedImages || pulled?.trust.signer !== undefined) return;
  throw new KurmaError("denied", `Cannot use ${quote(what)}: nobody has signed it`, {
    fix: "Use an image that was pulled under a signed-by rule of policy.yaml",
  });
}
