/**
 * kurmad's settings, each with what it takes, its default and what it is for. Checking,
 * the example and docs/configuration.md all come from this table.
 *
 * @module
 */

import { limitsSchema, ulimitsSchema } from "../containers/validate.ts";
import type { ResourceSpec, UlimitSpec } from "../containers/spec.ts";
import { defaults } from "../containers/spec.ts";
import {
  absolutePath,
  boolean,
  changed,
  either,
  integer,
  listOf,
  pattern,
  type Schema,
  text,
  unchecked,
  where,
  word,
} from "../schema.ts";
import { parseDuration, parseSize } from "../units.ts";

/** One setting. */
export interface Setting<T> {
  readonly schema: Schema<T>;
  /** What counts where nobody says anything, as it is after checking. */
  readonly fallback: NoInfer<T>;
  /** What it is for; sentences. */
  readonly help: string;
  /** A value as YAML has it, for the example; the default if left out. */
  readonly example?: unknown;
  /** Whether SIGHUP changes it; otherwise it takes a restart. */
  readonly reloads?: boolean;
  /** What to say of a setting that the original had and that does nothing any more. */
  readonly obsolete?: string;
}

/** Settings by name; a section holds more of them. */
export interface Section {
  readonly [name: string]: Setting<unknown> | Section;
}

/** The values that a section's settings have. */
export type Values<S extends Section> = {
  readonly [Name in keyof S]: S[Name] extends Setting<infer T> ? T
    : S[Name] extends Section ? Values<S[Name]>
    : never;
};

/** Whether it is a setting rather than a section. */
export function isSetting(entry: Setting<unknown> | Section): entry is Setting<unknown> {
  return "schema" in entry && "help" in entry;
}

function setting<T>(setting: Setting<T>): Setting<T> {
  return setting;
}

const duration: Schema<number> = changed(
  where(
    either(text(64), integer(0, 8_640_000), "a time, as in 500ms, 10s or 1m30s"),
    (value) => parseDuration(String(value)) !== undefined,
    "a time, as in 500ms, 10s or 1m30s",
  ),
  (value) => parseDuration(String(value)) ?? 0,
);

const size: Schema<number> = changed(
  where(
    either(text(64), integer(0, Number.MAX_SAFE_INTEGER), "a size, as in 500MiB or 10G"),
    (value) => parseSize(String(value)) !== undefined,
    "a size, as in 500MiB or 10G",
  ),
  (value) => parseSize(String(value)) ?? 0,
);

/** Empty for none. */
const path: Schema<string> = where(
  text(4_095),
  (value) => value === "" || /^\/(?!(?:.*\/)?\.\.(?:\/|$))/.test(value),
  "an absolute path without .., or nothing",
);

