/**
 * A kernel of our own to break: user-mode Linux, an ordinary process of the host that
 * boots in two seconds. Its root is the host's file tree (read it; write to the tmpfs
 * on /run and /var/lib/kurma, or to the disk). It has cgroup v2 with cpu, io, memory
 * and pids, and being Linux 6.1 it lacks what newer kernels offer, so it shows every
 * fallback. Never for timings.
 *
 * Source: Documentation/virt/uml in the kernel's tree.
 *
 * @module
 */

import { mustRun, type Output, root, Running } from "../harness.ts";

/** Modules of Debian's package that a container host needs. */
const modules = ["overlay", "bridge", "veth"];

/** What to boot. */
export interface Boot {
  /** A folder of the test's own, for the init and the machine's control socket. */
  dir: string;
  /** What /bin/sh runs as root once the machine is up; its exit status ends the boot. */
  script?: string;
  /** Instead of that: the first process and its arguments, on a machine with nothing mounted. */
  init?: readonly [program: string, ...args: string[]];
  /** Further words of the kernel's command line. */
  kernel?: readonly string[];
  /** An image from {@linkcode makeDisk}, seen inside as /dev/ubda. */
  disk?: string;
  /** Default 1024. */
  memoryMib?: number;
  /** From start to power-off. Default 180 s. */
  limitMs?: number;
}

/** A machine that runs. */
export class Machine {
  readonly #process: Running;

  constructor(
    { dir, script = "", init, kernel = [], disk, memoryMib = 1024, limitMs = 180_000 }: Boot,
  ) {
    const [program, ...args] = init ?? [`${dir}/init`];
    if (init === undefined) {
      Deno.writeTextFileSync(program, initScript(script), { mode: 0o755 });
    }
    // In a pid namespace of its own: the kernel has helpers, which would outlive its
    // being killed and keep the console open.
    this.#process = new Running([
      ...["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "linux.uml"],
      ...["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", `init=${program}`],
      ...["con=null", "con0=null,fd:1", "quiet", `mem=${memoryMib}M`, `uml_dir=${dir}/uml`],
      ...(disk ? [`ubd0=${disk}`] : []),
      ...kernel,
      ...(args.length > 0 ? ["--", ...args] : []),
    ], { limitMs, env: { TMPDIR: dir, LD_PRELOAD: `${root}/build/tools/libxstate.so` } });
  }

  /** Waits until the console matches `pattern`. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return await this.#process.says(pattern);
  }

  /**
   * Takes the power away, now: what was not on the disk never will be. Settles when
   * the machine is gone.
   *
   * @returns What it had said.
   */
  async cutPower(): Promise<string> {
    this.#process.signal("SIGKILL");
    return (await this.#process.output).stdout.replaceAll("\r", "");
  }

  /** All that the console said, once the machine is off. */
  async off(): Promise<string> {
    return (await this.#process.output).stdout.replaceAll("\r", "");
  }

  /**
   * The script's exit status and output, once it has ended and the machine is off.
   *
   * @throws if the machine went down before the script ended; the message holds the console.
   */
  async ended(): Promise<Output> {
    const { stdout, stderr } = await this.#process.output;
    const console = stdout.replaceAll("\r", "");
    const match = /^=== begin\n(.*)^=== end (\d+)$/ms.exec(console);
    if (!match) throw new Error(`The machine went down before its script ended: ${console}`);
    return { status: Number(match[2]), stdout: match[1], stderr };
  }
}

/** Boots, runs the script to its end and powers off. */
export async function boot(what: Boot): Promise<Output> {
  return await new Machine(what).ended();
}

/** An ext4 disk of `sizeMib`, as a sparse file at `path`. */
export async function makeDisk(path: string, sizeMib: number): Promise<string> {
  await mustRun(["truncate", "--size", `${sizeMib}M`, path]);
  await mustRun(["mkfs.ext4", "-q", "-F", path]);
  return path;
}

/** PID 1 of the machine. */
function initScript(script: string): string {
  return `#!/bin/sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t tmpfs state /var/lib/kurma
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
mkdir -p /run/rig/lib
ln -s /usr/lib/uml/modules /run/rig/lib/modules
modprobe -a -d /run/rig ${modules.join(" ")}
echo "=== begin"
(
${script}
)
echo "=== end $?"
sync
echo o >/proc/sysrq-trigger
sleep 60
`;
}
