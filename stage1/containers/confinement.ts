/**
 * The schema of what a container may use and of how it is confined.
 *
 * @module
 */

import {
  absolutePath,
  boolean,
  bytes,
  changed,
  consistent,
  either,
  integer,
  listOf,
  mapOf,
  number,
  object,
  optional,
  pattern,
  type Schema,
  text,
  textOr,
  where,
  word,
} from "../schema.ts";
import type { Landlock } from "../../stage2/spec.ts";
import { roleOrder } from "../remote/roles.ts";
import { capabilityName } from "./capabilities.ts";
import {
  type CapabilitySpec,
  type DeviceSpec,
  type IoSpec,
  type PodResource,
  type ResourceSpec,
  seccompActions,
  seccompOperators,
  type SeccompProfile,
  type SecuritySpec,
  ulimitNames,
  type UlimitSpec,
} from "./spec.ts";

const port: Schema<number> = integer(0, 65_535);

const devicePath: Schema<string> = where(
  absolutePath,
  (path) => path.startsWith("/dev/") && path.length > 5,
  "a path below /dev",
);

export const device: Schema<DeviceSpec> = object<DeviceSpec>({
  path: devicePath,
  target: optional(devicePath),
  access: optional(pattern(/^(?=.)r?w?m?$/, 'letters of "rwm", in this order')),
});

const cpuList: Schema<string> = pattern(
  /^\d{1,5}(?:-\d{1,5})?(?:,\d{1,5}(?:-\d{1,5})?){0,255}$/,
  "numbers and ranges, as in 0-2,7",
);

/** Less is too little to live on. */
const memory: Schema<number> = integer(4_096, Number.MAX_SAFE_INTEGER, "bytes");

const rate: Schema<number> = integer(1, Number.MAX_SAFE_INTEGER);

const io: Schema<IoSpec> = object<IoSpec>({
  weight: optional(integer(10, 1_000)),
  devices: optional(
    listOf(
      object<NonNullable<IoSpec["devices"]>[number]>({
        path: devicePath,
        readBps: optional(rate),
        writeBps: optional(rate),
        readIops: optional(rate),
        writeIops: optional(rate),
      }),
      64,
    ),
  ),
});

export const podResources = {
  cpus: optional(number(0.01, 8_192)),
  cpuShares: optional(integer(2, 262_144)),
  cpuset: optional(cpuList),
  cpusetMems: optional(cpuList),
  memory: optional(memory),
  memoryReservation: optional(memory),
  swap: optional(integer(-1, Number.MAX_SAFE_INTEGER, "bytes")),
  pids: optional(
    where(integer(-1, 4_194_304), (count) => count !== 0, "a number of processes, or -1"),
  ),
  io: optional(io),
  hugepages: optional(
    mapOf(pattern(/^[1-9]\d{0,5}(?:KB|MB|GB)$/, "a page size as in 2MB"), bytes, 16),
  ),
};

export function* memoryRules(
  { memory, memoryReservation, swap }: Pick<ResourceSpec, PodResource>,
): Iterable<readonly [(string | number)[], string]> {
  if (swap !== undefined && memory === undefined) {
    yield [["swap"], "expected a limit of memory beside it"];
  }
  if (memory !== undefined && memoryReservation !== undefined && memoryReservation > memory) {
    yield [["memoryReservation"], "expected no more than memory"];
  }
}

export const resourceSpec: Schema<ResourceSpec> = consistent(
  object<ResourceSpec>({
    ...podResources,
    shmSize: optional(bytes),
    oomScoreAdj: optional(integer(-1000, 1000)),
  }),
  memoryRules,
);

const limit: Schema<number> = integer(-1, Number.MAX_SAFE_INTEGER);

const ulimit: Schema<UlimitSpec> = consistent(
  object<UlimitSpec>({ name: word(...ulimitNames), soft: limit, hard: optional(limit) }),
  function* ({ soft, hard = soft }) {
    if (hard !== -1 && (soft === -1 || soft > hard)) yield [["soft"], "expected no more than hard"];
  },
);

export const ulimits: Schema<readonly UlimitSpec[]> = consistent(
  listOf(ulimit, ulimitNames.length),
  function* (list) {
    for (const [at, { name }] of list.entries()) {
      if (list.findIndex((other) => other.name === name) !== at) {
        yield [[at, "name"], `"${name}" stands twice`];
      }
    }
  },
);

/**
 * The namespace that a setting below /proc/sys belongs to; undefined for what is the
 * machine's alone.
 */
