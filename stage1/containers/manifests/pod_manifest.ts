/**
 * appc's pod manifests as pods of ours.
 *
 * @module
 * @see appc spec 0.8.11, pods.md; original.md, appendix B
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { parseApp } from "../../images/aci_manifest.ts";
import type { ImageConfig } from "../../images/image.ts";
import { quote } from "../../images/sources/digest.ts";
import { type JsonObject, parseJsonObject } from "../../images/sources/json.ts";
import {
  absent,
  absolutePath,
  boolean,
  changed,
  check,
  consistent,
  integer,
  listOf,
  object,
  pattern,
  type Schema,
  text,
  unchecked,
  word,
} from "../../schema.ts";
import {
  type AppSpec,
  type ContainerSpec,
  defaults,
  type MountSpec,
  type PodSpec,
  type PodVolume,
} from "../spec.ts";
import { parsePodSpec } from "../validate.ts";
import { isolate, type Isolation, type Isolator, type Outcome } from "./isolators.ts";

/** A manifest, and what became of the isolators in it. */
export interface FromManifest {
  readonly spec: PodSpec;
  readonly outcomes: readonly Outcome[];
}

interface Pair {
  readonly name: string;
  readonly value: string;
}

interface Manifest {
  readonly acVersion?: string;
  readonly acKind?: string;
  /** Kurma's own: the configuration's initial pods have it. */
  readonly name?: string;
  readonly apps: readonly App[];
  readonly volumes?: readonly Volume[];
  readonly isolators?: readonly Isolator[];
  readonly annotations?: readonly Pair[];
  readonly ports?: readonly unknown[];
  readonly userAnnotations?: Readonly<Record<string, string>>;
  readonly userLabels?: Readonly<Record<string, string>>;
}

interface App {
  readonly name: string;
  readonly image: ImageReference;
  readonly app?: JsonObject;
  readonly readOnlyRootFS?: boolean;
  readonly mounts?: readonly { readonly volume: string; readonly path: string }[];
  readonly annotations?: readonly Pair[];
}

interface ImageReference {
  readonly name?: string;
  readonly id?: string;
  readonly labels?: readonly Pair[];
}

interface Volume {
  readonly name: string;
  readonly kind: "empty" | "host";
  readonly source?: string;
  readonly readOnly?: boolean;
  /** As `0755`. */
  readonly mode?: string;
  readonly uid?: number;
  readonly gid?: number;
  readonly recursive?: boolean;
}

/**
 * The pod that a manifest describes. What it says is its author's will, isolators too.
 *
 * @param what Names it in messages, as in `the manifest of pod "shop"`.
 * @throws {KurmaError} `invalid`: not a pod manifest; the fields that are wrong are named.
 */
export function parsePodManifest(bytes: Uint8Array, what: string): FromManifest {
  return podOfManifest(parseJsonObject(bytes, what), what);
}

/** As {@linkcode parsePodManifest}, of a manifest that is part of another document. */
export function podOfManifest(document: unknown, what: string): FromManifest {
  const manifest = check(manifestSchema, document, what);
  const pod = isolate(manifest.isolators ?? [], "request", what);
  const outcomes = pod.outcomes.map((each) => ofPod(each));
  if (manifest.ports && manifest.ports.length > 0) {
    outcomes.push({ name: "ports", outcome: "ignored", reason: "no ports are published" });
  }
  const volumes = (manifest.volumes ?? []).map(podVolume);
  const apps = manifest.apps.map((app, at) => {
    const { spec, outcomes: more } = appSpec(
      app,
      new Set(volumes.map(({ name }) => name)),
      `apps[${at}] of ${what}`,
    );
    outcomes.push(...more.map((each) => ({ ...each, name: `${app.name}: ${each.name}` })));
    return spec;
  });
  const { network, ipc, uts, pid, user } = pod.namespaces;
  const spec: PodSpec = {
    ...(manifest.name === undefined ? {} : { name: manifest.name }),
    apps,
    ...(pid === undefined ? {} : { share: [...defaults.podShare, "pid"] }),
    namespaces: defined({ network, ipc, uts, pid, user }),
    volumes,
    annotations: { ...record(manifest.annotations), ...manifest.userAnnotations },
    labels: manifest.userLabels ?? {},
    resources: pod.resources,
    sysctls: pod.sysctls,
  };
  return { spec: parsePodSpec(spec, what), outcomes };
}

