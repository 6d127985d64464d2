/**
 * From a request's settings to the specification that the manager takes. What they say is
 * checked where every specification is: in validate.ts.
 *
 * @module
 */

import type { Duration } from "@bufbuild/protobuf/wkt";
import { KurmaError } from "../../ffi/errors.ts";
import type { ContainerSpec, PodSpec, ResourceSpec, RestartSpec } from "../containers/spec.ts";
import { parseContainerSpec, parsePodSpec, parseResourceSpec } from "../containers/validate.ts";
import type { Role } from "../remote/roles.ts";
import {
  ApiRole,
  type ContainerSettings,
  type CreateContainerRequest,
  type CreatePodRequest,
  type HealthCheck,
  HealthCheck_Action,
  type Mount,
  type Resources,
  type RestartPolicy,
  RestartPolicy_Mode,
  type Security,
} from "./kurma.gen.ts";

/** What a request to make a container asks for. */
export function containerSpec({ name, image, settings }: CreateContainerRequest): ContainerSpec {
  return parseContainerSpec(
    { image, ...(name === "" ? {} : { name }), ...plain(settings) },
    "the request",
  );
}

/**
 * What a request to make a pod asks for.
 *
 * @param manifest What its manifest says, which stands for its apps; the request goes over it.
 */
export function podSpec(request: CreatePodRequest, manifest?: PodSpec): PodSpec {
  const { name, apps, network, hostname, labels, resources } = request;
  if (resources && resources.processLimits.length > 0) {
    throw new KurmaError("invalid", "Cannot limit each process of a pod as a whole", {
      fix: "Say process_limits in the settings of its apps",
    });
  }
  return parsePodSpec({
    ...(manifest ?? {
      apps: apps.map((app) => ({ name: app.name, image: app.image, ...plain(app.settings) })),
    }),
    ...(name === "" ? {} : { name }),
    ...(hostname === "" ? {} : { hostname }),
    ...(network === "" ? {} : { namespaces: { ...manifest?.namespaces, network } }),
    labels: { ...manifest?.labels, ...labels },
    ...(resources ? { resources: { ...manifest?.resources, ...limits(resources) } } : {}),
  }, "the request");
}

/** The limits of an update. */
export function resourceSpec(resources: Resources): ResourceSpec {
  return parseResourceSpec(limits(resources), "the request");
}

/** The restart policy of an update. */
export function restartSpec(policy: RestartPolicy): RestartSpec {
  const modes = {
    [RestartPolicy_Mode.UNSPECIFIED]: "no",
    [RestartPolicy_Mode.NO]: "no",
    [RestartPolicy_Mode.ON_FAILURE]: "on-failure",
    [RestartPolicy_Mode.ALWAYS]: "always",
    [RestartPolicy_Mode.UNLESS_STOPPED]: "unless-stopped",
  } as const;
  const mode = modes[policy.mode];
  if (mode === undefined) throw new KurmaError("invalid", `Cannot use restart mode ${policy.mode}`);
  return {
    policy: mode,
    ...(policy.maxRetries > 0 && mode === "on-failure" ? { maxRetries: policy.maxRetries } : {}),
  };
}

/** Milliseconds; undefined if it is absent. */
export function milliseconds(duration: Duration | undefined): number | undefined {
  if (duration === undefined) return undefined;
  return Number(duration.seconds) * 1000 + Math.round(duration.nanos / 1e6);
}

