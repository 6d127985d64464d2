/**
 * Devices of the host, looked up by path.
 *
 * @module
 */

import type { DeviceNode } from "./plan_mounts.ts";
import type { ContainerSpec } from "./spec.ts";

/**
 * The devices that `spec` names, by their paths on the host. What is none of the host's
 * devices is left out: the plan then says so.
 */
export function lookUpDevices(
  { devices = [], resources = {}, security = {} }: Pick<
    ContainerSpec,
    "devices" | "resources" | "security"
  >,
): Map<string, DeviceNode> {
  const paths = [...devices, ...resources.io?.devices ?? []].map(({ path }) => path);
  const all = security.privileged ? [...paths, ...below("/dev")] : paths;
  return new Map(all.flatMap((path) => {
    const node = lookUp(path);
    return node ? [[path, node] as const] : [];
  }));
}

function lookUp(path: string): DeviceNode | undefined {
  try {
    const { isCharDevice, isBlockDevice, rdev, mode } = Deno.statSync(path);
    if (rdev === null || mode === null || !(isCharDevice || isBlockDevice)) return undefined;
    return { type: isBlockDevice ? "b" : "c", ...numbers(rdev), mode: mode & 0o7777 };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** makedev(3): 12 bits of the major number around 20 of the minor, as glibc puts them. */
function numbers(rdev: number): { major: number; minor: number } {
  const device = BigInt(rdev);
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffff_ff00n)),
  };
}

/** What every container has without asking. OCI runtime-spec 1.3, "Default Devices" */
const own = [
  ...["console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty"],
  ...["urandom", "zero"],
].map((name) => `/dev/${name}`);

/** Devices in a folder of the host's, without what a container has of its own. */
function below(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory, isFile, isSymlink }) => {
    const path = `${folder}/${name}`;
    if (own.includes(path) || isFile || isSymlink) return [];
    return isDirectory ? below(path) : [path];
  });
}
