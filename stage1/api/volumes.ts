/**
 * The service of volumes.
 *
 * @module
 */

import type { ServiceImpl } from "@connectrpc/connect";
import { KurmaError } from "../../ffi/errors.ts";
import { folderBytes } from "../containers/folder_bytes.ts";
import type { Manager } from "../containers/manager.ts";
import {
  createVolume,
  getVolume,
  removeVolume,
  updateVolume,
  usersOf,
  volumeFolder,
} from "../containers/volumes.ts";
import { hasLabels } from "./containers.ts";
import type { Volumes } from "./kurma.gen.ts";
import { volumeMessage } from "./messages.ts";

/** The methods of `kurma.v1.Volumes`. */
export function volumeService(manager: Manager): ServiceImpl<typeof Volumes> {
  const { host } = manager;
  const message = (name: string) => {
    const users = usersOf(host, name).map(({ id }) => id);
    return volumeMessage(manager, getVolume(host, name), users);
  };
  return {
    async create({ name, labels, quotaBytes }) {
      createVolume(host, name, labels, quota(quotaBytes));
      await host.state.durable();
      return { volume: message(name) };
    },
    async update({ volume, labels, quotaBytes }) {
      updateVolume(
        host,
        volume,
        labels,
        quotaBytes === undefined ? undefined : quota(quotaBytes),
      );
      await host.state.durable();
      return { volume: message(volume) };
    },
    async remove({ volume }) {
      await removeVolume(host, volume);
      return {};
    },
    async get({ volume }) {
      const found = message(volume);
      const bytes = await folderBytes(host.kernel, found.path);
      if (bytes !== undefined) found.usedBytes = BigInt(bytes);
      return { volume: found };
    },
    list({ labels }) {
      const names = [...host.state.volumes.keys()].sort();
      const found = names.filter((name) => hasLabels(getVolume(host, name).labels, labels));
      return { volumes: found.map(message) };
    },
    async prune({ labels }) {
      const names: string[] = [];
      let freed = 0;
      for (const { name, labels: own } of [...host.state.volumes.values()]) {
        const isLoose = () => host.state.volumes.has(name) && usersOf(host, name).length === 0;
        if (!hasLabels(own, labels) || !isLoose()) continue;
        const bytes = await folderBytes(host.kernel, volumeFolder(host, name)) ?? 0;
        if (!isLoose()) continue; // A container has it by now.
        await removeVolume(host, name);
        names.push(name);
        freed += bytes;
      }
      return { names, freedBytes: BigInt(freed) };
    },
  };
}

/** Bytes that a file system can have; what it counts is less than all of 64 bits. */
function quota(bytes: bigint): number {
  if (bytes <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(bytes);
  throw new KurmaError("invalid", `Cannot limit a volume to ${bytes} bytes: it is too much`, {
    fix: "Leave the quota out for no limit",
  });
}
