/**
 * From what is meant and the places that this host has for it to the plan for stage2:
 * one pure function.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import {
  type Config,
  type Device,
  type Envelope,
  type Namespace,
  ociVersion,
  type Plan,
  type Resources,
  unlimited,
} from "../../stage2/spec.ts";
import { defaultMounts, mountsOf, type Place } from "./plan_mounts.ts";
import type { Resolved } from "./resolve.ts";
import type { ResourceSpec, UlimitSpec } from "./spec.ts";

export type { DeviceNode, Place } from "./plan_mounts.ts";

/** What procfs and sysfs would tell of the machine, or let break. */
const maskedPaths = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];

const readonlyPaths = [
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/**
 * The plan for one container.
 *
 * @throws {KurmaError} `invalid`: it joins two containers that have different users;
 * `missing`: it names a device or a volume that `place` does not have; `state`: a
 * container that it joins does not run.
 */
export function planContainer(place: Place, meant: Resolved): Plan {
  const { security } = meant;
  const ownUsers = place.firstId !== undefined;
  const { own, join } = namespaces(place, meant, ownUsers);
  const mappings = place.firstId === undefined
    ? undefined
    : [{ containerID: 0, hostID: place.firstId, size: 65_536 }];
  const devices = nodes(place, meant);
  const resources = resourcesOf(place, meant, devices);
  const custom = typeof security.seccomp === "object" ? security.seccomp : undefined;
  const config: Config = {
    ociVersion,
    process: processOf(meant, capabilitiesOf(place, meant)),
    root: { readonly: security.readOnlyRoot },
    ...(own.includes("uts") ? { hostname: meant.hostname ?? place.id.slice(0, 12) } : {}),
    mounts: [...defaultMounts(meant, ownUsers), ...mountsOf(place, meant, ownUsers)],
    ...(Object.keys(meant.annotations).length > 0 ? { annotations: meant.annotations } : {}),
    linux: {
      namespaces: own.map((type) => ({ type })),
      uidMappings: mappings,
      gidMappings: mappings,
      ...(resources ? { resources } : {}),
      ...(devices.length > 0 ? { devices } : {}),
      ...(Object.keys(meant.sysctls).length > 0 ? { sysctl: meant.sysctls } : {}),
      ...(custom ? { seccomp: custom } : {}),
      maskedPaths: security.maskedPaths ?? maskedPaths,
      readonlyPaths: security.readOnlyPaths ?? readonlyPaths,
    },
  };
  const kurma: Envelope = {
    id: place.id,
    layers: place.layers,
    scratch: place.scratch,
    ...(place.ephemeral ? { ephemeral: true } : {}),
    user: meant.user,
    seccomp: security.seccomp === "default" ? "default" : "none",
    // The end of its first process ends all only where that one is the first of a namespace.
    ...(meant.namespaces.pid === "private" ? {} : { cgroup: true }),
    ...(security.landlock ? { landlock: security.landlock } : {}),
    ...(join.length > 0 ? { join } : {}),
    stop: meant.stop,
  };
  return { kurma, config };
}

/** With users of its own a container has all capabilities, over its own things alone. */
function capabilitiesOf(place: Place, { capabilities, allCapabilities }: Resolved) {
  if (place.firstId !== undefined || !allCapabilities) return capabilities;
  return capabilities.filter((name) => place.capabilities?.includes(name) ?? true);
}

function processOf(meant: Resolved, capabilities: readonly string[]): Config["process"] {
  const { security, umask, extraGroups, resources } = meant;
  const user = {
    ...(umask === undefined ? {} : { umask }),
    ...(extraGroups.length > 0 ? { additionalGids: extraGroups } : {}),
  };
  return {
    terminal: meant.terminal,
    consoleSize: meant.consoleSize,
    args: meant.args,
    env: meant.env,
    cwd: meant.workingDir,
    noNewPrivileges: security.noNewPrivileges,
    // Inheritable and ambient stay empty: CVE-2022-24769.
    capabilities: {
      bounding: capabilities,
      effective: capabilities,
      permitted: capabilities,
      inheritable: [],
      ambient: [],
    },
    ...(Object.keys(user).length > 0 ? { user } : {}),
    ...(meant.ulimits.length > 0 ? { rlimits: meant.ulimits.map(rlimit) } : {}),
    ...(resources.oomScoreAdj === undefined ? {} : { oomScoreAdj: resources.oomScoreAdj }),
  };
}

function rlimit({ name, soft, hard = soft }: UlimitSpec) {
  const amount = (limit: number) => limit === -1 ? unlimited : limit;
  return { type: `RLIMIT_${name.toUpperCase()}`, soft: amount(soft), hard: amount(hard) };
}

/** The namespaces it gets new, and those that it enters with their containers' ids. */
function namespaces(
  place: Place,
  { namespaces }: Resolved,
  ownUsers: boolean,
): { own: Namespace[]; join: NonNullable<Envelope["join"]> } {
  const wanted: [Namespace, string][] = [
    ["pid", namespaces.pid],
    ["ipc", namespaces.ipc],
    ["uts", namespaces.uts],
    ["cgroup", namespaces.cgroup],
    ["network", namespaces.network === "none" ? "private" : namespaces.network],
  ];
  const joined = wanted.flatMap(([type, whose]) => {
    if (!whose.startsWith("container:")) return [];
    return [{ type, container: joinable(place, whose.slice("container:".length)) }];
  });
  const own = wanted.filter(([, whose]) => whose === "private").map(([type]) => type);
  if (!ownUsers) return { own: ["mount", ...own], join: joined };
  const owners = new Set(joined.map(({ container }) => container));
  if (owners.size > 1) {
    const message = `Cannot join ${[...owners].map((owner) => `"${owner}"`).join(" and ")}: ` +
      "each has users of its own";
    throw new KurmaError("invalid", message, {
      fix: "Join one container only, or start all of them with the host's users",
    });
  }
  // A namespace answers to the users that made it: who enters one has to be among them.
  const [owner] = owners;
  return owner === undefined
    ? { own: ["mount", ...own, "user"], join: [] }
    : { own: ["mount", ...own], join: [...joined, { type: "user", container: owner }] };
}

function joinable(place: Place, container: string): string {
  const found = place.containers?.get(container);
  if (found !== undefined) return found;
  throw new KurmaError("state", `Cannot join container "${container}": it does not run`, {
    fix: "Start it first",
  });
}

/** Device nodes to make; a privileged container has those of the host's /dev besides. */
function nodes(place: Place, { devices, security }: Resolved): Device[] {
  const named = new Set(devices.map(({ path, target = path }) => target));
  const all = security.privileged
    ? [...place.devices ?? []].map(([path, { mode, ...node }]) => ({
      ...node,
      path,
      fileMode: mode,
    }))
    : [];
  const asked = devices.map(({ path, target = path }) => {
    const { mode, ...numbers } = node(place, path);
    return { ...numbers, path: target, fileMode: mode };
  });
  return [...all.filter(({ path }) => !named.has(path)), ...asked];
}

function node(place: Place, path: string) {
  const found = place.devices?.get(path);
  if (found) return found;
  throw new KurmaError("missing", `Cannot use "${path}": the host has no such device`, {
    fix: "Name a character or block device of the host, as in /dev/fuse",
  });
}

/** Undefined if nothing is limited and no device is let in. */
function resourcesOf(
  place: Place,
  { resources: wanted, devices, security }: Resolved,
  made: readonly Device[],
): Resources | undefined {
  const rules: Resources["devices"] = security.privileged
    ? [{ allow: true, access: "rwm" }]
    : made.map(({ type, major, minor }, at) => {
      return { allow: true, type, major, minor, access: devices[at].access ?? "rwm" };
    });
  const resources: Resources = {
    ...limitsOf(place, wanted),
    ...(rules.length > 0 ? { devices: rules } : {}),
  };
  return Object.keys(resources).length > 0 ? resources : undefined;
}

/**
 * Limits as the kernel has them, for a container that runs already.
 *
 * @throws {KurmaError} `missing`: `place` lacks a device that is named.
 */
export function limitsOf(place: Pick<Place, "devices">, wanted: ResourceSpec): Resources {
  return {
    ...cpu(wanted),
    ...memory(wanted),
    ...(wanted.pids === undefined ? {} : { pids: { limit: wanted.pids } }),
    ...io(place, wanted),
    ...hugepages(wanted),
  };
}

/** Microseconds: the kernel's own default. */
const cpuPeriod = 100_000;

function cpu({ cpus, cpuShares, cpuset, cpusetMems }: ResourceSpec): Pick<Resources, "cpu"> {
  const cpu = {
    ...(cpuShares === undefined ? {} : { shares: cpuShares }),
    ...(cpus === undefined ? {} : { quota: Math.round(cpus * cpuPeriod), period: cpuPeriod }),
    ...(cpuset === undefined ? {} : { cpus: cpuset }),
    ...(cpusetMems === undefined ? {} : { mems: cpusetMems }),
  };
  return Object.keys(cpu).length > 0 ? { cpu } : {};
}

function memory({ memory, memoryReservation, swap }: ResourceSpec): Pick<Resources, "memory"> {
  const limits = {
    ...(memory === undefined ? {} : { limit: memory }),
    ...(memoryReservation === undefined ? {} : { reservation: memoryReservation }),
    ...(memory === undefined || swap === undefined
      ? {}
      : { swap: swap === -1 ? -1 : memory + swap }),
  };
  return Object.keys(limits).length > 0 ? { memory: limits } : {};
}

function io(place: Pick<Place, "devices">, { io }: ResourceSpec): Pick<Resources, "blockIO"> {
  if (io === undefined) return {};
  const throttles = (rate: "readBps" | "writeBps" | "readIops" | "writeIops") =>
    (io.devices ?? []).flatMap((limits) => {
      const amount = limits[rate];
      if (amount === undefined) return [];
      const found = place.devices?.get(limits.path);
      if (found?.type !== "b") {
        throw new KurmaError("missing", `Cannot limit "${limits.path}": no such block device`, {
          fix: "Name a block device of the host, as in /dev/sda",
        });
      }
      return [{ major: found.major, minor: found.minor, rate: amount }];
    });
  return {
    blockIO: {
      ...(io.weight === undefined ? {} : { weight: io.weight }),
      throttleReadBpsDevice: throttles("readBps"),
      throttleWriteBpsDevice: throttles("writeBps"),
      throttleReadIOPSDevice: throttles("readIops"),
      throttleWriteIOPSDevice: throttles("writeIops"),
    },
  };
}

function hugepages({ hugepages = {} }: ResourceSpec): Pick<Resources, "hugepageLimits"> {
  const limits = Object.entries(hugepages).map(([pageSize, limit]) => ({ pageSize, limit }));
  return limits.length > 0 ? { hugepageLimits: limits } : {};
}
