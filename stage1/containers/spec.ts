/**
 * What a user asks for: one container, or a pod of several. The same shape comes from
 * the API, from manifests and from command lines; `validate.ts` checks it where it enters.
 *
 * What is left out comes from the image, then from the daemon's configuration, then
 * from the defaults named here.
 *
 * @module
 */

import type { Landlock } from "../../stage2/spec.ts";
import type { Role } from "../remote/roles.ts";

/** One container. */
export interface ContainerSpec {
  /** What it is made of: a name of the store or of a registry, a digest, or `hello`. */
  readonly image: string;
  /** Whether what is left out here comes from the image's own settings. Default true. */
  readonly imageDefaults?: boolean;
  /** Unique on this machine; made up if left out. */
  readonly name?: string;
  /** The user's own words about it, to select by; the image's are not copied. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Words for programs, passed on in the plan. */
  readonly annotations?: Readonly<Record<string, string>>;

  /** Replaces the image's command; its entrypoint stays in front. */
  readonly command?: readonly string[];
  /** Replaces the image's entrypoint, and drops its command. */
  readonly entrypoint?: readonly string[];
  /** `NAME=value`, over the image's; the last of a name counts. */
  readonly env?: readonly string[];
  /** Absolute. Default the image's, else `/`. */
  readonly workingDir?: string;
  /** A name or number, looked up in the image's own /etc/passwd. */
  readonly user?: string;
  /** A name or number, looked up in the image's own /etc/group; the user's main one if left out. */
  readonly group?: string;
  /** Numbers of groups beside those that /etc/group gives the user. */
  readonly extraGroups?: readonly number[];
  /** What new files do not get, as a number: 0o022 is 18. */
  readonly umask?: number;
  /** Whether the command gets a terminal of its own. */
  readonly terminal?: boolean;
  /** Of that terminal, in characters. */
  readonly consoleSize?: ConsoleSize;
  /** Whether standard input stays open for whoever attaches. Default false. */
  readonly openStdin?: boolean;

  /** Default: the name's or id's first 12 characters. Not with the UTS namespace of another. */
  readonly hostname?: string;
  readonly namespaces?: NamespaceSpec;
  readonly mounts?: readonly MountSpec[];
  readonly devices?: readonly DeviceSpec[];
  readonly resources?: ResourceSpec;
  readonly ulimits?: readonly UlimitSpec[];
  /** By the name after /proc/sys, with dots: only what belongs to a namespace of its own. */
  readonly sysctls?: Readonly<Record<string, string>>;
  readonly capabilities?: CapabilitySpec;
  readonly security?: SecuritySpec;

  readonly stop?: StopSpec;
  readonly restart?: RestartSpec;
  /** Replaces the image's, field by field. */
  readonly healthCheck?: HealthCheckSpec;
  readonly log?: LogSpec;
  /** Commands in the container at turns of its life, in appc's sense. */
  readonly eventHandlers?: EventHandlerSpec;
  /** Remove it once it has ended and will not start again. Default false. */
  readonly autoRemove?: boolean;
}

/** Characters. */
export interface ConsoleSize {
  readonly height: number;
  readonly width: number;
}

/** A namespace: its own, the host's, or that of another container by name or id. */
export type Joinable = "private" | "host" | `container:${string}`;

/** What the container has for itself. */
export interface NamespaceSpec {
  /** `none`: a loopback of its own and nothing else. Default `none`. */
  readonly network?: "none" | "host" | `container:${string}`;
  /** Default `private`. */
  readonly ipc?: Joinable;
  readonly pid?: Joinable;
  readonly uts?: Joinable;
  /** Default `private`. */
  readonly cgroup?: "private" | "host";
  /** `auto`: 65,536 ids of its own; `host`: root inside is root outside. Default `auto`. */
  readonly user?: "auto" | "host";
}

/** Something of outside, at a path inside. */
export type MountSpec = VolumeMount | BindMount | TmpfsMount;

/** A volume that outlives the container; made if there is none of that name. */
export interface VolumeMount {
  readonly type: "volume";
  /** The volume's name, a pod's volume before one of the machine. */
  readonly source: string;
  /** Absolute, inside. */
  readonly target: string;
  /** Default false. */
  readonly readOnly?: boolean;
  /** Only this path below the volume; it has to exist. */
  readonly subPath?: string;
  /** Owners inside are owners in the volume, by idmapping. Default: with ids of its own. */
  readonly idmap?: boolean;
}

/** A file or folder of the host. */
export interface BindMount {
  readonly type: "bind";
  /** Absolute, on the host. */
  readonly source: string;
  readonly target: string;
  /** Of what is mounted below as well. Default false. */
  readonly readOnly?: boolean;
  /** What is mounted below comes along. Default true. */
  readonly recursive?: boolean;
  readonly subPath?: string;
  readonly idmap?: boolean;
  /** Whether mounts made later on either side appear on the other. Default `private`. */
  readonly propagation?: "private" | "slave" | "shared";
  /** Make `source` as a folder if nothing is there. Default false. */
  readonly create?: boolean;
}