/** Without the fields that are undefined. */
function present(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Undefined where there is nothing in it. */
function some<Value>(list: readonly Value[]): readonly Value[] | undefined {
  return list.length > 0 ? list : undefined;
}

function plain(settings: ContainerSettings | undefined): Record<string, unknown> {
  if (settings === undefined) return {};
  const [user, group] = splitUser(settings.user);
  const { terminalSize: size, log } = settings;
  if (log?.disabled) {
    throw new KurmaError("invalid", "Cannot make a container without a log", {
      fix: "Limit its size instead",
    });
  }
  if (settings.isolators.length > 0) {
    throw new KurmaError("invalid", "Cannot use isolators outside of a pod manifest", {
      fix: "Say the same with resources and security, or create a pod from a manifest",
    });
  }
  return present({
    command: some(settings.command),
    entrypoint: settings.entrypoint?.words,
    env: some(settings.env),
    workingDir: settings.workingDir,
    user,
    group,
    extraGroups: some(settings.groups.map(groupNumber)),
    hostname: settings.hostname,
    terminal: settings.terminal || undefined,
    consoleSize: size && size.rows > 0 ? { height: size.rows, width: size.columns } : undefined,
    openStdin: settings.openInput || undefined,
    labels: Object.keys(settings.labels).length > 0 ? settings.labels : undefined,
    mounts: some(settings.mounts.map(mount)),
    ...confinement(settings.security, settings.network),
    resources: settings.resources ? limits(settings.resources) : undefined,
    ulimits: some((settings.resources?.processLimits ?? []).map(({ type, soft, hard }) => ({
      name: type.toLowerCase().replace(/^rlimit_/, ""),
      soft: amount(soft),
      hard: amount(hard),
    }))),
    restart: settings.restart ? restartSpec(settings.restart) : undefined,
    healthCheck: settings.healthCheck ? healthCheck(settings.healthCheck) : undefined,
    stop: present({ signal: settings.stopSignal, limitMs: milliseconds(settings.stopTimeout) }),
    log: log && present({
      maxSize: number(log.maxFileBytes) || undefined,
      maxFiles: log.maxFiles || undefined,
    }),
    eventHandlers: eventHandlers(settings),
    autoRemove: settings.removeWhenEnded || undefined,
  });
}

/** `USER[:GROUP]`. */
function splitUser(text: string | undefined): [user?: string, group?: string] {
  if (text === undefined) return [];
  const colon = text.indexOf(":");
  return colon < 0 ? [text] : [text.slice(0, colon), text.slice(colon + 1)];
}

function groupNumber(text: string): number {
  if (/^[0-9]{1,10}$/.test(text)) return Number(text);
  throw new KurmaError("invalid", `Cannot use group ${JSON.stringify(text.slice(0, 80))}`, {
    fix: "Write groups besides the user's own as numbers",
  });
}

function mount({ target, readOnly, source, mountPoint }: Mount): unknown {
  if (mountPoint !== "") {
    throw new KurmaError("invalid", "Cannot fill a mount point by its name here", {
      fix: "Name the target; a pod's volume of the same name fills a mount point by itself",
    });
  }
  const common = { target, ...(readOnly ? { readOnly } : {}) };
  switch (source.case) {
    case "volume": {
      const { name, subPath } = source.value;
      return { type: "volume", source: name, ...common, ...(subPath === "" ? {} : { subPath }) };
    }
    case "bind": {
      const { path, recursive, idmap } = source.value;
      return {
        ...{ type: "bind", source: path, recursive, ...common },
        ...(idmap === undefined ? {} : { idmap }),
      };
    }
    case "tmpfs": {
      const { maxBytes, mode } = source.value;
      const size = number(maxBytes) || 64 * 1024 * 1024;
      return { type: "tmpfs", ...common, size, mode: mode || 0o755 };
    }
    default:
      throw new KurmaError(
        "invalid",
        `Cannot mount at ${JSON.stringify(target)}: nothing is named`,
        {
          fix: "Name a volume, a path of the host, or memory",
        },
      );
  }
}

function confinement(
  security: Security | undefined,
  network: string | undefined,
): Record<string, unknown> {
  const { capabilitiesAdd = [], capabilitiesDrop = [], devices = [] } = security ?? {};
  const namespaces = present({
    network,
    pid: security?.pidNamespace,
    ipc: security?.ipcNamespace,
    uts: security?.utsNamespace,
    user: security?.hostUsers ? "host" : undefined,
  });
  return {
    namespaces: Object.keys(namespaces).length > 0 ? namespaces : undefined,
    devices: some(devices.map(({ path, target, access }) => ({
      path,
      ...(target === "" ? {} : { target }),
      access: access || "rw",
    }))),
    sysctls: Object.keys(security?.sysctls ?? {}).length > 0 ? security?.sysctls : undefined,
    capabilities: capabilitiesAdd.length + capabilitiesDrop.length > 0
      ? { add: capabilitiesAdd, drop: capabilitiesDrop }
      : undefined,
    security: security && present({
      privileged: security.privileged || undefined,
      seccomp: seccomp(security.seccomp),
      noNewPrivileges: security.noNewPrivileges,
      readOnlyRoot: security.readOnlyRoot || undefined,
      landlock: json(security.landlock, "landlock"),
      apiAccess: security.apiAccess || undefined,
      apiRole: apiRoles[security.apiRole],
    }),
  };
}

const apiRoles: { readonly [role in ApiRole]?: Role } = {
  [ApiRole.VIEWER]: "viewer",
  [ApiRole.OPERATOR]: "operator",
  [ApiRole.ADMIN]: "admin",
};

function seccomp(text: string | undefined): unknown {
  if (text === undefined || text === "default") return text;
  return text === "none" || text === "unconfined" ? "unconfined" : json(text, "seccomp");
}

function json(text: string | undefined, field: string): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KurmaError("invalid", `Cannot read ${field}: it is no JSON`, { cause });
  }
}

