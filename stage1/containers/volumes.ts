/**
 * Volumes: folders that outlive containers.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { KernelError } from "../../ffi/kernel.ts";
import { type Host, oneLine, trashOf } from "./host.ts";
import { removeTree } from "./make_steps.ts";
import { checkName, newId } from "./names.ts";
import type { Container, Pod, Volume } from "./record.ts";

/** Where a volume's files are: an absolute host path. */
export function volumeFolder(host: Pick<Host, "folders">, name: string): string {
  return `${host.folders.volumes}/${name}`;
}

/** Numbers of projects from here on are ours; others count theirs from 1. */
const firstProject = 0x4b00_0000;
const lastProject = 0x4bff_ffff;

/**
 * Makes a volume. One that is there with the same labels and limit is left as it is.
 *
 * @param bytes What it may take; 0 for no limit.
 * @throws {KurmaError} `invalid`: no name for one; `state`: it has other labels or another
 * limit; `kernel`: its file system cannot limit it.
 */
export function createVolume(
  host: Host,
  name: string,
  labels: Readonly<Record<string, string>> = {},
  bytes = 0,
): Volume {
  checkName("volume", name);
  const known = host.state.volumes.get(name);
  if (known !== undefined) {
    if (isEqual(known.labels, labels) && (known.quota?.bytes ?? 0) === bytes) return known;
    throw new KurmaError(
      "state",
      `Cannot create volume "${name}": it is there, with other labels or another quota`,
      {
        fix: "Choose another name, or update it",
      },
    );
  }
  const volume: Volume = {
    ...{ name, labels, createdAt: Date.now() },
    ...(bytes === 0 ? {} : { quota: { project: freeProject(host), bytes } }),
  };
  const folder = volumeFolder(host, name);
  // The folder first: what is recorded is there. One without a record is made anew: nobody
  // but a kurmad that was killed here can have made it, and it is empty.
  host.kernel.remove(folder);
  Deno.mkdirSync(folder);
  Deno.chmodSync(folder, 0o755);
  try {
    if (volume.quota) limitFolder(host, name, volume.quota);
    host.state.change(() => {
      host.state.saveVolume(volume);
      host.state.tell({ kind: "volume", id: name, name, action: "create" });
    });
  } catch (error) {
    Deno.removeSync(folder);
    throw error;
  }
  return volume;
}

/** A number that no volume has. */
function freeProject(host: Host): number {
  const taken = new Set([...host.state.volumes.values()].map(({ quota }) => quota?.project));
  const count = lastProject - firstProject + 1;
  // Any, since the file system may still count what was removed to one that was used lately.
  let project = firstProject + crypto.getRandomValues(new Uint32Array(1))[0] % count;
  while (taken.has(project)) project = project === lastProject ? firstProject : project + 1;
  return project;
}

/** @throws {KurmaError} `kernel`: its file system cannot. */
function limitFolder(host: Host, name: string, { project, bytes }: NonNullable<Volume["quota"]>) {
  const folder = volumeFolder(host, name);
  try {
    host.kernel.limitFolder(folder, project, bytes);
  } catch (cause) {
    if (!(cause instanceof KernelError)) throw cause;
    const message = `Cannot limit volume "${name}": the file system of ${host.folders.volumes} ` +
      `has no project quotas in force (${cause.errno})`;
    throw new KurmaError("kernel", message, {
      cause,
      fix: "Mount an ext4 or xfs with prjquota there, or leave the quota out",
    });
  }
}

/** @throws {KurmaError} `missing`. */
export function getVolume(host: Host, name: string): Volume {
  const found = host.state.volumes.get(name);
  if (found !== undefined) return found;
  throw new KurmaError("missing", `Cannot find volume ${JSON.stringify(name.slice(0, 140))}`, {
    fix: "Create it first",
  });
}

/**
 * Changes a volume.
 *
 * @param labels An empty value removes one.
 * @param bytes What it may take from now on; 0 lifts the limit; undefined leaves it.
 * @throws {KurmaError} `state`: it was made without a limit, and what is in it is not counted.
 */
export function updateVolume(
  host: Host,
  name: string,
  labels: Readonly<Record<string, string>>,
  bytes?: number,
): Volume {
  const before = getVolume(host, name);
  if (before.quota === undefined && (bytes ?? 0) > 0) {
    throw new KurmaError("state", `Cannot limit volume "${name}": it was made without a quota`, {
      fix: "Create another one with a quota, and copy what is in this one",
    });
  }
  const quota = before.quota && { ...before.quota, bytes: bytes ?? before.quota.bytes };
  const merged = Object.entries({ ...before.labels, ...labels }).filter(([, value]) =>
    value !== ""
  );
  const volume: Volume = {
    ...before,
    labels: Object.fromEntries(merged),
    ...(quota ? { quota } : {}),
  };
  if (quota && quota.bytes !== before.quota?.bytes) limitFolder(host, name, quota);
  host.state.change(() => {
    host.state.saveVolume(volume);
    host.state.tell({ kind: "volume", id: name, name, action: "update" });
  });
  return volume;
}

/** The containers that have a volume, running or not. */
export function usersOf(host: Host, name: string): Container[] {
  return [...host.state.containers.values()].filter((container) =>
    volumesOf(container, host.state.pods.get(container.pod ?? "")).includes(name)
  );
}

/** The volumes of the machine that a container has. */
export function volumesOf(container: Container, pod?: Pod): string[] {
  return (container.spec.mounts ?? []).flatMap((mount) => {
    if (mount.type !== "volume") return [];
    const own = pod?.spec.volumes?.find(({ name }) => name === mount.source);
    if (own === undefined) return [mount.source];
    return own.kind === "named" ? [own.source ?? own.name] : [];
  });
}

/**
 * Removes a volume and all that is in it.
 *
 * @throws {KurmaError} `missing`; `state`: a container has it.
 */
export async function removeVolume(host: Host, name: string): Promise<void> {
  const { quota } = getVolume(host, name);
  const users = usersOf(host, name).map((container) => container.name);
  if (users.length > 0) {
    throw new KurmaError("state", `Cannot remove volume "${name}": ${users.join(", ")} has it`, {
      fix: "Remove the container first",
    });
  }
  try {
    // Nobody's limit from now on; the number may be another's later.
    if (quota && quota.bytes > 0) limitFolder(host, name, { ...quota, bytes: 0 });
  } catch (error) {
    // The file system has none any more.
    host.log("warn", `Cannot lift the quota of volume "${name}"`, { cause: oneLine(error) });
  }
  const trash = `${trashOf(host.folders.volumes)}/${newId()}`;
  host.state.change(() => {
    host.state.removeVolume(name);
    host.state.tell({ kind: "volume", id: name, name, action: "remove" });
  });
  Deno.renameSync(volumeFolder(host, name), trash);
  await host.state.durable();
  await removeTree(trash);
}

function isEqual(
  one: Readonly<Record<string, string>>,
  other: Readonly<Record<string, string>>,
): boolean {
  const keys = Object.keys(one);
  return keys.length === Object.keys(other).length && keys.every((key) => one[key] === other[key]);
}