/** Memory as a file system, gone with the container. */
export interface TmpfsMount {
  readonly type: "tmpfs";
  readonly target: string;
  readonly readOnly?: boolean;
  /** Bytes; counted as the container's memory. Default half of the machine's. */
  readonly size?: number;
  /** Permissions of its root. Default 0o1777 (1023). */
  readonly mode?: number;
  /** Allow programs to be run from it. Default false. */
  readonly exec?: boolean;
}

/** A device node of the host, inside. */
export interface DeviceSpec {
  /** Absolute, on the host: `/dev/fuse`. */
  readonly path: string;
  /** Where inside; default the same. */
  readonly target?: string;
  /** Of read, write and mknod. Default `rwm`. */
  readonly access?: string;
}

/** What it may use. */
export interface ResourceSpec {
  /** Cores' worth of time: 1.5. */
  readonly cpus?: number;
  /** Beside others that want the processor, 2 to 262,144; who says nothing has 1,024. */
  readonly cpuShares?: number;
  /** The processors it may run on, as in `0-2,7`. */
  readonly cpuset?: string;
  /** The memory nodes it may use, likewise. */
  readonly cpusetMems?: string;
  /** Bytes; above it the container's largest process is killed. */
  readonly memory?: number;
  /** Bytes that others' need does not take away easily. */
  readonly memoryReservation?: number;
  /** Bytes of swap beside `memory`; 0 for none, -1 for any amount. Default: not limited. */
  readonly swap?: number;
  /** Processes and threads; -1 for any number. Default, under the daemon, 4,096. */
  readonly pids?: number;
  readonly io?: IoSpec;
  /** Bytes by page size, as in `{"2MB": 4194304}`. */
  readonly hugepages?: Readonly<Record<string, number>>;
  /** Bytes of /dev/shm. Default 64 MiB. */
  readonly shmSize?: number;
  /** Whom the kernel kills first when the machine is out of memory: -1000 (last) to 1000. */
  readonly oomScoreAdj?: number;
}

/** Its share of the disks. */
export interface IoSpec {
  /** Beside others, 10 to 1,000; who says nothing has 100. */
  readonly weight?: number;
  /** Limits of single block devices. */
  readonly devices?: readonly {
    /** Of the host: `/dev/sda`. */
    readonly path: string;
    /** Bytes a second. */
    readonly readBps?: number;
    readonly writeBps?: number;
    /** Operations a second. */
    readonly readIops?: number;
    readonly writeIops?: number;
  }[];
}

/** A limit of each process. setrlimit(2) */
export interface UlimitSpec {
  readonly name: Ulimit;
  /** -1 for no limit. */
  readonly soft: number;
  /** Default the same as `soft`. */
  readonly hard?: number;
}

/** The limits by their names in lower case, in the kernel's order. */
export const ulimitNames = [
  "cpu",
  "fsize",
  "data",
  "stack",
  "core",
  "rss",
  "nproc",
  "nofile",
  "memlock",
  "as",
  "locks",
  "sigpending",
  "msgqueue",
  "nice",
  "rtprio",
  "rttime",
] as const;

export type Ulimit = typeof ulimitNames[number];

/** Changes to the default set: first `drop`, then `add`. Names as in `CAP_NET_ADMIN`, or `ALL`. */
export interface CapabilitySpec {
  readonly add?: readonly string[];
  readonly drop?: readonly string[];
}

/** How it is confined. Everything left out is as strict as the defaults are. */
export interface SecuritySpec {
  /** All capabilities, devices and paths of the host, no filter, the host's ids. Default false. */
  readonly privileged?: boolean;
  /** System calls. Default `default`. */
  readonly seccomp?: "default" | "unconfined" | SeccompProfile;
  /** Set-id programs and file capabilities give nothing. Default true. */
  readonly noNewPrivileges?: boolean;
  /** Nothing but mounts can be written. Default false. */
  readonly readOnlyRoot?: boolean;
  /** Paths that show nothing; replaces the default list. */
  readonly maskedPaths?: readonly string[];
  /** Paths that cannot be written; replaces the default list. */
  readonly readOnlyPaths?: readonly string[];
  /** What Landlock takes from every process. Default nothing. */
  readonly landlock?: Landlock;
  /** The daemon's API at /var/lib/kurma/kurma.sock. Default false. */
  readonly apiAccess?: boolean;
  /** What may be done with it. Default `admin`: whoever has it has the machine. */
  readonly apiRole?: Role;
  /** The host's file tree at /host, and the host's ids to read it with. Default false. */
  readonly hostTree?: boolean;
}

/** `linux.seccomp` of the OCI runtime-spec 1.3. */
export interface SeccompProfile {
  readonly defaultAction: SeccompAction;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  readonly syscalls?: readonly {
    readonly names: readonly string[];
    readonly action: SeccompAction;
    readonly errnoRet?: number;
    readonly args?: readonly {
      readonly index: number;
      readonly value: number;
      readonly valueTwo?: number;
      readonly op: SeccompOperator;
    }[];
  }[];
}

