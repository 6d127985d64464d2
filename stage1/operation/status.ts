/**
 * The host, as the daemon tells of it.
 *
 * @module
 */

import type { Directories } from "../config/load.ts";

/** What `System.Status` has beside the version. */
export async function hostStatus(
  directories: Directories,
  containers: ReadonlyMap<string, number>,
) {
  const { total, available } = Deno.systemMemoryInfo();
  const { listImages } = await import("../images/mod.ts");
  const cgroups = cgroupsOf(Deno.readTextFileSync("/proc/self/mountinfo"));
  return {
    hostname: Deno.hostname(),
    kernel: Deno.osRelease(),
    architecture: Deno.build.arch,
    cpus: navigator.hardwareConcurrency,
    memoryBytes: BigInt(total),
    memoryAvailableBytes: BigInt(available),
    cgroupMode: cgroups.mode,
    cgroupControllers: cgroups.controllers,
    pid: Deno.pid,
    startTime: { seconds: BigInt(Math.floor(performance.timeOrigin / 1000)) },
    stateDir: directories.state,
    containers: Object.fromEntries(containers),
    images: listImages({ root: directories.images }).length,
  };
}

/** Which hierarchies are mounted. cgroups(7) */
export function cgroupsOf(mountinfo: string): { mode: string; controllers: string[] } {
  const controllers = new Set<string>();
  let unified: string | undefined;
  for (const line of mountinfo.split("\n")) {
    const [own, fileSystem] = line.split(" - ");
    const [type, , options = ""] = fileSystem?.split(" ") ?? [];
    if (type === "cgroup2") unified = own.split(" ")[4];
    if (type !== "cgroup") continue;
    for (const option of options.split(",")) {
      if (/^(cpu|cpuacct|cpuset|memory|devices|freezer|blkio|pids|hugetlb)$/.test(option)) {
        controllers.add(option);
      }
    }
  }
  const mode = unified === undefined ? "v1" : controllers.size > 0 ? "hybrid" : "v2";
  if (mode === "v2") {
    const text = Deno.readTextFileSync(`${unified}/cgroup.controllers`);
    for (const name of text.trim().split(" ")) controllers.add(name);
  }
  return { mode, controllers: [...controllers].sort() };
}
