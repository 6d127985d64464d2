/**
 * What is mounted in a container: the file systems that every container has, and what
 * the user asked for.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Mount } from "../../stage2/spec.ts";
import { apiInside, type Resolved } from "./resolve.ts";
import { type BindMount, defaults, type TmpfsMount, type VolumeMount } from "./spec.ts";

/** Where a container is, what it is made of, and what of the host it may need. */
export interface Place {
  /** Unique on this machine; its first 12 characters are the default host name. */
  readonly id: string;
  /** Unpacked layers, the lowest first. */
  readonly layers: readonly string[];
  /** The container's own folder, with `upper` and `work` in it. */
  readonly scratch: string;
  /** Its own 65,536 ids of the host start here; left out, root inside is root outside. */
  readonly firstId?: number;
  /** The folders of volumes, by the names that mounts have for them. */
  readonly volumes?: ReadonlyMap<string, VolumePlace>;
  /** The host's devices that the container names, by their paths on the host. */
  readonly devices?: ReadonlyMap<string, DeviceNode>;
  /** What this process may pass on of all capabilities; left out: all of them. */
  readonly capabilities?: readonly string[];
  /** What stage2 calls the containers whose namespaces it joins, by the words of the request. */
  readonly containers?: ReadonlyMap<string, string>;
  /** A folder on the host with one for each role, which the API's socket for the role is in. */
  readonly apiFolder?: string;
  /**
   * What it writes is never read again, by another run or after a power cut: an fsync(2) inside
   * and its end do not wait for the disk. Default false.
   */
  readonly ephemeral?: boolean;
}

/** A volume on this host. */
export interface VolumePlace {
  /** Absolute. */
  readonly path: string;
  /** Only this path below it. */
  readonly subPath?: string;
  /** For every container. */
  readonly readOnly?: boolean;
}

/** A device of the host. */
export interface DeviceNode {
  readonly type: "c" | "b";
  readonly major: number;
  readonly minor: number;
  /** Permissions. */
  readonly mode: number;
}

/** OCI runtime-spec 1.3, config-linux.md "Default Filesystems", and what users expect beside. */
export function defaultMounts(meant: Resolved, ownUsers: boolean): Mount[] {
  const { namespaces, resources, security } = meant;
  // The kernel gives a new procfs, sysfs or mqueue only to those who own the namespace it
  // shows; of the host's namespaces, a container with users of its own owns none.
  const foreign = (whose: string) => ownUsers && whose === "host";
  const readOnly = security.privileged ? "rw" : "ro";
  return [
    foreign(namespaces.pid)
      ? bound("/proc", ["nosuid", "noexec", "nodev"])
      : fresh("/proc", "proc", ["nosuid", "noexec", "nodev"]),
    fresh("/dev", "tmpfs", ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"]),
    fresh("/dev/pts", "devpts", [
      ...["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    ]),
    fresh("/dev/shm", "tmpfs", [
      ...["nosuid", "noexec", "nodev", "mode=1777"],
      `size=${resources.shmSize ?? defaults.shmSize}`,
    ]),
    ...(foreign(namespaces.ipc) // Not every host has mounted its own.
      ? []
      : [fresh("/dev/mqueue", "mqueue", ["nosuid", "noexec", "nodev"])]),
    foreign(namespaces.network)
      ? bound("/sys", ["nosuid", "noexec", "nodev", "ro"])
      : fresh("/sys", "sysfs", ["nosuid", "noexec", "nodev", readOnly]),
  ];
}

function fresh(destination: string, type: string, options: readonly string[]): Mount {
  return { destination, type, source: destination === "/dev/shm" ? "shm" : type, options };
}

function bound(path: string, options: readonly string[]): Mount {
  return { destination: path, type: "bind", source: path, options: ["bind", ...options] };
}

/**
 * What the user asked for, parents before what lies below them.
 *
 * @throws {KurmaError} `missing`: a volume that `place` does not have.
 */
export function mountsOf(place: Place, meant: Resolved, ownUsers: boolean): Mount[] {
  const asked = meant.mounts.map((mount) => {
    if (mount.type === "tmpfs") return memory(mount);
    return mount.type === "bind" ? host(mount, ownUsers) : volume(place, mount, ownUsers);
  });
  const given: Mount[] = [];
  if (meant.security.hostTree) {
    given.push({ ...bound("/", ["rbind", "rslave"]), destination: "/host" });
  }
  const { apiRole } = meant.security;
  if (apiRole !== undefined) {
    if (place.apiFolder === undefined) {
      throw new KurmaError("state", "Cannot give the container the API: nobody serves it", {
        fix: "Start the container through kurmad",
      });
    }
    // The folder, as the socket is another one after a restart of kurmad. Nobody inside may put
    // one of his own there, for others; its owner is the one outside, or root could not connect.
    const options = ["nosuid", "noexec", "nodev", "ro", ...mapping(true, false, ownUsers)];
    given.push({ ...bound(`${place.apiFolder}/${apiRole}`, options), destination: apiInside });
  }
  const depth = ({ destination }: Mount) => destination.split("/").length;
  return [...given, ...asked].sort((one, other) => depth(one) - depth(other));
}

function memory({ target, size, mode = 0o1777, readOnly, exec }: TmpfsMount): Mount {
  const options = [
    ...["nosuid", "nodev", `mode=${mode.toString(8)}`],
    ...(exec ? [] : ["noexec"]),
    ...(size === undefined ? [] : [`size=${size}`]),
    ...(readOnly ? ["ro"] : []),
  ];
  return { destination: target, type: "tmpfs", source: "tmpfs", options };
}

function host(mount: BindMount, ownUsers: boolean): Mount {
  const { source, target, readOnly, recursive = true, subPath, propagation } = mount;
  // Without `recursive` as well for what lies below: a writable mount of the host could be there.
  const options = [
    recursive ? "rbind" : "bind",
    ...(propagation === undefined ? [] : [recursive ? `r${propagation}` : propagation]),
    ...(readOnly ? [recursive ? "rro" : "ro"] : []),
    ...mapping(mount.idmap, recursive, ownUsers),
  ];
  return {
    ...{ destination: target, type: "bind", source, options },
    ...(subPath === undefined ? {} : { subPath }),
  };
}

function volume(place: Place, mount: VolumeMount, ownUsers: boolean): Mount {
  const found = place.volumes?.get(mount.source);
  if (found === undefined) {
    throw new KurmaError("missing", `Cannot mount volume "${mount.source}": it is not there`, {
      fix: "Create it first",
    });
  }
  const options = [
    ...["rbind", "nosuid", "nodev"],
    ...(mount.readOnly || found.readOnly ? ["rro"] : []),
    ...mapping(mount.idmap, true, ownUsers),
  ];
  const parts = [found.subPath, mount.subPath].filter((part) => part !== undefined);
  return {
    ...{ destination: mount.target, type: "bind", source: found.path, options },
    ...(parts.length === 0 ? {} : { subPath: parts.join("/") }),
  };
}

/** With ids of its own, owners inside are to be owners outside unless that is turned off. */
function mapping(idmap: boolean | undefined, recursive: boolean, ownUsers: boolean): string[] {
  if (!ownUsers || idmap === false) return [];
  return [recursive ? "ridmap" : "idmap"];
}
