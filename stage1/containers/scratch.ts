/**
 * What one running container has for itself: a name, a folder, a range of user ids.
 * All three are claimed by one locked folder, so whoever finds it unlocked knows that
 * its owner is dead and may clear up after it; and where stage2 removes the folder,
 * nothing is left of the claim.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Kernel } from "../../ffi/kernel.ts";
import { checkName, newId } from "./names.ts";
import { firstId, foregroundRanges, freeRange } from "./ranges.ts";

/** A claim; disposing of it gives up the name and removes the folder. */
export interface Scratch extends Disposable {
  /** The container's id: its name, or 32 random hexadecimal digits. */
  readonly id: string;
  /** The folder, with `upper` and `work` in it, empty and on one file system. */
  readonly path: string;
  /** The first of 65,536 user and group ids of the host that no other container has. */
  readonly firstId: number;
}

/**
 * Claims what one container needs below `root`, and clears up after dead ones.
 *
 * @param name The container's name; a random id if left out.
 * @param announce Told the path of the folder before it is made.
 * @throws {KurmaError} `invalid` for a name that is none, `state` for one in use or when
 * 1,024 containers run.
 */
export function claim(
  kernel: Kernel,
  root: string,
  name?: string,
  announce: (path: string) => void = () => {},
): Scratch {
  if (name !== undefined) checkName("container", name);
  const runs = `${root}/runs`;
  Deno.mkdirSync(runs, { recursive: true, mode: 0o700 });
  using _alone = lockFolder(runs);
  const taken = clearDead(kernel, runs);

  const id = name ?? newId();
  if (taken.has(id)) {
    throw new KurmaError("state", `Cannot start "${id}": a container of that name runs`, {
      fix: "Choose another --name, or leave it out",
    });
  }
  const range = freeRange(foregroundRanges, new Set(taken.values()));
  const path = `${runs}/${id}`;
  kernel.remove(path); // Without its range: whoever made it died on the way.
  announce(path);
  Deno.mkdirSync(path, { mode: 0o700 });
  const lock = Deno.openSync(path);
  lock.tryLockSync(true); // Nobody can have it: it was made while we hold all of them.
  Deno.writeTextFileSync(`${path}/range`, String(range));
  Deno.mkdirSync(`${path}/upper`);
  Deno.chmodSync(`${path}/upper`, 0o755);
  Deno.mkdirSync(`${path}/work`, { mode: 0o700 });
  return {
    id,
    path,
    firstId: firstId(range),
    [Symbol.dispose]() {
      using _alone = lockFolder(runs);
      // stage2 may have removed it, and another container have taken the name since.
      if (inode(path) === lock.statSync().ino) kernel.remove(path);
      lock.close();
    },
  };
}

/**
 * Clears up after dead ones, as the next claim would.
 *
 * @param tell Told the path of each.
 * @param meanwhile Done while nobody can claim anything, with the names of those that live.
 */
export function clearRuns(
  kernel: Kernel,
  root: string,
  tell: (path: string) => void,
  meanwhile: (living: ReadonlySet<string>) => void,
): void {
  const runs = `${root}/runs`;
  using alone = ifThere(() => lockFolder(runs));
  const living = alone === undefined ? [] : clearDead(kernel, runs, tell).keys();
  meanwhile(new Set(living));
}

/** Removes what owners that were killed could not, and returns the ranges of the others. */
function clearDead(
  kernel: Kernel,
  runs: string,
  tell: (path: string) => void = () => {},
): Map<string, number> {
  const taken = new Map<string, number>();
  for (const { name } of [...Deno.readDirSync(runs)]) {
    const path = `${runs}/${name}`;
    using folder = ifThere(() => Deno.openSync(path));
    if (folder === undefined) continue;
    if (folder.tryLockSync(true)) {
      kernel.remove(path);
      tell(path);
    } else {
      const range = ifThere(() => Deno.readTextFileSync(`${path}/range`));
      if (range !== undefined) taken.set(name, Number(range));
    }
  }
  return taken;
}

function inode(path: string): number | null | undefined {
  return ifThere(() => Deno.statSync(path).ino);
}

/** stage2 removes what a container had while we look. */
function ifThere<Value>(look: () => Value): Value | undefined {
  try {
    return look();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Waits until nobody else claims or gives up. */
function lockFolder(path: string): Deno.FsFile {
  const folder = Deno.openSync(path);
  folder.lockSync(true);
  return folder;
}
