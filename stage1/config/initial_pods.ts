/**
 * The pods that are to be there when kurmad has started, as the configuration has them.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { isObject } from "../images/sources/json.ts";
import { podOfManifest } from "../containers/manifests/pod_manifest.ts";
import type { PodSpec } from "../containers/spec.ts";
import { parsePodSpec } from "../containers/validate.ts";

/** A pod with a name. */
export type NamedPod = PodSpec & { readonly name: string };

/**
 * Each entry as a pod: an image's name, an appc pod manifest, or a pod in our own words.
 *
 * @param what Names their document in messages.
 * @throws {KurmaError} `invalid`: one is none of them, or two have one name.
 */
export function initialPods(entries: readonly unknown[], what: string): NamedPod[] {
  const pods = entries.map((entry, at): NamedPod => {
    const spec = podOf(entry, `initialPods[${at}] of ${what}`);
    return { ...spec, name: spec.name ?? `initial-pod-${at + 1}` };
  });
  for (const [at, { name }] of pods.entries()) {
    if (pods.findIndex((other) => other.name === name) === at) continue;
    const message = `Cannot use initialPods[${at}] of ${what}: another pod is called "${name}"`;
    throw new KurmaError("invalid", message, { fix: "Give each a name of its own" });
  }
  return pods;
}

function podOf(entry: unknown, what: string): PodSpec {
  if (typeof entry === "string") {
    return parsePodSpec({ apps: [{ name: appName(entry), image: entry }] }, what);
  }
  if (!isObject(entry)) {
    throw new KurmaError("invalid", `Cannot use ${what}: it is neither an image nor a pod`, {
      fix: "Write an image's name, an appc pod manifest, or a pod with its apps",
    });
  }
  return isPodManifest(entry) ? podOfManifest(entry, what).spec : parsePodSpec(entry, what);
}

/** Whether it is appc's: its apps have an object as their image, ours a name. */
export function isPodManifest(entry: Readonly<Record<string, unknown>>): boolean {
  if (entry.acKind !== undefined || entry.acVersion !== undefined) return true;
  return Array.isArray(entry.apps) &&
    entry.apps.some((app) => isObject(app) && isObject(app.image));
}

/** What an image's app is called: the last part of its name. `docker.io/a/b:1@…` is `b`. */
function appName(image: string): string {
  const last = image.replace(/@.*$/s, "").replace(/\/+$/, "").split("/").at(-1) ?? "";
  const name = last.replace(/[:,].*$/s, "").replace(/[^a-zA-Z0-9_.-]/g, "-");
  return name.replace(/^[^a-zA-Z0-9]+/, "").slice(0, 64) || "app";
}
