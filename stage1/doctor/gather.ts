/**
 * Gathers the {@link Facts} of this machine. Nothing is changed, and no lock taken.
 *
 * @module
 */

import { statfsSync } from "node:fs";
import { type Feature, features, missing } from "../../ffi/mod.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { ApiClient } from "../api/client.ts";
import { recordedIds } from "../containers/state.ts";
import { cgroupsOf } from "../operation/status.ts";
import type { Facts, IdRange, Room } from "./facts.ts";
import { heldInodes, look } from "./leftovers.ts";
import { children, mountOf, mountsOf, numberOf, textOf } from "./proc.ts";

/** What is looked at. */
export interface Subject {
  /** The state folder, absolute. */
  readonly root: string;
  /** The socket of the API, absolute. */
  readonly socket: string;
  /** The version of this program. */
  readonly version: string;
}

/** How long a daemon may take to answer. */
const patienceMs = 5_000;

/** Everything that the checks want to know. */
export async function gather({ root, socket, version }: Subject): Promise<Facts> {
  const isRoot = Deno.uid() === 0;
  const daemon = await askDaemon(socket);
  const mounts = mountsOf(textOf("/proc/self/mountinfo"));
  const hasState = isHeld(`${root}/state/lock`);
  const own = daemon.stateDir === root ? daemon.ids : hasState ? undefined : recordedIds(root);
  const hasDaemon = hasState || daemon.stateDir === root;
  return {
    isRoot,
    kernel: {
      release: Deno.osRelease(),
      missing: missingFeatures(),
      fileSystems: textOf("/proc/filesystems").split("\n").map((line) => line.split("\t")[1] ?? ""),
      namespaces: children("/proc/self/ns"),
    },
    sysctl: Object.fromEntries(
      sysctls.map((path) => [path, numberOf(`/proc/sys/${path}`)] as const)
        .filter((entry): entry is [string, number] => entry[1] !== undefined),
    ),
    descriptors: descriptorLimit(),
    cgroups: cgroupFacts(daemon.pid),
    ids: {
      given: ["/etc/subuid", "/etc/subgid"].flatMap((file) => rangesOf(file, textOf(file))),
      mapped: textOf("/proc/self/uid_map").trim().split("\n").map((line) => {
        const [first, , count] = line.trim().split(/\s+/).map(Number);
        return { first, count };
      }),
    },
    state: stateFacts(root, mountOf(nearest(root), mounts)?.type ?? "unknown"),
    now: Date.now(),
    socket: { path: socket, ...socketFacts(socket) },
    daemon: {
      ...(daemon.version === undefined ? {} : { version: daemon.version }),
      ...(daemon.pid === undefined ? {} : { pid: daemon.pid }),
      ...(daemon.stateDir === undefined ? {} : { stateDir: daemon.stateDir }),
      ...(daemon.error === undefined ? {} : { error: daemon.error }),
      own: version,
      stage2: stage2Of(root),
      hasState,
    },
    leftovers: isRoot ? look({ root, recorded: own, hasDaemon }) : [],
    partial: partialDownloads(`${root}/images/tmp`),
  };
}

const sysctls = [
  ...["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"].map((kind) =>
    `user/max_${kind}_namespaces`
  ),
  "vm/memfd_noexec",
  "kernel/pid_max",
  "kernel/threads-max",
  "kernel/keys/root_maxkeys",
  "fs/inotify/max_user_instances",
  "fs/inotify/max_user_watches",
  "fs/file-max",
];

function missingFeatures(): Partial<Record<Feature, string>> {
  return Object.fromEntries(
    features.map((feature) => [feature, missing(feature)]).filter(([, errno]) => errno),
  );
}

/** What the daemon tells, where one answers. */
async function askDaemon(socket: string): Promise<{
  version?: string;
  pid?: number;
  stateDir?: string;
  /** Of all containers and pods. */
  ids?: ReadonlySet<string>;
  error?: string;
}> {
  try {
    const api = new ApiClient(socket);
    const limit = { timeoutMs: patienceMs, signal: AbortSignal.timeout(patienceMs) };
    const { version, pid, stateDir } = await api.call("System", "Status", {}, limit);
    const { containers = [] } = await api.call("Containers", "List", {}, limit);
    const { pods = [] } = await api.call("Pods", "List", {}, limit);
    return {
      version: `${version?.kurma} (${version?.commit})`,
      ...(pid === undefined ? {} : { pid }),
      ...(stateDir === undefined ? {} : { stateDir }),
      ids: new Set([...containers, ...pods].map(({ id = "" }) => id)),
    };
  } catch (error) {
    if (error instanceof KurmaError) return { error: whyNot(error) };
    if (error instanceof DOMException) return { error: `no answer in ${patienceMs / 1000} s` };
    throw error;
  }
}

