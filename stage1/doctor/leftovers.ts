/**
 * What dead containers left behind: found without touching anything, and removed under the
 * same locks that those hold who make containers.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Kernel } from "../../ffi/kernel.ts";
import { preparedIds } from "../containers/ahead.ts";
import { trashOf } from "../containers/host.ts";
import { removeTree } from "../containers/make_steps.ts";
import { clearRuns } from "../containers/scratch.ts";
import { State } from "../containers/state.ts";
import { children, filesBelow, isBelow, isKurma, mountsOf, programOf, textOf } from "./proc.ts";

/** Something without an owner. */
export interface Leftover {
  /** What it is, as in `The folder of a dead container`. */
  readonly what: string;
  /** Its path. */
  readonly subject: string;
  /** Whether {@linkcode clear} removes it: nothing can be using it. */
  readonly isDead: boolean;
  /** What to do about it otherwise. */
  readonly fix?: string;
}

/** Where to look, and what is known to live. */
export interface Place {
  readonly root: string;
  /**
   * Ids of the containers and pods that are recorded; undefined if that cannot be told, as
   * then nothing of theirs is a leftover.
   */
  readonly recorded: ReadonlySet<string> | undefined;
  /** Whether a kurmad has the state. */
  readonly hasDaemon: boolean;
}

/** What is left over now. Changes nothing, and takes no lock that others may want. */
export function look(place: Place): readonly Leftover[] {
  const { root, recorded, hasDaemon } = place;
  const containers = `${root}/containers`;
  const held = heldInodes();
  const runs = deadRuns(`${root}/runs`, held).map((name): Leftover => ({
    what: "The folder of a dead container is",
    subject: `${root}/runs/${name}`,
    isDead: true,
  }));
  // One for a container to come is kurmad's.
  const living = new Set([...recorded ?? [], ...hasDaemon ? preparedIds(root) : []]);
  const unknown = recorded === undefined
    ? []
    : children(containers).filter((name) => !name.startsWith(".") && !living.has(name));
  const trash = hasDaemon ? [] : children(trashOf(containers)).map((name) => `.trash/${name}`);
  const folders = [...unknown, ...trash].map((name): Leftover => ({
    what: "No container is recorded for the folder",
    subject: `${containers}/${name}`,
    isDead: !hasDaemon,
    fix: "Restart kurmad: it removes those that nobody is making just now",
  }));
  const mounts = mountsOf(textOf("/proc/self/mountinfo"))
    .filter(({ point }) => isBelow(point, `${root}/runs`) || isBelow(point, containers))
    .map(({ point }): Leftover => ({
      what: "Something is mounted below a container's folder, which Kurma does not do:",
      subject: point,
      isDead: false,
      fix: `Unmount it if it is not yours: umount --lazy ${point}`,
    }));
  const cgroups = deadCgroups().map((path): Leftover => ({
    what: "The cgroup of a dead container is",
    subject: path,
    isDead: true,
  }));
  return [...runs, ...folders, ...mounts, ...cgroups];
}

/**
 * Removes what is dead. Whoever starts a container meanwhile waits, or finds what it needs
 * untouched.
 *
 * @param tell Told of each that is gone, and of each that could not be removed, with why.
 * @throws {KurmaError} `denied`: not root.
 */
