/**
 * From an image and what a user asks for to what is meant: every question answered, by
 * the request, else the image, else the daemon's configuration, else the defaults. Pure.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { bareConfig, type Healthcheck, type ImageConfig } from "../images/image.ts";
import { quote } from "../images/sources/digest.ts";
import { allCapabilities, capabilitySet, defaultCapabilities } from "./capabilities.ts";
import { isolate, type Outcome, type Privilege } from "./manifests/isolators.ts";
import { signalNumber } from "./signals.ts";
import {
  type ConsoleSize,
  type ContainerSpec,
  defaults,
  type DeviceSpec,
  type EventHandlerSpec,
  type HealthCheckSpec,
  type LogSpec,
  type MountSpec,
  type NamespaceSpec,
  type ResourceSpec,
  type RestartSpec,
  type SecuritySpec,
  type UlimitSpec,
} from "./spec.ts";

/** A container of which nothing is left open. */
export interface Resolved {
  readonly args: readonly string[];
  /** `NAME=value`, each name once. */
  readonly env: readonly string[];
  readonly workingDir: string;
  /** `user[:group]`, to be looked up in the image. */
  readonly user: string;
  readonly extraGroups: readonly number[];
  readonly umask: number | undefined;
  readonly terminal: boolean;
  readonly consoleSize: ConsoleSize | undefined;
  readonly openStdin: boolean;
  readonly hostname: string | undefined;
  readonly annotations: Readonly<Record<string, string>>;
  readonly namespaces: Required<NamespaceSpec>;
  readonly mounts: readonly MountSpec[];
  readonly devices: readonly DeviceSpec[];
  readonly resources: ResourceSpec;
  readonly ulimits: readonly UlimitSpec[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** The bounding set, as in `CAP_KILL`. */
  readonly capabilities: readonly string[];
  /** Whether that is so because all were asked for: then what the host lacks is left out. */
  readonly allCapabilities: boolean;
  readonly security: ResolvedSecurity;
  readonly stop: { readonly signal: number; readonly limitMs: number };
  readonly restart: RestartSpec;
  /** Undefined: there is no check. */
  readonly healthCheck: Required<HealthCheckSpec> | undefined;
  readonly log: Required<LogSpec>;
  readonly eventHandlers: EventHandlerSpec & { readonly limitMs: number };
  readonly autoRemove: boolean;
  /** What became of the image's isolators. */
  readonly isolators: readonly Outcome[];
}

/** With the default lists of paths where these are undefined; without `apiRole` there is no API. */
export type ResolvedSecurity =
  & Required<
    Pick<
      SecuritySpec,
      "privileged" | "seccomp" | "noNewPrivileges" | "readOnlyRoot" | "hostTree"
    >
  >
  & Pick<SecuritySpec, "maskedPaths" | "readOnlyPaths" | "landlock" | "apiRole">;

/** What the daemon's configuration says for all containers. */
export interface ContainerDefaults {
  readonly resources?: ResourceSpec;
  readonly ulimits?: readonly UlimitSpec[];
  readonly log?: LogSpec;
  /** Milliseconds. */
  readonly stopLimitMs?: number;
}

/** What the request and the image come to. */
export interface ResolveOptions {
  readonly defaults?: ContainerDefaults;
  /** Volumes of the pod: they fill an ACI's mount points of the same name. */
  readonly podVolumes?: readonly string[];
  /** The app's name within its pod. */
  readonly appName?: string;
}

/** Where a container finds the API it was given, as `kurma.sock`. The original had it there. */
export const apiInside = "/var/lib/kurma";

/** The search path of a container whose image sets none. appc spec 0.8.11, ace.md */
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/**
 * What `spec` on an image of that config means.
 *
 * @throws {KurmaError} `invalid`: there is no command, or the image says something that
 * cannot be; `denied`: the image wants a privilege that the request does not grant.
 */
export function resolve(
  image: ImageConfig,
  spec: ContainerSpec,
  options: ResolveOptions = {},
): Resolved {
  const config = spec.imageDefaults === false ? bareConfig : image;
  const what = `image ${quote(spec.image)}`;
  const given = options.defaults ?? {};
  const isolation = isolate(config.isolators ?? [], "image", what, grants(spec));
  const privileged = spec.security?.privileged ?? isolation.security.privileged ?? false;
  const hostTree = spec.security?.hostTree ?? isolation.hostTree;
  const security = {
    ...resolveSecurity(spec.security ?? {}, isolation.security, privileged),
    hostTree,
  };
  return {
    args: commandLine(config, spec),
    env: environment(config, spec, security, options.appName),
    workingDir: workingDir(config, spec),
    user: account(config, spec),
    extraGroups: [...new Set([...config.supplementaryGids ?? [], ...spec.extraGroups ?? []])],
    umask: spec.umask,
    terminal: spec.terminal ?? false,
    consoleSize: spec.consoleSize,
    openStdin: spec.openStdin ?? false,
    hostname: spec.hostname,
    annotations: spec.annotations ?? {},
    namespaces: {
      network: spec.namespaces?.network ?? "none",
      ipc: spec.namespaces?.ipc ?? "private",
      pid: spec.namespaces?.pid ?? "private",
      uts: spec.namespaces?.uts ?? "private",
      cgroup: spec.namespaces?.cgroup ?? "private",
      user: spec.namespaces?.user ?? (privileged || hostTree ? "host" : "auto"),
    },
    mounts: mounts(config, spec, options.podVolumes ?? [], security.readOnlyRoot),
    devices: spec.devices ?? [],
    resources: { ...given.resources, ...isolation.resources, ...spec.resources },
    ulimits: ulimits(given.ulimits ?? [], spec.ulimits ?? []),
    sysctls: spec.sysctls ?? {},
    capabilities: privileged ? allCapabilities : capabilitySet(
      spec.capabilities ?? {},
      defaultCapabilities.filter((name) => !isolation.capabilities?.drop?.includes(name)),
    ),
    allCapabilities: privileged || (spec.capabilities?.add?.includes("ALL") ?? false),
    security,
    stop: {
      signal: stopSignal(config, spec, what),
      limitMs: spec.stop?.limitMs ?? given.stopLimitMs ?? defaults.stopLimitMs,
    },
    restart: spec.restart ?? { policy: "no" },
    healthCheck: healthCheck(config.healthcheck, spec.healthCheck),
    log: {
      maxSize: spec.log?.maxSize ?? given.log?.maxSize ?? defaults.logMaxSize,
      maxFiles: spec.log?.maxFiles ?? given.log?.maxFiles ?? defaults.logMaxFiles,
    },
    eventHandlers: eventHandlers(config, spec),
    autoRemove: spec.autoRemove ?? false,
    isolators: isolation.outcomes,
  };
}

/** What the request lets its image have. */
function grants({ security = {} }: ContainerSpec): Privilege[] {
  return [
    ...(security.privileged ? ["os/linux/privileged" as const] : []),
    ...(security.privileged || security.hostTree ? ["host/privileged" as const] : []),
    ...(security.apiAccess ? ["host/api-access" as const] : []),
  ];
}

function resolveSecurity(
  wanted: SecuritySpec,
  image: SecuritySpec,
  privileged: boolean,
): Omit<ResolvedSecurity, "hostTree"> {
  return {
    privileged,
    seccomp: wanted.seccomp ?? (privileged ? "unconfined" : "default"),
    noNewPrivileges: wanted.noNewPrivileges ?? image.noNewPrivileges ?? !privileged,
    readOnlyRoot: wanted.readOnlyRoot ?? false,
    apiRole: wanted.apiAccess ?? image.apiAccess ? wanted.apiRole ?? "admin" : undefined,
    maskedPaths: wanted.maskedPaths ?? (privileged ? [] : undefined),
    readOnlyPaths: wanted.readOnlyPaths ?? (privileged ? [] : undefined),
    landlock: wanted.landlock,
  };
}

/** Entrypoint and command, as image-spec config.md says they combine. */
function commandLine(image: ImageConfig, { entrypoint, command = [] }: ContainerSpec): string[] {
  const asked = command.length > 0 || entrypoint !== undefined ? command : image.command;
  const args = [...(entrypoint ?? image.entrypoint), ...asked];
  if (args.length === 0 || args[0] === "") {
    throw new KurmaError("invalid", "Cannot start a container without a command", {
      fix: "Name one after the image: the image itself has none",
    });
  }
  return args;
}

/**
 * The image's variables with the request's over them, and what every container has: PATH
 * and `container`, TERM on a terminal, an ACI's AC_APP_NAME, where kurma finds the API.
 */
function environment(
  image: ImageConfig,
  { env = [], terminal, name }: ContainerSpec,
  { apiRole }: Pick<ResolvedSecurity, "apiRole">,
  appName = name,
): string[] {
  const variables = new Map([["PATH", defaultPath], ["container", "kurma"]]);
  if (terminal) variables.set("TERM", "xterm");
  if (apiRole !== undefined) variables.set("KURMA_HOST", `${apiInside}/kurma.sock`);
  if (image.isolators && appName !== undefined) variables.set("AC_APP_NAME", appName);
  for (const variable of [...image.env, ...env]) {
    const equals = variable.indexOf("=");
    variables.set(variable.slice(0, equals), variable.slice(equals + 1));
  }
  return [...variables].map(([name, value]) => `${name}=${value}`);
}

function workingDir(image: ImageConfig, spec: ContainerSpec): string {
  const path = spec.workingDir ?? (image.workingDir || "/");
  if (!path.startsWith("/")) {
    throw new KurmaError("invalid", `Cannot start in "${path}": it is not an absolute path`, {
      fix: "Name a working directory that starts with /",
    });
  }
  return path;
}

/** Whose group counts: the request's with the request's user, the image's with the image's. */
function account(image: ImageConfig, { user, group }: ContainerSpec): string {
  const theirs = image.group ? `:${image.group}` : "";
  const own = group === undefined ? undefined : `:${group}`;
  if (user !== undefined) return user + (own ?? "");
  return (image.user || "0") + (own ?? (image.user?.includes(":") ? "" : theirs));
}

/**
 * The request's mounts; then those that an ACI has mount points for and the pod a volume
 * of the same name. Where the root cannot be written, what the image wants to write to
 * is memory.
 */
function mounts(
  image: ImageConfig,
  { mounts = [] }: ContainerSpec,
  podVolumes: readonly string[],
  readOnlyRoot: boolean,
): MountSpec[] {
  const taken = new Set(mounts.map(({ target }) => target));
  const filled: MountSpec[] = [];
  const points = image.mountPoints ?? [];
  const places = [
    ...points.map((point) => ({ ...point, writable: !point.readOnly })),
    ...image.volumes.map((path) => ({ name: "", path, readOnly: false, writable: true })),
  ];
  for (const { name, path, readOnly, writable } of places) {
    if (taken.has(path)) continue;
    if (podVolumes.includes(name)) {
      filled.push({ type: "volume", source: name, target: path, readOnly });
    } else if (readOnlyRoot && writable) {
      filled.push({ type: "tmpfs", target: path, mode: 0o755, exec: true });
    } else continue;
    taken.add(path);
  }
  return [...mounts, ...filled];
}

/** The request's, and the configuration's of other names. */
function ulimits(configured: readonly UlimitSpec[], wanted: readonly UlimitSpec[]): UlimitSpec[] {
  const others = configured.filter(({ name }) => !wanted.some((limit) => limit.name === name));
  return [...wanted, ...others];
}

function stopSignal(image: ImageConfig, spec: ContainerSpec, what: string): number {
  const text = spec.stop?.signal ?? image.stopSignal ?? defaults.stopSignal;
  const number = signalNumber(text);
  if (number !== undefined) return number;
  throw new KurmaError("invalid", `Cannot use ${what}: its stop signal is ${quote(text)}`, {
    fix: "Name a stop signal in the request, as in SIGTERM",
  });
}

/** The request's check over the image's, field by field. */
function healthCheck(
  image: Healthcheck | undefined,
  wanted: HealthCheckSpec = {},
): Required<HealthCheckSpec> | undefined {
  const command = wanted.command ?? imageCheck(image?.test ?? []);
  if (command.length === 0) return undefined;
  const milliseconds = (nanoseconds: number | undefined) =>
    nanoseconds === undefined ? undefined : Math.max(1, Math.round(nanoseconds / 1e6));
  return {
    command,
    intervalMs: wanted.intervalMs ?? milliseconds(image?.interval) ?? defaults.healthIntervalMs,
    limitMs: wanted.limitMs ?? milliseconds(image?.timeout) ?? defaults.healthLimitMs,
    startPeriodMs: wanted.startPeriodMs ?? milliseconds(image?.startPeriod) ?? 0,
    retries: wanted.retries ?? image?.retries ?? defaults.healthRetries,
    action: wanted.action ?? "none",
  };
}

/** Docker image-spec 1.3, "Healthcheck": the first word says how the others are meant. */
function imageCheck([kind, ...words]: readonly string[]): readonly string[] {
  if (kind === "CMD") return words;
  return kind === "CMD-SHELL" && words.length > 0 ? ["/bin/sh", "-c", words[0]] : [];
}

function eventHandlers(image: ImageConfig, { eventHandlers = {} }: ContainerSpec) {
  const find = (name: string) =>
    image.eventHandlers?.find((handler) => handler.name === name)?.exec;
  const preStart = eventHandlers.preStart ?? find("pre-start");
  const postStop = eventHandlers.postStop ?? find("post-stop");
  return {
    ...(preStart ? { preStart } : {}),
    ...(postStop ? { postStop } : {}),
    limitMs: eventHandlers.limitMs ?? defaults.handlerLimitMs,
  };
}
