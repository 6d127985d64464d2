/**
 * What is known of containers, pods and volumes, as messages of the API.
 *
 * @module
 */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Duration,
  DurationSchema,
  type Timestamp,
  TimestampSchema,
} from "@bufbuild/protobuf/wkt";
import type { Event as Happening } from "../containers/events.ts";
import { isUp } from "../containers/host.ts";
import type { Manager } from "../containers/manager.ts";
import type { Container as Record, Exit, Phase, Pod as PodRecord } from "../containers/record.ts";
import { pathOf } from "../containers/restrictions.ts";
import type { MountSpec, ResourceSpec, RestartSpec } from "../containers/spec.ts";
import { volumeFolder } from "../containers/volumes.ts";
import type { Volume as VolumeRecord } from "../containers/record.ts";
import type { Role } from "../remote/roles.ts";
import {
  ApiRole,
  type Container,
  ContainerSchema,
  type ContainerSettings,
  ContainerSettingsSchema,
  ContainerState,
  type Event,
  Event_Subject,
  EventSchema,
  type ExitStatus,
  ExitStatusSchema,
  Health,
  HealthCheck_Action,
  MountSchema,
  type Pod,
  PodSchema,
  ResourcesSchema,
  RestartPolicy_Mode,
  type Volume,
  VolumeSchema,
} from "./kurma.gen.ts";

/** Milliseconds since 1970 as a message. */
export function timestamp(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return create(TimestampSchema, {
    seconds: BigInt(seconds),
    nanos: Math.round((ms - seconds * 1000) * 1e6),
  });
}

/** A message as milliseconds since 1970. */
export function timeOf(time: Timestamp | undefined): number | undefined {
  return time && Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6);
}

/** Milliseconds as a message. */
export function duration(ms: number): Duration {
  const seconds = Math.trunc(ms / 1000);
  return create(DurationSchema, {
    seconds: BigInt(seconds),
    nanos: Math.round((ms - seconds * 1000) * 1e6),
  });
}

const states: { readonly [phase in Phase]: ContainerState } = {
  new: ContainerState.NEW,
  starting: ContainerState.STARTING,
  running: ContainerState.RUNNING,
  stopping: ContainerState.STOPPING,
  stopped: ContainerState.STOPPED,
  exited: ContainerState.EXITED,
};

const apiRoles: { readonly [role in Role]: ApiRole } = {
  viewer: ApiRole.VIEWER,
  operator: ApiRole.OPERATOR,
  admin: ApiRole.ADMIN,
};

const healths = {
  starting: Health.STARTING,
  healthy: Health.HEALTHY,
  unhealthy: Health.UNHEALTHY,
} as const;

/** The state of a container; one that waits for its next try is on its way. */
export function stateOf(manager: Manager, container: Record): ContainerState {
  const waits = !isUp(container) && manager.host.live.find(container).restart !== undefined;
  return waits ? ContainerState.STARTING : states[container.status.phase];
}

/** An end as a message. */
export function exitStatus({ code, signal = 0, oom }: Exit, endedAt?: number): ExitStatus {
  return create(ExitStatusSchema, {
    code,
    signal,
    outOfMemory: oom,
    ...(endedAt === undefined ? {} : { time: timestamp(endedAt) }),
  });
}

/**
 * A container as a message.
 *
 * @param whole With all its settings; otherwise with its labels.
 */
export function containerMessage(manager: Manager, container: Record, whole = true): Container {
  const { status, spec } = container;
  const { restart } = manager.host.live.find(container);
  return create(ContainerSchema, {
    id: container.id,
    name: container.name,
    state: stateOf(manager, container),
    reason: status.reason ?? "",
    paused: status.paused,
    health: status.health ? healths[status.health.state] : Health.UNSPECIFIED,
    image: container.image.name,
    imageId: container.image.id,
    podId: container.pod ?? "",
    pid: status.pid ?? 0,
    exit: status.exit && exitStatus(status.exit, status.endedAt),
    restarts: status.restarts,
    createTime: timestamp(container.createdAt),
    startTime: status.startedAt === undefined ? undefined : timestamp(status.startedAt),
    nextStartTime: restart && timestamp(restart.at),
    settings: whole
      ? settingsMessage(manager, container)
      : create(ContainerSettingsSchema, { labels: { ...spec.labels } }),
  });
}

