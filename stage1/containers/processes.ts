/**
 * The processes of a container, as the host's procfs shows them.
 *
 * @module
 * @see proc_pid_stat(5), proc_pid_status(5), proc_pid_cgroup(5), cgroups(7)
 */

/** One process. Times are milliseconds. */
export interface Process {
  readonly pid: number;
  readonly parentPid: number;
  /** As the container numbers it. */
  readonly innerPid: number;
  /** The user as the container has it. */
  readonly uid: number;
  /** `R`, `S`, `D`, `T`, `Z`, … */
  readonly state: string;
  readonly cpuMs: number;
  readonly residentBytes: number;
  /** Since 1970. */
  readonly startedAt: number;
  /** `[name]` for one that has no arguments any more. */
  readonly command: readonly string[];
}

/** Clock ticks a second in procfs: the same on every architecture that Kurma runs on. */
const ticks = 100;

/**
 * The processes in the pid namespace of `init`, and in those below it: the first one first.
 *
 * @param init The container's first process on the host; nothing if it is gone.
 * @param firstId Where the container's ids start on the host; 0 for the host's own.
 */
export function processesOf(init: number, firstId: number): Process[] {
  const depth = numbersOf(init)?.length;
  const started = bootTime();
  if (depth === undefined) return [];
  const found: Process[] = [];
  for (const pid of membersOf(init)) {
    const process = read(pid, depth, firstId, started);
    if (process) found.push(process);
  }
  return found.sort((one, other) => one.innerPid - other.innerPid);
}

/**
 * All who are in the init's pid namespace, and their descendants: these may be in one
 * below it. An exec's process is a child of stage2, and has only the namespace in common.
 */
function membersOf(init: number): Set<number> {
  const space = link(`/proc/${init}/ns/pid`);
  const children = new Map<number, number[]>();
  const members = new Set<number>();
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const pid = Number(name);
    const parent = statOf(pid)?.parent;
    if (parent === undefined) continue;
    children.set(parent, [...children.get(parent) ?? [], pid]);
    if (link(`/proc/${pid}/ns/pid`) === space) members.add(pid);
  }
  for (const member of members) { // Those added meanwhile are visited too.
    for (const child of children.get(member) ?? []) members.add(child);
  }
  return members;
}

function read(
  pid: number,
  depth: number,
  firstId: number,
  bootedAt: number,
): Process | undefined {
  const stat = statOf(pid);
  const status = text(`/proc/${pid}/status`);
  const command = text(`/proc/${pid}/cmdline`);
  if (stat === undefined || status === undefined || command === undefined) return undefined;
  const field = (name: string) => new RegExp(`^${name}:\\s+(.*)$`, "m").exec(status)?.[1];
  const uid = Number(field("Uid")?.split(/\s+/)[0] ?? 0);
  const numbers = field("NSpid")?.split(/\s+/).map(Number) ?? [pid];
  const words = command.split("\0").slice(0, -1);
  return {
    pid,
    parentPid: stat.parent,
    innerPid: numbers[depth - 1] ?? pid,
    uid: uid >= firstId ? uid - firstId : uid,
    state: stat.state,
    cpuMs: (stat.user + stat.system) * 1000 / ticks,
    residentBytes: Number(/^(\d+) kB/.exec(field("VmRSS") ?? "")?.[1] ?? 0) * 1024,
    startedAt: Math.round(bootedAt + stat.start * 1000 / ticks),
    command: words.length > 0 ? words : [`[${stat.name}]`],
  };
}

function numbersOf(pid: number): string[] | undefined {
  return /^NSpid:\s+(.*)$/m.exec(text(`/proc/${pid}/status`) ?? "")?.[1].split(/\s+/);
}

interface Stat {
  readonly name: string;
  readonly state: string;
  readonly parent: number;
  readonly user: number;
  readonly system: number;
  readonly start: number;
}

function statOf(pid: number): Stat | undefined {
  const stat = text(`/proc/${pid}/stat`);
  return stat === undefined ? undefined : parseStat(stat);
}

/** The name may hold spaces and brackets: fields are counted from its last bracket. */
export function parseStat(stat: string): Stat {
  const open = stat.indexOf("(");
  const close = stat.lastIndexOf(")");
  const fields = stat.slice(close + 2).split(" ");
  return {
    name: stat.slice(open + 1, close),
    state: fields[0],
    parent: Number(fields[1]),
    user: Number(fields[11]),
    system: Number(fields[12]),
    start: Number(fields[19]),
  };
}

/** When the machine was started: milliseconds since 1970. */
function bootTime(): number {
  const seconds = /^btime (\d+)$/m.exec(Deno.readTextFileSync("/proc/stat"))?.[1];
  return Number(seconds) * 1000;
}

/** What ends while we look is not there; what we may not look at is not a container's. */
function whileThere<Value>(look: () => Value): Value | undefined {
  try {
    return look();
  } catch (error) {
    const gone = error instanceof Deno.errors.NotFound ||
      error instanceof Deno.errors.PermissionDenied ||
      (error instanceof Error && "code" in error && error.code === "ESRCH");
    if (gone) return undefined;
    throw error;
  }
}

const text = (path: string) => whileThere(() => Deno.readTextFileSync(path));
const link = (path: string) => whileThere(() => Deno.readLinkSync(path));
