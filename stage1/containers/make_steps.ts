/**
 * What a container consists of while it exists, running or not, in the order in which it
 * is made.
 *
 * @module
 */

import { folderOf, type Host } from "./host.ts";
import type { Container } from "./record.ts";
import type { Step } from "./steps.ts";

/** The steps of a container's existence on `host`. */
export function makingOf(host: Host): readonly Step<Container>[] {
  return [
    {
      name: "image",
      undo(container) {
        host.live.delete(container); // Lets go of the image, which `create` has taken.
      },
    },
    {
      name: "folder",
      apply(container) {
        const folder = folderOf(host, container);
        Deno.mkdirSync(folder, { mode: 0o700 });
        Deno.mkdirSync(`${folder}/upper`);
        // Not by `mkdir`, whose mode the umask cuts.
        Deno.chmodSync(`${folder}/upper`, 0o755);
        Deno.mkdirSync(`${folder}/log`, { mode: 0o700 });
      },
      async undo(container) {
        await removeFolder(host, container);
      },
    },
    {
      // Last: what is recorded is whole. A folder without a record is swept at the start.
      name: "record",
      apply(container) {
        const { id, name, image } = container;
        host.state.change(() => {
          host.state.add([container]);
          const attributes = { image: image.name };
          host.state.tell({ kind: "container", id, name, action: "create", attributes });
        });
      },
      undo(container) {
        const { id, name } = container;
        if (!host.state.containers.has(id)) return;
        host.state.change(() => {
          host.state.remove([container]);
          host.state.tell({ kind: "container", id, name, action: "remove" });
        });
      },
    },
  ];
}

/** A small tree is gone at once; what a container wrote may be large, and goes on the side. */
async function removeFolder(host: Host, container: Container): Promise<void> {
  const folder = folderOf(host, container);
  const trash = `${host.root}/trash/${container.id}`;
  try {
    Deno.renameSync(folder, trash);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  await removeTree(trash);
}

/** Removes a tree on a thread of its own; what is not there is success. */
export async function removeTree(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
