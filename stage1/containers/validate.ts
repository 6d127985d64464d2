/**
 * The schema of {@link ./spec.ts}: everything that a user may ask for, with its limits.
 *
 * @module
 */

import {
  absolutePath,
  accepts,
  boolean,
  bytes,
  changed,
  check,
  consistent,
  either,
  hostname,
  integer,
  kinds,
  listOf,
  mapOf,
  milliseconds,
  name,
  object,
  optional,
  pattern,
  relativePath,
  type Schema,
  secret,
  text,
  where,
  word,
} from "../schema.ts";
import {
  capabilities,
  device,
  memoryRules,
  podResources,
  resourceSpec,
  security,
  sysctlNamespace,
  sysctls,
  ulimits,
} from "./confinement.ts";
import { signalNumber } from "./signals.ts";
import {
  type AppSpec,
  type BindMount,
  type ConsoleSize,
  type ContainerSpec,
  defaults,
  type EventHandlerSpec,
  type HealthCheckSpec,
  type Joinable,
  type LogSpec,
  type MountSpec,
  type NamespaceSpec,
  type PodSpec,
  type PodVolume,
  type ResourceSpec,
  type RestartSpec,
  type StopSpec,
  type TmpfsMount,
  type VolumeMount,
} from "./spec.ts";

/**
 * What somebody asks for as a container.
 *
 * @throws {InvalidFields} naming each field and what it has to be.
 */
export function parseContainerSpec(value: unknown, what = "the container"): ContainerSpec {
  return check(containerSpec, value, what);
}

/**
 * What somebody asks for as a pod.
 *
 * @throws {InvalidFields}
 */
export function parsePodSpec(value: unknown, what = "the pod"): PodSpec {
  return check(podSpec, value, what);
}

/**
 * New limits for a container that runs.
 *
 * @throws {InvalidFields}
 */
export function parseResourceSpec(value: unknown, what = "the limits"): ResourceSpec {
  return check(resourceSpec, value, what);
}

/** What somebody asks for as a further process of a container. */
export interface FurtherSpec {
  /** `NAME=value`, over the container's. */
  readonly env?: readonly string[];
  readonly workingDir?: string;
  /** `USER[:GROUP]` */
  readonly user?: string;
}

/**
 * What somebody asks for as a further process of a container.
 *
 * @throws {InvalidFields}
 */
export function parseFurtherSpec(value: unknown, what = "the process"): FurtherSpec {
  return check(furtherSpec, value, what);
}

/** For schemas that hold limits of containers as well. */
export { resourceSpec as limitsSchema, ulimits as ulimitsSchema } from "./confinement.ts";

/** The kernel takes 128 KiB a word of a command line or an environment. execve(2) */
const maxWord = 128 * 1024 - 1;

/** Of a command with its environment; the kernel's own limit depends on the stack's. */
const maxWords = 1024 * 1024;

const words: Schema<readonly string[]> = where(
  listOf(text(maxWord), 4_096),
  (list) => list.reduce((sum, each) => sum + each.length, 0) <= maxWords,
  `at most ${maxWords} characters in all`,
);

const command: Schema<readonly string[]> = where(
  words,
  (list) => list[0] !== "",
  "a program first",
);

const environment: Schema<readonly string[]> = where(
  listOf(secret(/^[^=\0]{1,1024}=[^\0]*$/s, maxWord, "NAME=value"), 4_096),
  (list) => list.reduce((sum, each) => sum + each.length, 0) <= maxWords,
  `at most ${maxWords} characters in all`,
);

/** Keys as image labels and Kubernetes have them, and what people write. */
const labels: Schema<Readonly<Record<string, string>>> = mapOf(
  pattern(/^[^\p{Cc}\s=]{1,255}$/u, "1 to 255 characters without spaces, = and control characters"),
  text(64 * 1024),
  512,
);

/** A name or number of passwd(5) or group(5): no colon, nothing that does not print. */
const account: Schema<string> = pattern(
  /^(?!-)[^\p{Cc}\s:/]{1,255}$/u,
  "a user or group: a name or number",
);

