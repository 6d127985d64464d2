/**
 * The service of pods.
 *
 * @module
 */

import type { ServiceImpl } from "@connectrpc/connect";
import { isReachable } from "../containers/confined.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { folderBytes } from "../containers/folder_bytes.ts";
import { folderOf, isUp } from "../containers/host.ts";
import type { Manager } from "../containers/manager.ts";
import { parsePodManifest } from "../containers/manifests/pod_manifest.ts";
import type { Container, Pod } from "../containers/record.ts";
import type { PodSpec } from "../containers/spec.ts";
import { hasLabels, pullPolicy, signalOf } from "./containers.ts";
import type { CreatePodRequest, Pods } from "./kurma.gen.ts";
import { podMessage, timeOf } from "./messages.ts";
import { milliseconds, podSpec } from "./settings.ts";
import { restrictionsKey } from "./via.ts";

/** The methods of `kurma.v1.Pods`. */
export function podService(manager: Manager): ServiceImpl<typeof Pods> {
  const { pods } = manager;
  const answer = (pod: Pod) => ({ pod: podMessage(manager, pod) });
  /** An app that does not run, or not any more, is none to do it to. */
  const toEach = async (reference: string, work: (app: Container) => Promise<unknown>) => {
    for (const app of pods.apps(pods.get(reference)).filter(isUp)) {
      try {
        await work(app);
      } catch (error) {
        if (!(error instanceof KurmaError && error.code === "state")) throw error;
      }
    }
    return {};
  };
  return {
    async create(request, { values }) {
      const pod = await pods.create(specOf(request), request.manifest, {
        pull: pullPolicy(request.pull),
        restrictions: values.get(restrictionsKey),
      });
      if (!request.start) return answer(pod);
      try {
        return answer(await pods.start(pod.id));
      } catch (error) {
        await pods.remove(pod.id, true);
        throw error;
      }
    },
    start: async ({ pod }) => answer(await pods.start(pod)),
    stop: async ({ pod, timeout }) => answer(await pods.stop(pod, limitOf(milliseconds(timeout)))),
    restart: async ({ pod, timeout }) =>
      answer(await pods.restart(pod, limitOf(milliseconds(timeout)))),
    async kill({ pod, signal }) {
      const number = signal === "" ? 9 : signalOf(signal);
      return await toEach(pod, ({ id }) => manager.kill(id, number));
    },
    pause: async ({ pod }) => await toEach(pod, ({ id }) => manager.pause(id)),
    resume: async ({ pod }) => await toEach(pod, ({ id }) => manager.resume(id)),
    remove: async ({ pod, force }) => ({ id: (await pods.remove(pod, force)).id }),
    rename: async ({ pod, name }) => answer(await pods.rename(pod, name)),
    get: ({ pod }) => answer(pods.get(pod)),
    list({ states, labels, prefix }) {
      const found = pods.list().map((pod) => podMessage(manager, pod, false)).filter((pod) =>
        (states.length === 0 || states.includes(pod.state)) && hasLabels(pod.labels, labels) &&
        (pod.name.startsWith(prefix) || pod.id.startsWith(prefix))
      );
      return { pods: found };
    },
    async prune({ until }, { values }) {
      const before = timeOf(until) ?? Infinity;
      const restrictions = values.get(restrictionsKey);
      const { host } = manager;
      const ids: string[] = [];
      let freed = 0;
      for (const pod of pods.list()) {
        const apps = pods.apps(pod);
        const rests = (app: typeof apps[number]) =>
          !isUp(app) && manager.host.live.find(app).restart === undefined &&
          (app.status.endedAt ?? app.createdAt) < before &&
          isReachable(manager.host, app, restrictions);
        if (!apps.every(rests)) continue;
        let bytes = 0;
        for (const one of [pod, ...apps]) {
          bytes += await folderBytes(host.kernel, folderOf(host, one)) ?? 0;
        }
        // One may have been started meanwhile.
        if (!pods.apps(pod).every(rests)) continue;
        ids.push((await pods.remove(pod.id)).id);
        freed += bytes;
      }
      return { ids, freedBytes: BigInt(freed) };
    },
  };
}

/** A manifest counts instead of the apps; what else the request says goes over it. */
function specOf(request: CreatePodRequest): PodSpec {
  if (request.manifest === "") return podSpec(request);
  if (request.apps.length > 0) {
    throw new KurmaError("invalid", "Cannot make a pod from a manifest and from apps", {
      fix: "Leave one of them out",
    });
  }
  const bytes = new TextEncoder().encode(request.manifest);
  return podSpec(request, parsePodManifest(bytes, "the manifest").spec);
}

function limitOf(limitMs: number | undefined): { limitMs?: number } {
  return limitMs === undefined ? {} : { limitMs };
}
