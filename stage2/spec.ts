/**
 * The plan that stage1 hands to stage2: an OCI runtime-spec config.json in Kurma's
 * envelope. These are the keys that stage2/plan.zig carries out; it refuses others.
 *
 * @module
 * @see OCI runtime-spec 1.3, config.md and config-linux.md
 */

export const ociVersion = "1.3.0";

export interface Plan {
  kurma: Envelope;
  config: Config;
}

/** What config.json has no word for. */
export interface Envelope {
  /** `PARENT/NAME` puts its cgroup into the parent's, with all others of that parent. */
  id: string;
  /** Folders with the image's layers, the lowest first. */
  layers: readonly string[];
  /** A folder with `upper` and `work` in it; removed when the container is gone. */
  scratch: string;
  /** `user[:group]`, looked up in the image. */
  user?: string;
  /** `default`: the filter of system calls that is part of the binary. */
  seccomp?: "none" | "default";
  /** A cgroup of its own; `config.linux.resources` implies it. */
  cgroup?: boolean;
  /** What it writes goes with it: nobody waits for it to be on the disk. */
  ephemeral?: boolean;
  /** What Landlock takes from every process of the container. */
  landlock?: Landlock;
  /** A folder of this container alone, for its main process's output; sizes in bytes. */
  log?: { directory: string; maxSize?: number; maxFiles?: number };
  /** Where its init listens for the text RPC: a path of the host, at most 107 bytes. */
  rpc?: string;
  /** How its main process is asked to end, and how long it may take. */
  stop?: { signal?: number; limitMs?: number };
  /** Namespaces of other containers, by their ids; not named in `config.linux.namespaces`. */
  join?: readonly { type: Namespace; container: string }[];
  /** Its stdin, or what its terminal reads, stays open, and is had by attaching. */
  stdin?: boolean;
  /** The command inherits a socket to stage1, which comes with the request. */
  stage1?: boolean;
  /** What hooks are told as the bundle; `scratch` if left out. */
  bundle?: string;
  /** `own`, unless told: the container's processes share a session keyring. */
  keyring?: "own" | "inherited";
}

/** Rights by the kernel's names in lower case: landlock(7). */
export interface Landlock {
  /** Refused everywhere, except where a rule gives it back: `read_file`, `bind_tcp`, `signal`. */
  handled: readonly string[];
  /** A path is absolute, inside the container. */
  rules?: readonly ({ path: string; allowed: readonly string[] } | {
    port: number;
    allowed: readonly string[];
  })[];
}

/** A further process in a container. */
export interface ExecPlan {
  kurma: {
    id: string;
    user?: string;
    seccomp?: "none" | "default";
    landlock?: Landlock;
    keyring?: "own" | "inherited";
    bundle?: string;
  };
  process: Process;
  personality?: Personality;
}

export interface Config {
  ociVersion: string;
  process: Process;
  root?: { path?: string; readonly?: boolean };
  hostname?: string;
  mounts: readonly Mount[];
  domainname?: string;
  annotations?: Readonly<Record<string, string>>;
  hooks?: Partial<Record<HookPoint, readonly Hook[]>>;
  linux: {
    /** With a path, one that is there already. */
    namespaces: readonly { type: Namespace; path?: string }[];
    uidMappings?: readonly Mapping[];
    gidMappings?: readonly Mapping[];
    resources?: Resources;
    devices?: readonly Device[];
    /** By the name after /proc/sys, with dots; of the container's own namespaces only. */
    sysctl?: Readonly<Record<string, string>>;
    seccomp?: Seccomp;
    maskedPaths?: readonly string[];
    readonlyPaths?: readonly string[];
    timeOffsets?: Partial<Record<"monotonic" | "boottime", { secs?: number; nanosecs?: number }>>;
    rootfsPropagation?: string;
    personality?: Personality;
  };
}

export type Namespace =
  | "mount"
  | "pid"
  | "network"
  | "ipc"
  | "uts"
  | "cgroup"
  | "user"
  | "time";

