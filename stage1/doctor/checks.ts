/**
 * What the facts mean: each check is a function of them alone.
 *
 * @module
 */

import { allIds } from "../containers/ranges.ts";
import type { Facts } from "./facts.ts";

/** `ok`; `note`: something does not work that not everybody needs; `bad`: mend it. */
export type State = "ok" | "note" | "bad";

/** One thing that was found. */
export interface Finding {
  readonly state: State;
  /** What is so. */
  readonly finding: string;
  /** What that does to Kurma. */
  readonly meaning?: string;
  /** What to do about it. */
  readonly fix?: string;
}

type Check = (facts: Facts) => readonly Finding[];

const gib = 1024 ** 3;
const mib = 1024 ** 2;

/** One finding that all is well. */
function ok(finding: string): readonly Finding[] {
  return [{ state: "ok", finding }];
}

/** Findings, or that all is well if there are none. */
function orOk(found: readonly (Finding | undefined)[], finding: string): readonly Finding[] {
  const findings = found.filter((each) => each !== undefined);
  return findings.length > 0 ? findings : ok(finding);
}

/** What is lost without a feature; the others are needed by every start. */
const optional: Readonly<Record<string, string>> = {
  landlock: "Containers that ask for Landlock are refused",
  mount_setattr: "Containers cannot have ids of their own: their root is the host's root",
};

const kernel: Check = ({ kernel, isRoot }) => {
  const [major, minor] = kernel.release.split(".").map(Number);
  // What is refused to others says nothing about root.
  const refused = Object.entries(kernel.missing)
    .filter(([, errno]) => isRoot || (errno !== "EPERM" && errno !== "EACCES"));
  const lacking = refused.map(([feature, errno]): Finding => ({
    state: feature in optional ? "note" : "bad",
    finding: `The kernel does not give us ${feature.replaceAll("_", " ")}: ${errno}`,
    meaning: optional[feature] ?? "No container can be made",
    fix: errno === "EPERM" || errno === "EACCES"
      ? "Allow the call in what Kurma itself runs in: its seccomp filter, its container"
      : feature === "landlock"
      ? "Boot with landlock in the list of the kernel's parameter lsm="
      : "Use Linux 5.19 or newer, with that call configured in",
  }));
  const isOld = major < 5 || (major === 5 && minor < 19);
  const unmapped: Finding | undefined = isOld && kernel.missing.mount_setattr === undefined
    ? {
      state: "note",
      finding: `Linux ${kernel.release} maps no ids of an overlay's layers`,
      meaning: optional.mount_setattr,
      fix: "Use Linux 5.19 or newer",
    }
    : undefined;
  return orOk([...lacking, unmapped], `Linux ${kernel.release} has all calls that Kurma makes`);
};

const overlay: Check = ({ kernel }) =>
  kernel.fileSystems.includes("overlay") ? ok("The kernel has overlay") : [{
    state: "bad",
    finding: "The kernel has no overlay, or has not loaded it",
    meaning: "No container gets a root file system",
    fix: "Load it: modprobe overlay, and write overlay to /etc/modules-load.d/kurma.conf",
  }];

const programs: Check = ({ sysctl }) =>
  sysctl["vm/memfd_noexec"] === 2
    ? [{
      state: "bad",
      finding: "vm.memfd_noexec is 2: no memory file may be executed",
      meaning: "The first process of a container comes from one, so none starts",
      fix: "Set it to 1 or 0: sysctl vm.memfd_noexec=1",
    }]
    : ok("Memory files can be sealed and executed");

const kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];

const namespaces: Check = ({ kernel, sysctl }) => {
  const lacking = kinds.filter((kind) => !kernel.namespaces.includes(kind));
  const found = kinds.map((kind): Finding | undefined => {
    const limit = sysctl[`user/max_${kind}_namespaces`];
    if (limit === undefined || limit >= 1_000) return undefined;
    return {
      state: limit === 0 ? "bad" : "note",
      finding: `user.max_${kind}_namespaces is ${limit}`,
      meaning: limit === 0
        ? "No container gets one"
        : `No more than ${limit} containers can have one of their own`,
      fix: `Raise it: sysctl user.max_${kind}_namespaces=31000`,
    };
  });
  const absent: Finding | undefined = lacking.length === 0 ? undefined : {
    state: "bad",
    finding: `The kernel has no namespaces of these kinds: ${lacking.join(", ")}`,
    meaning: "No container can be made",
    fix: "Use a kernel that is configured with them",
  };
  return orOk([absent, ...found], "All kinds of namespaces are there, and enough of them");
};

