/**
 * Volumes: folders that outlive containers.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Host, trashOf } from "./host.ts";
import { removeTree } from "./make_steps.ts";
import { checkName, newId } from "./names.ts";
import type { Container, Pod, Volume } from "./record.ts";

/** Where a volume's files are: an absolute host path. */
export function volumeFolder(host: Pick<Host, "folders">, name: string): string {
  return `${host.folders.volumes}/${name}`;
}

/**
 * Makes a volume. One that is there with the same labels is left as it is.
 *
 * @throws {KurmaError} `invalid`: no name for one; `state`: it has other labels.
 */
export function createVolume(
  host: Host,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Volume {
  checkName("volume", name);
  const known = host.state.volumes.get(name);
  if (known !== undefined) {
    if (isEqual(known.labels, labels)) return known;
    throw new KurmaError(
      "state",
      `Cannot create volume "${name}": it is there, with other labels`,
      {
        fix: "Choose another name, or update its labels",
      },
    );
  }
  const volume = { name, labels, createdAt: Date.now() };
  // The folder first: what is recorded is there. One without a record is taken as it is,
  // since nobody but a kurmad that was killed here can have made it, and it is empty.
  Deno.mkdirSync(volumeFolder(host, name), { recursive: true });
  Deno.chmodSync(volumeFolder(host, name), 0o755);
  host.state.change(() => {
    host.state.saveVolume(volume);
    host.state.tell({ kind: "volume", id: name, name, action: "create" });
  });
  return volume;
}

/** @throws {KurmaError} `missing`. */
export function getVolume(host: Host, name: string): Volume {
  const found = host.state.volumes.get(name);
  if (found !== undefined) return found;
  throw new KurmaError("missing", `Cannot find volume ${JSON.stringify(name.slice(0, 140))}`, {
    fix: "Create it first",
  });
}

/** Changes the labels of a volume: an empty value removes one. */
export function labelVolume(
  host: Host,
  name: string,
  labels: Readonly<Record<string, string>>,
): Volume {
  const before = getVolume(host, name);
  const merged = Object.entries({ ...before.labels, ...labels }).filter(([, value]) =>
    value !== ""
  );
  const volume = { ...before, labels: Object.fromEntries(merged) };
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
  getVolume(host, name);
  const users = usersOf(host, name).map((container) => container.name);
  if (users.length > 0) {
    throw new KurmaError("state", `Cannot remove volume "${name}": ${users.join(", ")} has it`, {
      fix: "Remove the container first",
    });
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