/** `HOST:PORT`, `unix:PATH`, or nothing. */
const address: Schema<string> = pattern(
  /^(?:|unix:\/[^\0]{1,106}|(?:[a-zA-Z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5})$/,
  "HOST:PORT, unix:/PATH, or nothing",
);

const imageName: Schema<string> = pattern(/^[^\p{Cc}\s]{1,1024}$/u, "an image's name");

/**
 * Permissions as a number (YAML's 0o660), or octal digits: YAML 1.2 takes the 0660 of older
 * files for six hundred and sixty, which no permissions are.
 */
const permissions: Schema<number> = changed(
  where(
    either(integer(0, Number.MAX_SAFE_INTEGER), text(8), "permissions as in 0o660"),
    (value) => parsePermissions(value) !== undefined,
    "permissions as in 0o660",
  ),
  (value) => parsePermissions(value) ?? 0,
);

function parsePermissions(value: number | string): number | undefined {
  if (typeof value === "number" && value <= 0o777) return value;
  const digits = /^(?:0?o?)([0-7]{1,3})$/.exec(String(value))?.[1];
  return digits === undefined ? undefined : Number.parseInt(digits, 8);
}

const limits = limitsSchema as Schema<ResourceSpec>;

/** The table. Names that the original had are as they were. */
export const settings = {
  stateDirectory: setting({
    schema: absolutePath,
    fallback: "/var/lib/kurma",
    help: "Where everything is kept that is to outlive a restart of the machine.",
  }),
  podsDirectory: setting({
    schema: path,
    fallback: "",
    help: "Where containers and what they write are kept. Empty: `containers` in stateDirectory.",
  }),
  imagesDirectory: setting({
    schema: path,
    fallback: "",
    help: "Where the image store is. Empty: stateDirectory.",
  }),
  volumesDirectory: setting({
    schema: path,
    fallback: "",
    help: "Where volumes are kept. Empty: `volumes` in stateDirectory.",
  }),
  socketPath: setting({
    schema: absolutePath,
    fallback: "/run/kurma/kurma.sock",
    help: "The unix socket of the API. Whoever may write to it has the machine.",
  }),
  socketPermissions: setting({
    schema: permissions,
    fallback: 0o660,
    example: "0o660",
    help: "Its permissions. The original had 0666, which let every user of the machine in.",
  }),
  socketGroup: setting({
    schema: pattern(/^(?:|[^\p{Cc}\s:/]{1,255})$/u, "a group, or nothing"),
    fallback: "kurma",
    help: "The group that owns it. Empty, or a group that does not exist: root's.",
  }),
  debug: setting({
    schema: boolean,
    fallback: false,
    reloads: true,
    help: "Log what is of use to Kurma's developers. The same as log.level: debug.",
  }),
  log: {
    level: setting({
      schema: word("debug", "info", "warn", "error"),
      fallback: "info",
      reloads: true,
      help: "The least important lines that are written: debug, info, warn or error.",
    }),
    format: setting({
      schema: word("text", "json"),
      fallback: "text",
      reloads: true,
      help: "Lines for people (text), or one JSON object a line (json).",
    }),
    target: setting({
      schema: either(word("stderr", "syslog"), absolutePath, "stderr, syslog, or a path"),
      fallback: "stderr",
      reloads: true,
      help: "Where lines go: stderr, syslog (the socket /dev/log), or the path of a file.",
    }),
    colour: setting({
      schema: word("auto", "always", "never"),
      fallback: "auto",
      reloads: true,
      help: "Colour lines by their level: on a terminal (auto), always or never.",
    }),
    maxSize: setting({
      schema: size,
      fallback: 10 * 2 ** 20,
      example: "10MiB",
      help: "A file of the log that reaches this is renamed to FILE.1, and so on. 0: never.",
    }),
    maxFiles: setting({
      schema: integer(1, 100),
      fallback: 5,
      help: "How many files there are then, the current one included.",
    }),
  },
  audit: {
    target: setting({
      schema: either(word("log", "none"), absolutePath, "log, none, or a path"),
      fallback: "log",
      help: "Where a line goes for each call that changes something: log, none, or a file.",
    }),
  },
  metrics: {
    address: setting({
      schema: address,
      fallback: "",
      example: "127.0.0.1:9331",
      help: "Where Prometheus may ask for /metrics, without TLS. Empty: nowhere.",
    }),
  },
  legacyApi: {
    address: setting({
      schema: address,
      fallback: "",
      example: "127.0.0.1:12311",
      help: "Where the API of 2015 (client.Kurma) is served: no user is asked who he is, so a " +
        "loopback address still lets every user of the machine in. As then, a container made here has " +
        "the host's network unless its manifest lists namespaces. Empty: nowhere.",
    }),
  },
  images: {
    configDirectory: setting({
      schema: absolutePath,
      fallback: "/etc/kurma",
      help: "Where hosts.yaml, policy.yaml, auth.json and trust are, by which images come.",
    }),
    maxBytes: setting({
      schema: size,
      fallback: 0,
      example: "50GiB",
      help: "What all images together may take: when they take more, those that were used least " +
        "recently go, unless a container uses them. 0: no limit.",
    }),
  },
  containers: {
    resources: setting({
      schema: limits,
      fallback: { pids: defaults.pids } as ResourceSpec,
      reloads: true,
      example: { pids: 4096 },
      help: "Limits of a container that asks for none, in the words of the API.",
    }),
    ulimits: setting({
      schema: ulimitsSchema as Schema<readonly UlimitSpec[]>,
      fallback: [] as readonly UlimitSpec[],
      reloads: true,
      example: [{ name: "nofile", soft: 1024, hard: 524288 }],
      help: "Limits of each process of a container that asks for none, likewise.",
    }),
    logMaxSize: setting({
      schema: size,
      fallback: defaults.logMaxSize,
      example: "10MiB",
      reloads: true,
      help: "A file of a container's output that reaches this is renamed.",
    }),
    logMaxFiles: setting({
      schema: integer(1, 1_000),
      fallback: defaults.logMaxFiles as number,
      reloads: true,
      help: "How many files of its output there are.",
    }),
    stopLimit: setting({
      schema: duration,
      fallback: defaults.stopLimitMs as number,
      example: "10s",
      reloads: true,
      help: "From the stop signal to SIGKILL.",
    }),
  },
  stopContainers: setting({
    schema: boolean,
    fallback: false,
    reloads: true,
    help: "Stop all containers when the daemon stops. Otherwise they go on without it.",
  }),
  prefetchImages: setting({
    schema: listOf(imageName, 1_000),
    fallback: [] as readonly string[],
    example: ["docker.io/library/busybox:1.36"],
    help: "Images to have in the store: what is missing is pulled at the start, in the background.",
  }),
  initialPods: setting({
    schema: listOf(unchecked, 1_000),
    fallback: [] as readonly unknown[],
    example: [
      "docker.io/library/registry:2",
      {
        name: "web",
        apps: [{ name: "web", image: "example.com/web:1", restart: { policy: "always" } }],
      },
    ],
    help: "Pods that are made and started unless there is one of that name: an image's name, " +
      "an appc pod manifest with a name, or a pod in the words of the API. One without a name is " +
      "called initial-pod-N.",
  }),
  podNetworks: setting({
    schema: listOf(unchecked, 1_000),
    fallback: [] as readonly unknown[],
    example: [],
    help: "Networks of the original.",
    obsolete: "this version has no networks but none, the host's, and that of another container",
  }),
  parentCgroupName: setting({
    schema: text(255),
    fallback: "kurma",
    help: "The cgroup that all containers lie in.",
    obsolete: "it is called kurma and lies below the daemon's own; move the daemon to move it",
  }),
  defaultStagerImage: setting({
    schema: text(1_024),
    fallback: "",
    help: "An image of the original that ran the apps of a pod.",
    obsolete: "what ran the apps is part of this program",
  }),
} satisfies Section;

/** What kurmad is told, all of it. Times are milliseconds, sizes bytes. */
export type Settings = Values<typeof settings>;