export const seccompActions = [
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
] as const;

export type SeccompAction = typeof seccompActions[number];

export const seccompOperators = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
] as const;

export type SeccompOperator = typeof seccompOperators[number];

/** How it is asked to end. */
export interface StopSpec {
  /** A name or number. Default the image's, else `SIGTERM`. */
  readonly signal?: string;
  /** Milliseconds until SIGKILL. Default 10,000. */
  readonly limitMs?: number;
}

/** Whether it is started again after it has ended. */
export interface RestartSpec {
  /** `unless-stopped`: as `always`, but what was stopped stays so when the daemon starts. */
  readonly policy: "no" | "on-failure" | "always" | "unless-stopped";
  /** With `on-failure`, how often in a row; any number if left out. */
  readonly maxRetries?: number;
}

/** A command in the container that tells whether it is well, by its exit status: 0 is. */
export interface HealthCheckSpec {
  /** The command and its arguments; `[]` for no check at all. */
  readonly command?: readonly string[];
  /** From the end of one to the start of the next. Default 30,000. */
  readonly intervalMs?: number;
  /** A check that takes longer has failed. Default 30,000. */
  readonly limitMs?: number;
  /** So long after the start failures do not count. Default 0. */
  readonly startPeriodMs?: number;
  /** Failures in a row that make it unhealthy. Default 3. */
  readonly retries?: number;
  /** What happens then. Default `none`. */
  readonly action?: "none" | "restart" | "stop";
}

/** The files that its output goes to. */
export interface LogSpec {
  /** Bytes of each. Default 10 MiB. */
  readonly maxSize?: number;
  /** Default 3. */
  readonly maxFiles?: number;
}

/** @see appc spec 0.8.11, ace.md, "Event handlers" */
export interface EventHandlerSpec {
  /** Runs to its end before the command; if it fails, the container does not start. */
  readonly preStart?: readonly string[];
  /** Runs after the command has ended. */
  readonly postStop?: readonly string[];
  /** Milliseconds that each may take; then it is killed, and has failed. Default 60,000. */
  readonly limitMs?: number;
}

/** Several containers that start and stop together, and share what `share` names. */
export interface PodSpec {
  /** Unique among pods and containers; made up if left out. */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Started in this order, stopped in the opposite one. */
  readonly apps: readonly AppSpec[];
  /** Namespaces that the apps have in common. Default network, ipc and uts. */
  readonly share?: readonly ("network" | "ipc" | "uts" | "pid")[];
  /** Of the shared ones: whose they are. */
  readonly namespaces?: Pick<NamespaceSpec, "network" | "ipc" | "uts" | "pid" | "user">;
  /** Default: the pod's name. */
  readonly hostname?: string;
  readonly sysctls?: Readonly<Record<string, string>>;
  /** What the apps' mounts of type `volume` mean by these names. */
  readonly volumes?: readonly PodVolume[];
  /** Of all apps together, beside each one's own. */
  readonly resources?: Pick<ResourceSpec, PodResource>;
  /** Remove it once all apps have ended and none will start again. Default false. */
  readonly autoRemove?: boolean;
}

/** What can be limited for a pod as a whole. */
export type PodResource =
  | "cpus"
  | "cpuShares"
  | "cpuset"
  | "cpusetMems"
  | "memory"
  | "memoryReservation"
  | "swap"
  | "pids"
  | "io"
  | "hugepages";

/** One container of a pod. Its name is unique within the pod. */
export type AppSpec =
  & Omit<ContainerSpec, "name" | "autoRemove">
  & { readonly name: string };

/** Storage that the apps of a pod may have in common. */
export interface PodVolume {
  readonly name: string;
  /**
   * `empty`: new with the pod and gone with it; `host`: a path of the host; `named`: a
   * volume of the machine.
   */
  readonly kind: "empty" | "host" | "named";
  /** `host`: an absolute path; `named`: the volume's name, by default the same. */
  readonly source?: string;
  /** `host`, `named`: only this path below it; it has to exist, and no link is followed. */
  readonly subPath?: string;
  /** For all apps. Default false. */
  readonly readOnly?: boolean;
  /** Permissions of an `empty` one. Default 0o755 (493). */
  readonly mode?: number;
  /** Owner of an `empty` one, in the containers' numbers. Default 0. */
  readonly uid?: number;
  readonly gid?: number;
}

/** What counts where neither the request nor the image nor the configuration says anything. */
export const defaults = {
  stopSignal: "SIGTERM",
  stopLimitMs: 10_000,
  handlerLimitMs: 60_000,
  pids: 4_096,
  shmSize: 64 * 1024 * 1024,
  logMaxSize: 10 * 1024 * 1024,
  logMaxFiles: 3,
  healthIntervalMs: 30_000,
  healthLimitMs: 30_000,
  healthRetries: 3,
  podShare: ["network", "ipc", "uts"],
} as const;