/** The kernel's answer, if that is what it was. */
function whyNot(error: KurmaError): string {
  if (error.code === "denied") return "EACCES";
  if (error.cause instanceof Deno.errors.NotFound) return "nothing is there";
  return error.cause instanceof Deno.errors.ConnectionRefused
    ? "nobody listens, kurmad replaces it when it starts"
    : error.message;
}

/** Of proc_pid_limits(5), the soft limit, which Deno has raised to the hard one. */
function descriptorLimit(): number {
  const [, soft] = /^Max open files +(\d+)/m.exec(textOf("/proc/self/limits")) ?? [];
  return soft === undefined ? Infinity : Number(soft);
}

function cgroupFacts(daemonPid: number | undefined): Facts["cgroups"] {
  const mountinfo = textOf("/proc/self/mountinfo");
  const top = mountsOf(mountinfo).filter(({ type }) => type === "cgroup2").at(-1)?.point;
  if (top === undefined && !/ - cgroup /.test(mountinfo)) return { mode: "none", controllers: [] };
  const { mode, controllers } = cgroupsOf(mountinfo);
  if (mode !== "v2" || top === undefined) return { mode, controllers };
  const path = /^0::(.*)$/m.exec(textOf(`/proc/${daemonPid ?? "self"}/cgroup`))?.[1] ?? "/";
  const own = `${top}${path.replace(/\/kurma-host$/, "")}`.replace(/\/$/, "");
  return { mode, controllers, delegated: passedOn(own, top) };
}

/** What the cgroup `own` of version 2 passes on, or could: it cannot while others are in it. */
function passedOn(own: string, top: string): string[] {
  const words = (path: string) => textOf(path).trim().split(/\s+/).filter((word) => word !== "");
  const there = words(`${own}/kurma/cgroup.controllers`);
  if (there.length > 0) return there;
  const processes = words(`${own}/cgroup.procs`).filter((pid) => Number(pid) !== Deno.pid);
  return own === top || processes.length === 0
    ? words(`${own}/cgroup.controllers`)
    : words(`${own}/cgroup.subtree_control`);
}

/** The ranges of a file as in subuid(5). */
export function rangesOf(file: string, text: string): IdRange[] {
  return text.split("\n").flatMap((line) => {
    const [, owner, first, count] = /^([^:]+):(\d+):(\d+)$/.exec(line.trim()) ?? [];
    return owner === undefined ? [] : [{ file, owner, first: Number(first), count: Number(count) }];
  });
}

function stateFacts(root: string, type: string): Facts["state"] {
  const folder = statOf(root);
  const newest = [root, `${root}/state/state.db`, `${root}/images/images.db`]
    .map((path) => statOf(path)?.mtime?.getTime() ?? 0);
  return {
    path: root,
    ...(folder === undefined
      ? {}
      : { folder: { mode: (folder.mode ?? 0) & 0o7777, uid: folder.uid ?? 0 } }),
    room: roomAt(nearest(root), type),
    changed: Math.max(...newest),
  };
}

/** `path`, or the folder above it that is there. */
function nearest(path: string): string {
  while (path !== "/" && statOf(path) === undefined) {
    path = path.slice(0, path.lastIndexOf("/")) || "/";
  }
  return path;
}

function roomAt(path: string, type: string): Room {
  const { bavail, bsize, blocks, ffree, files } = statfsSync(path);
  return {
    type,
    freeBytes: bavail * bsize,
    bytes: blocks * bsize,
    freeInodes: ffree,
    inodes: files,
  };
}

function socketFacts(path: string): Omit<Facts["socket"], "path"> {
  const group = /^kurma:[^:]*:(\d+):/m.exec(textOf("/etc/group"))?.[1];
  const file = statOf(path);
  return {
    ...(file === undefined ? {} : {
      file: {
        mode: (file.mode ?? 0) & 0o777,
        gid: file.gid ?? 0,
        isSocket: file.isSocket ?? false,
      },
    }),
    ...(group === undefined ? {} : { group: Number(group) }),
  };
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    const isOut = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotADirectory;
    if (isOut) return undefined;
    throw error;
  }
}

function isHeld(path: string): boolean {
  const inode = statOf(path)?.ino;
  return typeof inode === "number" && heldInodes().has(inode);
}

/** The servers that make containers for a state folder. Only root can tell whose they are. */
function stage2Of(root: string): number[] {
  return children("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((pid) =>
    textOf(`/proc/${pid}/cmdline`).split("\0")[0] === "kurma-stage2" &&
    textOf(`/proc/${pid}/environ`).split("\0").includes(`SPAWNER_STATE=${root}/stage2`)
  );
}

function partialDownloads(folder: string): Facts["partial"] {
  const sizes = children(folder).filter((name) => name.endsWith(".part"))
    .map((name) => statOf(`${folder}/${name}`)?.size ?? 0);
  return { count: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}