/** Both in one, as commands write it. */
const accounts: Schema<string> = pattern(
  /^(?!-)[^\p{Cc}\s:/]{1,255}(:(?!-)[^\p{Cc}\s:/]{1,255})?$/u,
  "a user, or USER:GROUP: names or numbers",
);

const port: Schema<number> = integer(0, 65_535);

const consoleSize: Schema<ConsoleSize> = object<ConsoleSize>({ height: port, width: port });

const containerReference = pattern(
  /^container:[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/,
  '"container:" and its name or id',
) as Schema<`container:${string}`>;

const joinable: Schema<Joinable> = either(
  word("private", "host"),
  containerReference,
  '"private", "host" or "container:NAME"',
);

const namespaceSpec: Schema<NamespaceSpec> = object<NamespaceSpec>({
  network: optional(
    either(word("none", "host"), containerReference, '"none", "host" or "container:NAME"'),
  ),
  ipc: optional(joinable),
  pid: optional(joinable),
  uts: optional(joinable),
  cgroup: optional(word("private", "host")),
  user: optional(word("auto", "host")),
});

/** Where something may be mounted: over procfs it could undo what protects the machine. */
const target: Schema<string> = changed(
  where(
    absolutePath,
    (path) => !/^\/(?:proc(?:\/.*)?)?$/s.test(normal(path)),
    'a path inside other than "/" and /proc',
  ),
  normal,
);

/** Without empty and `.` parts. */
function normal(path: string): string {
  return `/${path.split("/").filter((part) => part !== "" && part !== ".").join("/")}`;
}

const mode: Schema<number> = integer(0, 0o7777);

const volumeMount: Schema<VolumeMount> = object<VolumeMount>({
  type: word("volume"),
  source: name,
  target,
  readOnly: optional(boolean),
  subPath: optional(relativePath),
  idmap: optional(boolean),
});

const bindMount: Schema<BindMount> = object<BindMount>({
  type: word("bind"),
  source: absolutePath,
  target,
  readOnly: optional(boolean),
  recursive: optional(boolean),
  subPath: optional(relativePath),
  idmap: optional(boolean),
  propagation: optional(word("private", "slave", "shared")),
  create: optional(boolean),
});

const tmpfsMount: Schema<TmpfsMount> = object<TmpfsMount>({
  type: word("tmpfs"),
  target,
  readOnly: optional(boolean),
  size: optional(bytes),
  mode: optional(mode),
  exec: optional(boolean),
});

const mount: Schema<MountSpec> = kinds<MountSpec, "type">("type", {
  volume: volumeMount,
  bind: bindMount,
  tmpfs: tmpfsMount,
});

const mounts: Schema<readonly MountSpec[]> = consistent(listOf(mount, 256), function* (list) {
  for (const [at, { target }] of list.entries()) {
    if (list.findIndex((other) => other.target === target) !== at) {
      yield [[at, "target"], `another mount is at "${target}"`];
    }
  }
});

const stop: Schema<StopSpec> = object<StopSpec>({
  signal: optional(
    where(
      text(16),
      (given) => signalNumber(given) !== undefined,
      "a signal as in SIGTERM, 15 or SIGRTMIN+3",
    ),
  ),
  limitMs: optional(milliseconds),
});

const restart: Schema<RestartSpec> = consistent(
  object<RestartSpec>({
    policy: word("no", "on-failure", "always", "unless-stopped"),
    maxRetries: optional(integer(1, 1_000_000)),
  }),
  function* ({ policy, maxRetries }) {
    if (maxRetries !== undefined && policy !== "on-failure") {
      yield [["maxRetries"], `means nothing with the policy "${policy}"`];
    }
  },
);

const healthCheck: Schema<HealthCheckSpec> = object<HealthCheckSpec>({
  command: optional(command),
  intervalMs: optional(integer(1, 8_640_000_000, "milliseconds")),
  limitMs: optional(integer(1, 8_640_000_000, "milliseconds")),
  startPeriodMs: optional(milliseconds),
  retries: optional(integer(1, 1_000_000)),
  action: optional(word("none", "restart", "stop")),
});

const log: Schema<LogSpec> = object<LogSpec>({
  maxSize: optional(integer(4_096, Number.MAX_SAFE_INTEGER, "bytes")),
  maxFiles: optional(integer(1, 1_000)),
});

const handler: Schema<readonly string[]> = where(
  command,
  (list) => list.length > 0,
  "a command",
);

const furtherSpec: Schema<FurtherSpec> = object<FurtherSpec>({
  env: optional(environment),
  workingDir: optional(absolutePath),
  user: optional(accounts),
});

const eventHandlers: Schema<EventHandlerSpec> = object<EventHandlerSpec>({
  preStart: optional(handler),
  postStop: optional(handler),
  limitMs: optional(integer(1, 8_640_000_000, "milliseconds")),
});

/** What a container of its own and one of a pod have in common. */
const common = {
  image: pattern(/^[^\p{Cc}\s](?:[^\p{Cc}]{0,1022}[^\p{Cc}\s])?$/u, "an image's name"),
  imageDefaults: optional(boolean),
  labels: optional(labels),
  annotations: optional(labels),
  command: optional(command),
  entrypoint: optional(command),
  env: optional(environment),
  workingDir: optional(absolutePath),
  user: optional(account),
  group: optional(account),
  extraGroups: optional(listOf(integer(0, 4_294_967_294), 1_024)),
  umask: optional(integer(0, 0o777)),
  terminal: optional(boolean),
  consoleSize: optional(consoleSize),
  openStdin: optional(boolean),
  hostname: optional(hostname),
  namespaces: optional(namespaceSpec),
  mounts: optional(mounts),
  devices: optional(listOf(device, 256)),
  resources: optional(resourceSpec),
  ulimits: optional(ulimits),
  sysctls: optional(sysctls),
  capabilities: optional(capabilities),
  security: optional(security),
  stop: optional(stop),
  restart: optional(restart),
  healthCheck: optional(healthCheck),
  log: optional(log),
  eventHandlers: optional(eventHandlers),
};

const containerSpec: Schema<ContainerSpec> = consistent(
  object<ContainerSpec>({ name: optional(name), ...common, autoRemove: optional(boolean) }),
  containerRules,
);

const appSpec: Schema<AppSpec> = consistent(
  object<AppSpec>({ name, ...common }),
  containerRules,
);

/** What does not go together in one container. */
function* containerRules(
  { namespaces = {}, hostname, sysctls = {}, security = {}, mounts = [] }: Omit<
    ContainerSpec,
    "name"
  >,
): Iterable<readonly [(string | number)[], string]> {
  const shares = (kind: "ipc" | "network" | "uts") =>
    (namespaces[kind] ?? "private") !== "private" && namespaces[kind] !== "none";
  if (hostname !== undefined && shares("uts")) {
    yield [["hostname"], `the UTS namespace is "${namespaces.uts}", whose host name it would be`];
  }
  for (const key of Object.keys(sysctls)) {
    const kind = sysctlNamespace(key);
    if (kind !== undefined && shares(kind)) {
      yield [["sysctls", key], `the ${kind} namespace is "${namespaces[kind]}", not its own`];
    }
  }
  if (security.hostTree && namespaces.user === "auto") {
    yield [["namespaces", "user"], "with the host's tree a container has the host's ids"];
  }
  if (security.privileged) {
    if (namespaces.user === "auto") {
      yield [["namespaces", "user"], "a privileged container has the host's ids"];
    }
    if (security.noNewPrivileges) {
      yield [["security", "noNewPrivileges"], "a privileged container may gain privileges"];
    }
  }
  for (const [at, mount] of mounts.entries()) {
    if (mount.type !== "tmpfs" && mount.idmap && namespaces.user === "host") {
      yield [["mounts", at, "idmap"], "the container has no ids of its own"];
    }
  }
}

const podVolume: Schema<PodVolume> = consistent(
  object<PodVolume>({
    name,
    kind: word("empty", "host", "named"),
    source: optional(text(4_095)),
    subPath: optional(relativePath),
    readOnly: optional(boolean),
    mode: optional(mode),
    uid: optional(integer(0, 65_535)),
    gid: optional(integer(0, 65_535)),
  }),
  function* ({ kind, source, subPath, mode, uid, gid }) {
    if (kind === "host" && (source === undefined || !accepts(absolutePath, source))) {
      yield [["source"], "expected an absolute path of the host without .."];
    }
    if (kind === "named" && source !== undefined && !accepts(name, source)) {
      yield [["source"], "expected the name of a volume"];
    }
    if (kind === "empty" && source !== undefined) {
      yield [["source"], "an empty volume comes from nowhere"];
    }
    if (kind === "empty" && subPath !== undefined) {
      yield [["subPath"], "an empty volume has nothing in it"];
    }
    if (kind !== "empty") {
      for (const [key, value] of Object.entries({ mode, uid, gid })) {
        if (value !== undefined) yield [[key], "only an empty volume is made anew"];
      }
    }
  },
);

const podNamespaces = object<NonNullable<PodSpec["namespaces"]>>({
  network: optional(
    either(word("none", "host"), containerReference, '"none", "host" or "container:NAME"'),
  ),
  ipc: optional(joinable),
  uts: optional(joinable),
  pid: optional(joinable),
  user: optional(word("auto", "host")),
});

const podSpec: Schema<PodSpec> = consistent(
  object<PodSpec>({
    name: optional(name),
    labels: optional(labels),
    annotations: optional(labels),
    apps: where(listOf(appSpec, 64), (apps) => apps.length > 0, "one app at least"),
    share: optional(listOf(word("network", "ipc", "uts", "pid"), 4)),
    namespaces: optional(podNamespaces),
    hostname: optional(hostname),
    sysctls: optional(sysctls),
    volumes: optional(listOf(podVolume, 256)),
    resources: optional(
      consistent(object<NonNullable<PodSpec["resources"]>>(podResources), memoryRules),
    ),
    autoRemove: optional(boolean),
  }),
  podRules,
);

/** What does not go together in one pod. */
function* podRules(
  { apps, share = defaults.podShare, namespaces = {}, hostname, sysctls = {}, volumes = [] }:
    PodSpec,
): Iterable<readonly [(string | number)[], string]> {
  for (const [at, { name }] of apps.entries()) {
    if (apps.findIndex((other) => other.name === name) !== at) {
      yield [["apps", at, "name"], `another app is called "${name}"`];
    }
  }
  for (const [at, { name }] of volumes.entries()) {
    if (volumes.findIndex((other) => other.name === name) !== at) {
      yield [["volumes", at, "name"], `another volume is called "${name}"`];
    }
  }
  for (const [at, app] of apps.entries()) {
    for (const kind of share) {
      if (app.namespaces?.[kind] !== undefined) {
        yield [["apps", at, "namespaces", kind], "the pod's apps share it: say it of the pod"];
      }
    }
    if (share.includes("uts") && app.hostname !== undefined) {
      yield [["apps", at, "hostname"], "the pod's apps share it: say it of the pod"];
    }
    if (app.namespaces?.user !== undefined) {
      yield [["apps", at, "namespaces", "user"], "the pod's apps share it: say it of the pod"];
    }
    if (namespaces.user === "auto" && (app.security?.privileged || app.security?.hostTree)) {
      yield [["namespaces", "user"], `"${app.name}" has the host's ids, and apps share them`];
    }
  }
  for (const kind of ["network", "ipc", "uts", "pid"] as const) {
    if (namespaces[kind] !== undefined && !share.includes(kind)) {
      yield [["namespaces", kind], "the pod's apps do not share it: say it of each app"];
    }
  }
  if (hostname !== undefined && (!share.includes("uts") || isForeign(namespaces.uts))) {
    yield [["hostname"], "the pod has no UTS namespace of its own"];
  }
  for (const key of Object.keys(sysctls)) {
    const kind = sysctlNamespace(key);
    if (kind !== undefined && (!share.includes(kind) || isForeign(namespaces[kind]))) {
      yield [["sysctls", key], `the pod has no ${kind} namespace of its own`];
    }
  }
}

function isForeign(namespace: string | undefined): boolean {
  return namespace !== undefined && namespace !== "private" && namespace !== "none";
}