/** Isolators that bound the pod as a whole; the others are an app's. */
const podIsolators = ["resource/cpu", "resource/memory", "os/linux/namespaces", "os/unix/sysctl"];

function ofPod(outcome: Outcome): Outcome {
  if (outcome.outcome !== "enforced" || podIsolators.includes(outcome.name)) return outcome;
  return { name: outcome.name, outcome: "ignored", reason: "it belongs to an app, not to a pod" };
}

/**
 * What an `app` object and its isolators ask for, whoever wrote them.
 *
 * @throws {KurmaError} `invalid`.
 */
export function specOfApp(
  app: ImageConfig,
  what: string,
): { spec: Omit<ContainerSpec, "image">; isolation: Isolation } {
  const isolation = isolate(app.isolators ?? [], "request", what);
  const handler = (name: string) => app.eventHandlers?.find((each) => each.name === name)?.exec;
  const eventHandlers = defined({ preStart: handler("pre-start"), postStop: handler("post-stop") });
  const security = { ...isolation.security, ...(isolation.hostTree ? { hostTree: true } : {}) };
  const spec = defined({
    imageDefaults: false,
    command: app.command,
    env: app.env,
    user: app.user,
    group: app.group,
    extraGroups: app.supplementaryGids,
    workingDir: app.workingDir || undefined,
    eventHandlers: some(eventHandlers),
    resources: some(isolation.resources),
    capabilities: isolation.capabilities,
    security: some(security),
    namespaces: some(isolation.namespaces),
    sysctls: some(isolation.sysctls),
  });
  return { spec, isolation };
}

function appSpec(
  app: App,
  volumes: ReadonlySet<string>,
  what: string,
): { spec: AppSpec; outcomes: readonly Outcome[] } {
  const { name, readOnlyRootFS } = app;
  const base = { name, image: imageName(app.image, what) };
  const mounts = (app.mounts ?? []).map(({ volume, path }): MountSpec => {
    return { type: "volume", source: volume, target: path };
  });
  const shared = defined({
    mounts: some(mounts),
    annotations: some(record(app.annotations)),
  });
  const readOnly = readOnlyRootFS ? { readOnlyRoot: true } : {};
  if (app.app === undefined) {
    return { spec: { ...base, ...shared, ...defined({ security: some(readOnly) }) }, outcomes: [] };
  }
  const config = parseApp({ app: app.app }, {}, what);
  const { spec, isolation } = specOfApp(config, what);
  const security = some({ ...spec.security, ...readOnly });
  const taken = new Set(mounts.map(({ target }) => target));
  // Its mount points take the volumes of their names, as an image's do.
  const points = (config.mountPoints ?? [])
    .filter(({ name, path }) => volumes.has(name) && !taken.has(path))
    .map(({ name, path, readOnly }): MountSpec => {
      return { type: "volume", source: name, target: path, ...(readOnly ? { readOnly } : {}) };
    });
  return {
    spec: {
      ...base,
      ...spec,
      ...shared,
      ...defined({ security, mounts: some([...mounts, ...points]) }),
    },
    outcomes: isolation.outcomes,
  };
}

/** The id if there is one: it says exactly which image. */
function imageName({ id, name, labels }: ImageReference, what: string): string {
  if (id !== undefined) return id;
  if (name === undefined) {
    throw new KurmaError("invalid", `Cannot use ${what}: its image has no name and no id`, {
      fix: "Name the image",
    });
  }
  const { version, ...others } = record(labels);
  const ours: Readonly<Record<string, string>> = { os: "linux" };
  const foreign = Object.entries(others)
    .filter(([label, value]) => label !== "arch" && ours[label] !== value)
    .map(([label]) => label);
  if (foreign.length > 0) {
    const message = `Cannot use ${what}: its image has the label ${quote(foreign[0])}`;
    throw new KurmaError("invalid", message, {
      fix: "Choose the image by its name and version, or by its id",
    });
  }
  return version === undefined ? name : `${name}:${version}`;
}

