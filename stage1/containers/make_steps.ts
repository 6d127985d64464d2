/**
 * What a container, or a pod with its containers, consists of while it exists, running or
 * not, in the order in which it is made.
 *
 * @module
 */

import { folderOf, type Host, oneLine, trashOf } from "./host.ts";
import type { Container, Pod } from "./record.ts";
import type { Step } from "./steps.ts";

/** What is made together, and goes together. */
export interface Making {
  readonly containers: readonly Container[];
  readonly pod?: Pod;
}

/** The steps of existence on `host`. */
export function makingOf(host: Host): readonly Step<Making>[] {
  return [
    {
      name: "image",
      undo({ containers }) {
        // Lets go of the images, which were taken before.
        for (const container of containers) host.live.delete(container);
      },
    },
    {
      name: "folders",
      apply({ containers, pod }) {
        for (const container of containers) {
          // What is made already has its folder.
          if (host.live.of(container).madeBy === undefined) makeFolders(host, container);
        }
        if (pod) makePodFolders(folderOf(host, pod), pod);
      },
      async undo({ containers, pod }) {
        const folders = [...containers, ...pod ? [pod] : []].map((one) => discard(host, one.id));
        await Promise.all(folders);
      },
    },
    {
      // Last: what is recorded is whole. A folder without a record is swept at the start.
      name: "record",
      apply({ containers, pod }) {
        host.state.change(() => {
          host.state.add(containers, pod);
          if (pod) host.state.tell({ kind: "pod", id: pod.id, name: pod.name, action: "create" });
          for (const { id, name, image } of containers) {
            const attributes = { image: image.name };
            host.state.tell({ kind: "container", id, name, action: "create", attributes });
          }
        });
      },
      undo({ containers, pod }) {
        const recorded = containers.filter(({ id }) => host.state.containers.has(id));
        if (recorded.length === 0 && !(pod && host.state.pods.has(pod.id))) return;
        host.state.change(() => {
          host.state.remove(recorded, pod);
          for (const { id, name } of recorded) {
            host.state.tell({ kind: "container", id, name, action: "remove" });
          }
          if (pod) host.state.tell({ kind: "pod", id: pod.id, name: pod.name, action: "remove" });
        });
      },
    },
  ];
}

/** Makes the folder of a container, of which nothing is there. */
export function makeFolders(host: Host, container: Pick<Container, "id">): void {
  const folder = folderOf(host, container);
  Deno.mkdirSync(folder, { mode: 0o700 });
  Deno.mkdirSync(`${folder}/upper`);
  // Not by `mkdir`, whose mode the umask cuts.
  Deno.chmodSync(`${folder}/upper`, 0o755);
  Deno.mkdirSync(`${folder}/log`, { mode: 0o700 });
}

function makePodFolders(folder: string, pod: Pod): void {
  Deno.mkdirSync(`${folder}/volumes`, { recursive: true, mode: 0o700 });
  for (const { name, kind, mode = 0o755, uid = 0, gid = 0 } of pod.spec.volumes ?? []) {
    if (kind !== "empty") continue;
    // With the numbers that the containers have for them: mounts of it are idmapped.
    Deno.mkdirSync(`${folder}/volumes/${name}`);
    Deno.chownSync(`${folder}/volumes/${name}`, uid, gid);
    Deno.chmodSync(`${folder}/volumes/${name}`, mode);
  }
}

/** Takes a folder out of sight at once; what a container wrote may take long to remove. */
async function discard(host: Host, id: string): Promise<void> {
  const trash = `${trashOf(host.folders.containers)}/${id}`;
  try {
    Deno.renameSync(folderOf(host, { id }), trash);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  try {
    await removeTree(trash);
  } catch (error) {
    // Out of sight it is; whatever the machine has too little of, there may be some later.
    host.log("warn", "Cannot remove what is left of a container; trying again", {
      path: trash,
      cause: oneLine(error),
    });
    removeLater(host, trash, firstPauseMs);
  }
}

const firstPauseMs = 1_000;
const lastPauseMs = 60_000;

/** Removes a tree when that can be done; the next kurmad does it if this one ends before. */
function removeLater(host: Host, path: string, pauseMs: number): void {
  const timer = setTimeout(() => {
    removeTree(path).catch((error) => {
      host.log("debug", "Still cannot remove it", { path, cause: oneLine(error) });
      removeLater(host, path, Math.min(2 * pauseMs, lastPauseMs));
    });
  }, pauseMs);
  Deno.unrefTimer(timer);
}

/** Removes a tree on a thread of its own; what is not there is success. */
export async function removeTree(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