export type HookPoint =
  | "prestart"
  | "createRuntime"
  | "createContainer"
  | "startContainer"
  | "poststart"
  | "poststop";

/** A program of the administrator; `timeout` in seconds. */
export interface Hook {
  path: string;
  args?: readonly string[];
  env?: readonly string[];
  timeout?: number;
}

export interface Personality {
  domain: "LINUX" | "LINUX32";
}

/** `size` ids from `containerID` on are `hostID` and the following on the host. */
export interface Mapping {
  containerID: number;
  hostID: number;
  size: number;
}

/** Limits of a container. OCI runtime-spec 1.3, config-linux.md "Control groups" */
export interface Resources {
  /** Microseconds. */
  cpu?: { shares?: number; quota?: number; period?: number; cpus?: string; mems?: string };
  /** Bytes; `swap` is memory and swap together. */
  memory?: { limit?: number; reservation?: number; swap?: number };
  pids?: { limit: number };
  blockIO?: {
    weight?: number;
    throttleReadBpsDevice?: readonly Throttle[];
    throttleWriteBpsDevice?: readonly Throttle[];
    throttleReadIOPSDevice?: readonly Throttle[];
    throttleWriteIOPSDevice?: readonly Throttle[];
  };
  /** Bytes by page size, as in `2MB`. */
  hugepageLimits?: readonly { pageSize: string; limit: number }[];
  /** What may be opened beside the default devices; later rules win. */
  devices?: readonly DeviceRule[];
}

/** Bytes or operations a second. */
export interface Throttle {
  major: number;
  minor: number;
  rate: number;
}

export interface DeviceRule {
  allow: boolean;
  type?: "a" | "c" | "b";
  major?: number;
  minor?: number;
  /** Of `rwm`. */
  access?: string;
}

/** A device node. */
export interface Device {
  type: "c" | "b";
  path: string;
  major: number;
  minor: number;
  /** Permissions. */
  fileMode?: number;
  /** In the container. */
  uid?: number;
  gid?: number;
}

/** A filter of system calls. OCI runtime-spec 1.3, config-linux.md "Seccomp" */
export interface Seccomp {
  defaultAction: string;
  defaultErrnoRet?: number;
  architectures?: readonly string[];
  flags?: readonly string[];
  syscalls?: readonly {
    names: readonly string[];
    action: string;
    errnoRet?: number;
    args?: readonly { index: number; value: number; valueTwo?: number; op: string }[];
  }[];
}

export interface Process {
  terminal?: boolean;
  consoleSize?: { height: number; width: number };
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  noNewPrivileges?: boolean;
  capabilities?: CapabilitySets;
  /** Who it is comes from the envelope's `user`. */
  user?: { umask?: number; additionalGids?: readonly number[] };
  /** Names as in `RLIMIT_NOFILE`. */
  rlimits?: readonly { type: string; soft: Amount; hard: Amount }[];
  oomScoreAdj?: number;
  scheduler?: { policy: string; nice?: number; priority?: number; flags?: readonly string[] };
  ioPriority?: { class: string; priority?: number };
  /** Lists of CPUs, for a further process: before it is in the container's cgroup, and then. */
  execCPUAffinity?: { initial?: string; final?: string };
}

/** A number of 64 bits: what JavaScript's do not hold is a {@linkcode unlimited}. */
export type Amount = number | typeof unlimited;

/** RLIM_INFINITY, 2^64 - 1, as JSON.stringify writes it in full. */
export const unlimited: object = (JSON as unknown as { rawJSON(text: string): object }) // V8 has it.
  .rawJSON("18446744073709551615");

export interface CapabilitySets {
  bounding: readonly string[];
  effective: readonly string[];
  inheritable: readonly string[];
  permitted: readonly string[];
  ambient: readonly string[];
}

export interface Mount {
  destination: string;
  type?: string;
  source?: string;
  options?: readonly string[];
  /** Below `source`, which no link on the way leaves. */
  subPath?: string;
}