function limits(resources: Resources): Record<string, unknown> {
  const { cpuMillis, memoryBytes, memoryReservationBytes, swapBytes, cpuWeight } = resources;
  const io = present({
    weight: resources.ioWeight,
    devices: some(resources.ioLimits.map((limit) =>
      present({
        path: limit.device,
        readBps: number(limit.readBytes) || undefined,
        writeBps: number(limit.writeBytes) || undefined,
        readIops: number(limit.readOperations) || undefined,
        writeIops: number(limit.writeOperations) || undefined,
      })
    )),
  });
  return present({
    cpus: cpuMillis === undefined ? undefined : number(cpuMillis) / 1000,
    cpuShares: cpuWeight === undefined ? undefined : sharesOf(cpuWeight),
    cpuset: resources.cpus,
    memory: memoryBytes === undefined ? undefined : number(memoryBytes) || -1,
    memoryReservation: memoryReservationBytes === undefined
      ? undefined
      : number(memoryReservationBytes),
    swap: swapBytes === undefined ? undefined : number(swapBytes),
    pids: resources.pids === 0 ? -1 : resources.pids,
    io: Object.keys(io).length > 0 ? io : undefined,
  });
}

/** The shares that come to a weight of 1 to 10,000: the inverse of what cgroups do with them. */
export function sharesOf(weight: number): number {
  const exponent = Math.log10(Math.max(weight, 1)) + 7 / 34;
  const logarithm = (Math.sqrt(125 ** 2 + 4 * 612 * exponent) - 125) / 2;
  return Math.min(Math.max(Math.round(2 ** logarithm), 2), 262_144);
}

function healthCheck(check: HealthCheck): unknown {
  const [kind, ...words] = check.test;
  const commands: Record<string, readonly string[] | undefined> = {
    NONE: [],
    CMD: words,
    "CMD-SHELL": ["/bin/sh", "-c", words[0] ?? ""],
  };
  const command = kind === undefined ? undefined : commands[kind];
  if (kind !== undefined && command === undefined) {
    throw new KurmaError(
      "invalid",
      "Cannot use the health check: it does not say how it is meant",
      {
        fix: 'Begin with "CMD", "CMD-SHELL" or "NONE"',
      },
    );
  }
  const actions = {
    [HealthCheck_Action.UNSPECIFIED]: "none",
    [HealthCheck_Action.NONE]: "none",
    [HealthCheck_Action.RESTART]: "restart",
    [HealthCheck_Action.STOP]: "stop",
  } as const;
  return present({
    command,
    intervalMs: milliseconds(check.interval),
    limitMs: milliseconds(check.timeout),
    startPeriodMs: milliseconds(check.startPeriod),
    retries: check.retries || undefined,
    action: actions[check.action],
  });
}

function eventHandlers({ eventHandlers, eventHandlerTimeout }: ContainerSettings): unknown {
  const limitMs = milliseconds(eventHandlerTimeout);
  if (eventHandlers.length === 0 && limitMs === undefined) return undefined;
  const keys: Record<string, string> = { "pre-start": "preStart", "post-stop": "postStop" };
  const commands = eventHandlers.map(({ name, command }) => [keys[name] ?? name, command]);
  return present({ ...Object.fromEntries(commands), limitMs });
}

/** A number of 64 bits that JavaScript has to hold. */
function number(value: bigint): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new KurmaError("invalid", `Cannot use ${value}: it is too large`);
}

/** Likewise for a limit, whose largest value means that there is none. */
function amount(value: bigint): number {
  return value === 0xffff_ffff_ffff_ffffn ? -1 : number(value);
}
