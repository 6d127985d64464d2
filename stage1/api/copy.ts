/**
 * CopyIn and CopyOut: files of containers as tar archives.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { copyIn, copyOut, lookAt } from "../containers/copy.ts";
import { withRoot } from "../containers/inside.ts";
import type { Manager } from "../containers/manager.ts";
import { meaningOf } from "../containers/planning.ts";
import { ownerOf } from "../containers/shell.ts";
import { channel } from "./channel.ts";
import type { CopyInRequest, CopyOutRequest } from "./kurma.gen.ts";
import { timestamp } from "./messages.ts";

/** Unpacks what the caller sends. */
export async function copyInto(manager: Manager, requests: AsyncIterable<CopyInRequest>) {
  const iterator = requests[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done || first.value.message.case !== "start") {
    throw new KurmaError("invalid", "Cannot begin: the first message is not `start`", {
      fix: "Send the settings first, and only once",
    });
  }
  const { container: reference, path, keepOwners, replace } = first.value.message.value;
  requireAbsolute(path);
  const container = manager.get(reference);
  async function* chunks() {
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
      if (next.value.message.case === "chunk") yield next.value.message.value;
    }
  }
  const { entries, bytes } = await withRoot(manager.host, container, (inside) => {
    const { user } = meaningOf(manager.host, container);
    const owner = keepOwners ? undefined : ownerOf(inside, user);
    return copyIn(inside, path, chunks(), { owner, replace });
  });
  return { entries: BigInt(entries), bytes: BigInt(bytes) };
}

/** Packs what is at a path. */
export async function* copyOutOf(
  manager: Manager,
  { container: reference, path, followLink }: CopyOutRequest,
) {
  requireAbsolute(path);
  const container = manager.get(reference);
  const messages = channel<Message>((send) =>
    withRoot(manager.host, container, async (inside) => {
      const { name, mode, bytes, modified, target } = lookAt(inside, path, followLink);
      await send({
        case: "file",
        value: {
          name,
          mode,
          bytes: BigInt(bytes),
          modifyTime: timestamp(modified),
          linkTarget: target,
        },
      });
      for await (const value of copyOut(inside, path, followLink)) {
        if (!await send({ case: "chunk", value })) return;
      }
    })
  );
  for await (const message of messages) yield { message };
}

type Message =
  | {
    case: "file";
    value: {
      name: string;
      mode: number;
      bytes: bigint;
      modifyTime: ReturnType<typeof timestamp>;
      linkTarget: string;
    };
  }
  | { case: "chunk"; value: Uint8Array };

function requireAbsolute(path: string): void {
  if (path.startsWith("/") && !path.includes("\0")) return;
  throw new KurmaError("invalid", `Cannot copy at ${JSON.stringify(path.slice(0, 120))}`, {
    fix: "Name a path that starts with /",
  });
}