/** What it was made from, with the image's words filled in where the image is there. */
function settingsMessage(manager: Manager, container: Record): ContainerSettings {
  const { spec } = container;
  const { meant } = manager.host.live.find(container);
  const { security, namespaces, healthCheck } = spec;
  const check = meant?.healthCheck ?? healthCheck;
  return create(ContainerSettingsSchema, {
    command: meant ? [...meant.args] : [...spec.command ?? []],
    entrypoint: meant ? undefined : spec.entrypoint && { words: [...spec.entrypoint] },
    env: [...meant?.env ?? spec.env ?? []],
    workingDir: meant?.workingDir ?? spec.workingDir,
    user: meant?.user ?? spec.user,
    groups: (spec.extraGroups ?? []).map(String),
    hostname: meant?.hostname ?? spec.hostname,
    terminal: spec.terminal ?? false,
    openInput: spec.openStdin ?? false,
    labels: { ...spec.labels },
    mounts: (meant?.mounts ?? spec.mounts ?? []).map(mountMessage),
    network: meant?.namespaces.network ?? namespaces?.network,
    resources: resourcesMessage(meant?.resources ?? spec.resources ?? {}, spec.ulimits ?? []),
    security: {
      privileged: security?.privileged ?? false,
      capabilitiesAdd: [...spec.capabilities?.add ?? []],
      capabilitiesDrop: [...spec.capabilities?.drop ?? []],
      noNewPrivileges: meant?.security.noNewPrivileges ?? security?.noNewPrivileges,
      seccomp: seccompText(security?.seccomp),
      hostUsers: container.range === undefined,
      readOnlyRoot: security?.readOnlyRoot ?? false,
      apiAccess: security?.apiAccess ?? false,
      apiRole: security?.apiRole && apiRoles[security.apiRole],
      devices: (spec.devices ?? []).map(({ path, target = "", access = "rwm" }) => ({
        ...{ path, target, access },
      })),
      sysctls: { ...spec.sysctls },
      pidNamespace: namespaces?.pid,
      ipcNamespace: namespaces?.ipc,
      utsNamespace: namespaces?.uts,
      landlock: security?.landlock && JSON.stringify(security.landlock),
    },
    restart: restartMessage(spec.restart ?? { policy: "no" }),
    healthCheck: check && {
      test: ["CMD", ...check.command ?? []],
      interval: check.intervalMs === undefined ? undefined : duration(check.intervalMs),
      timeout: check.limitMs === undefined ? undefined : duration(check.limitMs),
      startPeriod: check.startPeriodMs === undefined ? undefined : duration(check.startPeriodMs),
      retries: check.retries,
      action: {
        none: HealthCheck_Action.NONE,
        restart: HealthCheck_Action.RESTART,
        stop: HealthCheck_Action.STOP,
      }[check.action ?? "none"],
    },
    stopSignal: meant ? String(meant.stop.signal) : spec.stop?.signal,
    stopTimeout: meant ? duration(meant.stop.limitMs) : undefined,
    log: meant && { maxFileBytes: BigInt(meant.log.maxSize), maxFiles: meant.log.maxFiles },
    removeWhenEnded: spec.autoRemove ?? false,
    eventHandlers: [
      ...named("pre-start", meant?.eventHandlers.preStart),
      ...named("post-stop", meant?.eventHandlers.postStop),
    ],
    eventHandlerTimeout: meant && duration(meant.eventHandlers.limitMs),
  });
}

function named(name: string, command: readonly string[] | undefined) {
  return command ? [{ name, command: [...command] }] : [];
}

function mountMessage(mount: MountSpec): MessageInitShape<typeof MountSchema> {
  const common = { target: mount.target, readOnly: mount.readOnly ?? false };
  switch (mount.type) {
    case "volume":
      return {
        ...common,
        source: { case: "volume", value: { name: mount.source, subPath: mount.subPath ?? "" } },
      };
    case "bind": {
      const { source, subPath, recursive = true, idmap } = mount;
      const path = pathOf(source, subPath);
      return { ...common, source: { case: "bind", value: { path, recursive, idmap } } };
    }
    case "tmpfs": {
      const { size = 0, mode = 0o1777 } = mount;
      return { ...common, source: { case: "tmpfs", value: { maxBytes: BigInt(size), mode } } };
    }
  }
}