function podVolume({ name, kind, source, readOnly, mode, uid, gid }: Volume): PodVolume {
  const permissions = mode === undefined ? undefined : Number.parseInt(mode, 8);
  return { name, kind, ...defined({ source, readOnly, mode: permissions, uid, gid }) };
}

function record(pairs: readonly Pair[] = []): Record<string, string> {
  return Object.fromEntries(pairs.map(({ name, value }) => [name, value]));
}

/** Without the fields that are undefined. */
function defined<T extends object>(value: T): T {
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(entries) as T;
}

/** Undefined for what has nothing in it. */
function some<T extends object>(value: T): T | undefined {
  return Object.keys(value).length > 0 ? value : undefined;
}

/** @see appc spec, types.md, "AC Name Type" */
const acName: Schema<string> = pattern(/^(?=.{1,128}$)[a-z0-9]+(?:-[a-z0-9]+)*$/, "an appc name");

const identifier: Schema<string> = pattern(
  /^(?=.{1,255}$)[a-z0-9]+(?:[-._~/][a-z0-9]+)*$/,
  "an appc identifier",
);

const pairs: Schema<readonly Pair[]> = consistent(
  listOf(object<Pair>({ name: identifier, value: text(64 * 1024) }), 512),
  function* (list) {
    for (const [at, { name }] of list.entries()) {
      if (list.findIndex((other) => other.name === name) !== at) {
        yield [[at, "name"], `"${name}" stands twice`];
      }
    }
  },
);

const imageReference: Schema<ImageReference> = object<ImageReference>({
  name: absent(changed(text(255), (name) => name || undefined)),
  id: absent(
    pattern(/^(?:sha512-[0-9a-f]{4,128}|sha256:[0-9a-f]{64})$/, "sha512- and hexadecimal digits"),
  ),
  labels: absent(pairs),
});

const isolators: Schema<readonly Isolator[]> = listOf(
  object<Isolator>({ name: text(255), value: unchecked }),
  64,
);

const userId: Schema<number> = integer(0, 65_535);

const manifestSchema: Schema<Manifest> = consistent(
  object<Manifest>({
    acVersion: absent(
      pattern(/^[0-9]+\.[0-9]+\.[0-9]+(?:[-+][0-9A-Za-z.+-]{1,64})?$/, "a version"),
    ),
    acKind: absent(word("PodManifest")),
    name: absent(text(128)),
    apps: listOf(
      object<App>({
        name: acName,
        image: imageReference,
        app: absent(unchecked as Schema<JsonObject>), // parseApp() reads it.
        readOnlyRootFS: absent(boolean),
        mounts: absent(listOf(object({ volume: acName, path: absolutePath }), 256)),
        annotations: absent(pairs),
      }),
      64,
    ),
    volumes: absent(listOf(
      object<Volume>({
        name: acName,
        kind: word("empty", "host"),
        source: absent(changed(text(4_095), (source) => source || undefined)),
        readOnly: absent(boolean),
        mode: absent(pattern(/^[0-7]{1,4}$/, "permissions as in 0755")),
        uid: absent(userId),
        gid: absent(userId),
        recursive: absent(boolean),
      }),
      256,
    )),
    isolators: absent(isolators),
    annotations: absent(pairs),
    ports: absent(listOf(unchecked, 256)),
    userAnnotations: absent(unchecked as Schema<Record<string, string>>),
    userLabels: absent(unchecked as Schema<Record<string, string>>),
  }),
  function* ({ apps, volumes = [] }) {
    for (const [at, { mounts = [] }] of apps.entries()) {
      for (const [index, { volume }] of mounts.entries()) {
        if (volumes.some(({ name }) => name === volume)) continue;
        yield [["apps", at, "mounts", index, "volume"], `the pod has no volume "${volume}"`];
      }
    }
  },
);