const cgroups: Check = ({ cgroups: { mode, controllers, delegated } }) => {
  if (mode === "none") {
    return [{
      state: "bad",
      finding: "No cgroup hierarchy is mounted",
      meaning: "No container can be made",
      fix: "Mount one: mount -t cgroup2 none /sys/fs/cgroup",
    }];
  }
  const wanted = ["cpu", "memory", "pids"];
  const usable = delegated ?? controllers;
  const lacking = wanted.filter((name) => !usable.includes(name));
  if (lacking.length === 0) return ok(`cgroups ${mode} with ${controllers.join(" ")}`);
  const isKept = delegated !== undefined && lacking.every((name) => controllers.includes(name));
  return [{
    state: "note",
    finding: isKept
      ? `The cgroup here cannot pass ${lacking.join(", ")} on: others are in it, or above it`
      : `cgroups ${mode} without ${lacking.join(", ")}`,
    meaning: "Limits of that kind are refused, and what containers use of it is not known",
    fix: isKept
      ? "Let the daemon have a cgroup of its own: kurma install --systemd /etc/systemd/system"
      : "Boot with them, as in cgroup_enable=memory",
  }];
};

const ids: Check = ({ ids: { given, mapped } }) => {
  const { first, count } = allIds;
  const last = first + count - 1;
  const found = given.filter((range) => range.first <= last && first < range.first + range.count)
    .map(({ file, owner, ...range }): Finding => ({
      state: "note",
      finding: `${file} gives ${owner} ids from ${range.first} on, which containers have too`,
      meaning: "What that user's processes and a container's do to each other, they may do",
      fix: `Give it others in ${file}: containers have ${first} to ${last}`,
    }));
  const isMapped = mapped.some((range) => range.first <= first && last < range.first + range.count);
  return orOk([
    ...found,
    isMapped ? undefined : {
      state: "bad",
      finding: `Not all ids from ${first} to ${last} are there for us`,
      meaning: "Containers cannot have ids of their own",
      fix: "Run Kurma outside of any user namespace, or with --userns host",
    },
  ], `Ids from ${first} to ${last} are the containers' alone`);
};

const state: Check = ({ state: { path, folder, room } }) => {
  const found: (Finding | undefined)[] = [];
  if (folder !== undefined && folder.uid !== 0) {
    found.push({
      state: "bad",
      finding: `"${path}" belongs to user ${folder.uid}`,
      meaning: "That user can change what runs as root",
      fix: `Give it to root: chown root:root ${path}`,
    });
  }
  if (folder !== undefined && (folder.mode & 0o077) !== 0) {
    found.push({
      state: "bad",
      finding: `"${path}" is open to others: its mode is 0${folder.mode.toString(8)}`,
      meaning: "They can read what containers wrote, and run what is set-user-id in there",
      fix: `Close it: chmod 700 ${path}`,
    });
  }
  if (room?.type === "overlay") {
    found.push({
      state: "bad",
      finding: `"${path}" is on an overlay itself`,
      meaning: "Overlays do not nest: no container gets a root file system",
      fix: "Put it on another file system, with --root or by a mount",
    });
  }
  found.push(roomOf(path, room));
  const where = folder === undefined ? `"${path}" is not there yet, and will be made` : undefined;
  return orOk(found, where ?? `"${path}" is root's alone, with room in it`);
};

function roomOf(path: string, room: Facts["state"]["room"]): Finding | undefined {
  if (room === undefined) return undefined;
  const { freeBytes, bytes, freeInodes, inodes } = room;
  const fix = "Free some: kurma image prune, kurma prune; or put it on a larger file system";
  if (freeBytes < 64 * mib || (inodes > 0 && freeInodes < 1_000)) {
    const what = freeBytes < 64 * mib
      ? `${Math.floor(freeBytes / mib)} MiB`
      : `${freeInodes} files`;
    const finding = `There is room for ${what} only below "${path}"`;
    return { state: "bad", finding, meaning: "Containers and images fail to be made", fix };
  }
  const part = Math.min(freeBytes / bytes, inodes > 0 ? freeInodes / inodes : 1);
  if (part >= 0.05 || (freeBytes > 10 * gib && part >= 0.01)) return undefined;
  const finding = `${Math.floor(part * 100)}% of the file system of "${path}" is left`;
  return { state: "note", finding, meaning: "What containers write will fail soon", fix };
}

/** What is enough for a thousand containers, and what too little is for. */
const enough: readonly (readonly [path: string, least: number, meaning: string])[] = [
  ["kernel/pid_max", 32_768, "Containers share all process ids of the machine"],
  ["kernel/threads-max", 16_384, "Containers share all threads of the machine"],
  ["kernel/keys/root_maxkeys", 10_000, "A container has a keyring: EDQUOT when they are used up"],
  ["fs/inotify/max_user_instances", 128, "Programs in containers that watch files fail: EMFILE"],
  ["fs/inotify/max_user_watches", 8_192, "Programs in containers that watch files fail: ENOSPC"],
  ["fs/file-max", 100_000, "Containers share all open files of the machine"],
];

const limits: Check = ({ sysctl, descriptors }) => {
  const found = enough.map(([path, least, meaning]): Finding | undefined => {
    const value = sysctl[path];
    if (value === undefined || value >= least) return undefined;
    const name = path.replaceAll("/", ".");
    const finding = `${name} is ${value}`;
    return { state: "note", finding, meaning, fix: `Raise it: sysctl ${name}=${least}` };
  });
  const few: Finding | undefined = descriptors >= 1_024 ? undefined : {
    state: "note",
    finding: `A process may have ${descriptors} descriptors`,
    meaning: "The daemon keeps several for each container",
    fix: "Raise it: ulimit -n 65536, or LimitNOFILE= in the unit of kurmad",
  };
  return orOk([...found, few], "The machine's limits are enough for a thousand containers");
};