function resourcesMessage(
  resources: ResourceSpec,
  ulimits: readonly { name: string; soft: number; hard?: number }[],
): MessageInitShape<typeof ResourcesSchema> {
  const big = (value: number | undefined) => value === undefined ? undefined : BigInt(value);
  const limit = (value: number) => value < 0 ? 0xffff_ffff_ffff_ffffn : BigInt(value);
  return {
    cpuMillis: big(resources.cpus === undefined ? undefined : Math.round(resources.cpus * 1000)),
    cpus: resources.cpuset,
    memoryBytes: resources.memory === undefined ? undefined : big(Math.max(0, resources.memory)),
    memoryReservationBytes: big(resources.memoryReservation),
    swapBytes: resources.swap === undefined ? undefined : big(Math.max(0, resources.swap)),
    pids: resources.pids === undefined ? undefined : Math.max(0, resources.pids),
    ioWeight: resources.io?.weight,
    processLimits: ulimits.map(({ name, soft, hard = soft }) => ({
      type: name,
      soft: limit(soft),
      hard: limit(hard),
    })),
  };
}

function restartMessage({ policy, maxRetries = 0 }: RestartSpec) {
  const modes = {
    no: RestartPolicy_Mode.NO,
    "on-failure": RestartPolicy_Mode.ON_FAILURE,
    always: RestartPolicy_Mode.ALWAYS,
    "unless-stopped": RestartPolicy_Mode.UNLESS_STOPPED,
  } as const;
  return { mode: modes[policy], maxRetries };
}

function seccompText(seccomp: string | object | undefined): string | undefined {
  if (typeof seccomp === "object") return JSON.stringify(seccomp);
  return seccomp === "unconfined" ? "none" : seccomp;
}

/**
 * A pod with its containers as a message.
 *
 * @param whole With its manifest and all settings of its containers.
 */
export function podMessage(manager: Manager, pod: PodRecord, whole = true): Pod {
  const apps = manager.pods.apps(pod);
  return create(PodSchema, {
    id: pod.id,
    name: pod.name,
    state: states[manager.pods.phase(pod)],
    reason: apps.find(({ status }) => status.reason)?.status.reason ?? "",
    containers: apps.map((app) => containerMessage(manager, app, whole)),
    createTime: timestamp(pod.createdAt),
    labels: { ...pod.spec.labels },
    manifest: whole ? pod.manifest ?? "" : "",
    network: pod.spec.namespaces?.network ?? "none",
    hostname: pod.spec.hostname ?? pod.name,
  });
}

/** A volume as a message. */
export function volumeMessage(
  manager: Manager,
  { name, labels, createdAt, quota }: VolumeRecord,
  containers: readonly string[],
): Volume {
  return create(VolumeSchema, {
    name,
    path: volumeFolder(manager.host, name),
    labels: { ...labels },
    quotaBytes: BigInt(quota?.bytes ?? 0),
    createTime: timestamp(createdAt),
    containers: [...containers],
  });
}

const subjects = {
  container: Event_Subject.CONTAINER,
  pod: Event_Subject.POD,
  volume: Event_Subject.VOLUME,
  image: Event_Subject.IMAGE,
  daemon: Event_Subject.DAEMON,
} as const;

/** Something that happened as a message. */
export function eventMessage(event: Happening): Event {
  const { code, signal, oom, ...attributes } = event.attributes ?? {};
  return create(EventSchema, {
    sequence: BigInt(event.sequence),
    time: timestamp(event.time),
    subject: subjects[event.kind],
    id: event.id,
    name: event.name,
    action: event.action,
    exit: event.action === "exit"
      ? exitStatus(
        { code: Number(code), signal: Number(signal ?? 0), oom: oom === "true" },
        event.time,
      )
      : undefined,
    attributes: event.action === "exit" ? attributes : { ...event.attributes },
  });
}