export async function clear(
  kernel: Kernel,
  root: string,
  tell: (path: string, failure?: KurmaError) => void,
): Promise<void> {
  if (Deno.uid() !== 0) {
    throw new KurmaError("denied", "Cannot remove what containers left: only root may", {
      fix: "Run it as root, for example with sudo",
    });
  }
  const attempt = (path: string, work: () => void) => {
    try {
      work();
      tell(path);
    } catch (error) {
      if (error instanceof KurmaError) tell(path, error);
      else if (!isGone(error)) throw error;
    }
  };
  // Nobody takes a name while the lock is held; who has one keeps its folder locked.
  clearRuns(kernel, root, (path) => tell(path), (living) => {
    for (const path of deadCgroups()) {
      if (living.has(path.slice(path.lastIndexOf("/") + 1))) continue;
      attempt(path, () => removeCgroup(path));
    }
  });
  if (textOf(`${root}/state/lock`) === "") return; // No kurmad ever had it.
  let state: State;
  try {
    state = State.open(root);
  } catch (error) {
    if (error instanceof KurmaError && error.code === "state") return; // A kurmad has it.
    throw error;
  }
  try {
    const containers = `${root}/containers`;
    const known = (id: string) => state.containers.has(id) || state.pods.has(id);
    const dead = children(containers).filter((name) => !name.startsWith(".") && !known(name));
    const trash = children(trashOf(containers)).map((name) => `.trash/${name}`);
    for (const name of [...dead, ...trash]) {
      await removeTree(`${containers}/${name}`);
      tell(`${containers}/${name}`);
    }
  } finally {
    await state[Symbol.asyncDispose]();
  }
}

/** Inodes of files that somebody has locked. proc_locks(5) */
export function heldInodes(): ReadonlySet<number> {
  const inodes = textOf("/proc/locks").matchAll(/ [0-9a-f]+:[0-9a-f]+:(\d+) /g);
  return new Set([...inodes].map(([, inode]) => Number(inode)));
}

/** Folders below `runs` that no living process has; none while somebody is making one. */
function deadRuns(runs: string, held: ReadonlySet<number>): string[] {
  const isHeld = (path: string) => {
    const inode = inodeOf(path);
    return inode === undefined || held.has(inode);
  };
  if (isHeld(runs)) return [];
  return children(runs).filter((name) => !isHeld(`${runs}/${name}`));
}

function inodeOf(path: string): number | undefined {
  try {
    return Deno.statSync(path).ino ?? undefined;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.NotFound;
}

/** How deep services, slices and containers nest at most, where Kurma may run in them. */
const maxDepth = 8;

/**
 * Cgroups in a folder `kurma`, without a process, in a cgroup where nothing of Kurma runs
 * that could be about to use them. A cgroup in use cannot be removed anyway.
 */
function deadCgroups(): string[] {
  const tops = mountsOf(textOf("/proc/self/mountinfo"))
    .filter(({ type }) => type === "cgroup" || type === "cgroup2")
    .map(({ point }) => point);
  return tops.flatMap((top) => [...foldersOfKurma(top, maxDepth)])
    .filter((own) => !isKurmaIn(own.slice(0, -"/kurma".length)))
    .flatMap((own) => children(own).map((name) => `${own}/${name}`))
    .filter((path) => isFolder(path) && filesBelow(path, "cgroup.procs").every(isEmpty));
}

function* foldersOfKurma(folder: string, depth: number): Generator<string> {
  if (depth === 0) return;
  for (const name of children(folder)) {
    const path = `${folder}/${name}`;
    if (!isFolder(path)) continue;
    if (name === "kurma") yield path;
    else yield* foldersOfKurma(path, depth - 1);
  }
}

function isKurmaIn(cgroup: string): boolean {
  return [cgroup, `${cgroup}/kurma-host`].some((folder) =>
    textOf(`${folder}/cgroup.procs`).split("\n").some((pid) =>
      pid !== "" && Number(pid) !== Deno.pid && isKurma(programOf(Number(pid)))
    )
  );
}

function isEmpty(path: string): boolean {
  return textOf(path).trim() === "";
}

function isFolder(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Removes a cgroup and those in it. cgroups(7): rmdir(2), and no files. */
function removeCgroup(path: string): void {
  for (const name of children(path)) {
    if (isFolder(`${path}/${name}`)) removeCgroup(`${path}/${name}`);
  }
  try {
    Deno.removeSync(path);
  } catch (cause) {
    if (isGone(cause)) return;
    throw new KurmaError("state", `Cannot remove the cgroup "${path}": it is in use`, { cause });
  }
}