/** Nothing of ours is older. */
const earliest = Date.UTC(2025, 0, 1);
const dayMs = 86_400_000;

const time: Check = ({ now, state: { changed = 0 } }) => {
  if (now >= earliest && now > changed - dayMs) return ok("The clock is plausible");
  return [{
    state: "bad",
    finding: `The clock says ${new Date(now).toISOString()}`,
    meaning: "Certificates of registries are not valid then, and times of containers are wrong",
    fix: "Set it: timedatectl set-ntp true",
  }];
};

const socket: Check = ({ socket: { path, file, group } }) => {
  if (file === undefined) return ok(`Nothing is at "${path}"`);
  if (!file.isSocket) {
    return [{
      state: "bad",
      finding: `"${path}" is no socket`,
      meaning: "The daemon cannot listen there",
      fix: "Move it away, or name another with socketPath in kurmad's configuration",
    }];
  }
  const isOpen = (file.mode & 0o007) !== 0;
  const isOthers = (file.mode & 0o070) !== 0 && file.gid !== 0 && file.gid !== group;
  if (!isOpen && !isOthers) return ok(`"${path}" is for root${group ? " and its group" : ""}`);
  return [{
    state: "bad",
    finding: isOpen
      ? `"${path}" is open to everybody: its mode is 0${file.mode.toString(8)}`
      : `"${path}" belongs to group ${file.gid}, which is not the group kurma`,
    meaning: "Whoever may write to it is as good as root",
    fix: "Set socketPermissions and socketGroup in kurmad's configuration, and restart it",
  }];
};

const daemon: Check = ({ daemon, socket, state, isRoot }) => {
  const { version, pid, own, stateDir, stage2, error, hasState } = daemon;
  if (version === undefined) {
    if (hasState) {
      return [{
        state: "bad",
        finding: `A kurmad has "${state.path}" and does not answer at "${socket.path}"`,
        meaning: "Containers go on, and nobody manages them",
        fix: "Name its socket with -H if it has another one; otherwise see its log, and restart it",
      }];
    }
    const why = error === undefined ? "" : `: ${error}`;
    return [{
      state: isRoot && socket.file !== undefined ? "note" : "ok",
      finding: `No daemon answers at "${socket.path}"${why}`,
      meaning: "kurma run works without one; containers that stay need it",
      fix: "Start it as root: kurma daemon, or systemctl start kurmad",
    }];
  }
  return orOk([
    version === own ? undefined : {
      state: "note",
      finding: `The daemon is ${version}, this program ${own}`,
      meaning: "They may not understand all that the other says",
      fix: "Restart the daemon with this program; containers go on meanwhile",
    },
    stateDir === undefined || stateDir === state.path ? undefined : {
      state: "note",
      finding: `The daemon has its state in "${stateDir}"`,
      meaning: `What is said here about "${state.path}" is not about its containers`,
      fix: `Ask again with --root ${stateDir}`,
    },
    !isRoot || stage2.length > 0 || stateDir !== state.path ? undefined : {
      state: "bad",
      finding: "The daemon has no stage2",
      meaning: "No container can be started",
      fix: "See the daemon's log for why it cannot be started, and restart the daemon",
    },
  ], `kurmad ${version} answers, process ${pid}`);
};

const leftovers: Check = ({ leftovers, partial, isRoot }) => {
  if (!isRoot) {
    return [{ state: "note", finding: "Only root can look for leftovers", fix: "Run it as root" }];
  }
  const found = leftovers.map(({ what, subject, fix, isDead }): Finding => ({
    state: "note",
    finding: `${what} "${subject}"`,
    meaning: isDead ? "Nothing uses it" : "It may be in use",
    fix: isDead ? "Remove it: kurma doctor --fix" : fix,
  }));
  const size = `${(partial.bytes / mib).toFixed(1)} MiB`;
  const downloads: Finding | undefined = partial.count === 0 ? undefined : {
    state: "note",
    finding: `${partial.count} downloads that were cut short take ${size}`,
    meaning: "The next pull of the same goes on with it; after a week they go by themselves",
    fix: "Pull it again: kurma image pull",
  };
  return orOk([...found, downloads], "No dead container left anything");
};

/** All checks by their names, in the order in which they are told. */
export const checks: Readonly<Record<string, Check>> = {
  kernel,
  overlay,
  programs,
  namespaces,
  cgroups,
  ids,
  state,
  limits,
  time,
  socket,
  daemon,
  leftovers,
};

/** A finding, and the check that it is of. */
export interface Told extends Finding {
  readonly check: string;
}

/** What all checks find. */
export function examine(facts: Facts): readonly Told[] {
  return Object.entries(checks).flatMap(([check, look]) =>
    look(facts).map((finding) => ({ check, ...finding }))
  );
}