export function sysctlNamespace(key: string): "ipc" | "network" | "uts" | undefined {
  if (/^kernel\.(?:shm(?:max|all|mni|_rmid_forced)|msg(?:max|mnb|mni)|sem)$/.test(key)) {
    return "ipc";
  }
  if (key.startsWith("fs.mqueue.")) return "ipc";
  if (key.startsWith("net.")) return "network";
  return key === "kernel.domainname" ? "uts" : undefined;
}

export const sysctls: Schema<Readonly<Record<string, string>>> = mapOf(
  where(
    pattern(/^(?!.*\.\.)[a-z][a-zA-Z0-9_.-]{1,127}$/, "a setting as in net.core.somaxconn"),
    (key) => sysctlNamespace(key) !== undefined,
    "a setting that containers have for themselves (net.*, fs.mqueue.*, kernel.shm*, kernel.msg*, " +
      "kernel.sem, kernel.domainname)",
  ),
  pattern(/^(?:[^\p{Cc}]|\t)*$/u, "text on one line"),
  128,
);

const capability: Schema<string> = changed(
  where(
    text(64),
    (given) => capabilityName(given) !== undefined,
    "a capability as in CAP_NET_ADMIN, or ALL",
  ),
  (given) => capabilityName(given) ?? given,
);

export const capabilities: Schema<CapabilitySpec> = consistent(
  object<CapabilitySpec>({
    add: optional(listOf(capability, 64)),
    drop: optional(listOf(capability, 64)),
  }),
  function* ({ add = [], drop = [] }) {
    for (const [at, each] of add.entries()) {
      if (drop.includes(each)) yield [["add", at], `"${each}" is dropped as well`];
    }
  },
);

const errno: Schema<number> = integer(0, 4_095);

const seccompProfile: Schema<SeccompProfile> = object<SeccompProfile>({
  defaultAction: word(...seccompActions),
  defaultErrnoRet: optional(errno),
  architectures: optional(
    listOf(pattern(/^SCMP_ARCH_[A-Z0-9_]{1,32}$/, "as in SCMP_ARCH_X86"), 32),
  ),
  flags: optional(listOf(pattern(/^SECCOMP_FILTER_FLAG_[A-Z_]{1,32}$/, "a filter's flag"), 8)),
  syscalls: optional(
    listOf(
      object<NonNullable<SeccompProfile["syscalls"]>[number]>({
        names: where(
          listOf(pattern(/^[a-z_][a-z0-9_]{0,63}$/, "a system call's name"), 1_024),
          (list) => list.length > 0,
          "one system call at least",
        ),
        action: word(...seccompActions),
        errnoRet: optional(errno),
        args: optional(
          listOf(
            object<
              NonNullable<NonNullable<SeccompProfile["syscalls"]>[number]["args"]>[number]
            >({
              index: integer(0, 5),
              value: integer(0, Number.MAX_SAFE_INTEGER),
              valueTwo: optional(integer(0, Number.MAX_SAFE_INTEGER)),
              op: word(...seccompOperators),
            }),
            6,
          ),
        ),
      }),
      2_048,
    ),
  ),
});

const right: Schema<string> = pattern(/^[a-z_]{1,32}$/, "a right by the kernel's name: read_file");

const landlock: Schema<Landlock> = consistent(
  object<Landlock>({
    handled: where(listOf(right, 64), (list) => list.length > 0, "one right at least"),
    rules: optional(
      listOf(
        either(
          object<{ path: string; allowed: readonly string[] }>({
            path: absolutePath,
            allowed: listOf(right, 64),
          }),
          object<{ port: number; allowed: readonly string[] }>({
            port,
            allowed: listOf(right, 64),
          }),
          '"allowed" rights with a "path" or a "port"',
        ),
        128,
      ),
    ),
  }),
  function* ({ handled, rules = [] }) {
    for (const [at, { allowed }] of rules.entries()) {
      const foreign = allowed.find((each) => !handled.includes(each));
      if (foreign !== undefined) {
        yield [["rules", at, "allowed"], `"${foreign}" is not among the handled rights`];
      }
    }
  },
);

export const security: Schema<SecuritySpec> = object<SecuritySpec>({
  privileged: optional(boolean),
  seccomp: optional(textOr(word("default", "unconfined"), seccompProfile)),
  noNewPrivileges: optional(boolean),
  readOnlyRoot: optional(boolean),
  maskedPaths: optional(listOf(absolutePath, 256)),
  readOnlyPaths: optional(listOf(absolutePath, 256)),
  landlock: optional(landlock),
  apiAccess: optional(boolean),
  apiRole: optional(word(...roleOrder)),
  hostTree: optional(boolean),
});
