/**
 * `kurma pod`: containers that share network, IPC and host name, and live together.
 *
 * @module
 */

import type { MessageJsonType } from "@bufbuild/protobuf";
import type {
  CreatePodRequestSchema,
  ListPodsRequestSchema,
  PodSchema,
} from "../../stage1/api/kurma.gen.ts";
import type { Style } from "../colour.ts";
import { time } from "./amounts.ts";
import { command, type Group } from "./command.ts";
import { absolute, labelsOf, limitFlags, limitsOf, networkOf } from "./create.ts";
import { filtered, type Filters, labelFilter } from "./filters.ts";
import { boolean, choice, list as several, string } from "./flags.ts";
import { daemon, seconds } from "./host.ts";
import { inFull, showFlags } from "./in_full.ts";
import { shortId, stateOf } from "./list.ts";
import { statusFilter } from "./list_filters.ts";
import { moment } from "./moments.ts";
import { force, moving, removed } from "./moving.ts";
import { listed, listFlags, structured, textOutput } from "./output.ts";
import { UsageError } from "./parse.ts";
import type { Column } from "./table.ts";
import { ago } from "./units.ts";

type Pod = MessageJsonType<typeof PodSchema>;
type Query = MessageJsonType<typeof ListPodsRequestSchema>;
/** What a pod is made from. */
export type PodRequest = MessageJsonType<typeof CreatePodRequestSchema>;

const { restart: _policy, ...limits } = limitFlags;

const inFile = "Write it into a file, for the app that it is for: see kurma pod create --help";

const create = command({
  summary: "Make a pod with all its containers, from a file or from flags",
  details: [
    "FILE is an appc pod manifest, or what the API calls CreatePodRequest, as JSON or YAML: name, apps " +
    "with a name, an image and settings each, network, hostname, labels, resources; - is standard " +
    "input. Flags go over what it says. Images are what kurma create takes; a path in FILE is seen " +
    "from where FILE is. The container of an app is called POD-APP. Prints the id of the pod.",
  ],
  args: ["file?"],
  flags: {
    name: string("The name of the pod; made up without it", { short: "n", placeholder: "NAME" }),
    app: several("An app that runs as its image says; instead of FILE", {
      placeholder: "NAME=IMAGE",
    }),
    start: boolean("Start it at once"),
    network: string("none (a loopback of its own, the default), host, or container:NAME", {
      placeholder: "NETWORK",
    }),
    hostname: string("The host name inside; its name without it", { placeholder: "NAME" }),
    label: several("For whoever made it", { short: "l", placeholder: "NAME[=VALUE]" }),
    ...limits,
    pull: choice("When to fetch images", ["missing", "always", "never"]),
    output: textOutput,
  },
  instead: {
    "-f": "Write the file as it is: kurma pod create FILE",
    "--file": "Write the file as it is: kurma pod create FILE",
    "--manifest": "Write the file as it is: kurma pod create FILE",
    "--replace": "Write kurma pod rm --force NAME before it",
    "-p": "No port is forwarded in this version; use --network host",
    "--publish": "No port is forwarded in this version; use --network host",
    "--net": "Write --network none, host or container:NAME",
    "-v": inFile,
    "--volume": inFile,
    "-e": inFile,
    "--env": inFile,
    "--restart": inFile,
    "--share": "Apps share network, IPC and host name",
    "--infra": "No container stands for the pod; leave it out",
  },
  examples: [
    ["kurma pod create --start shop.yaml", "From a file"],
    ["kurma pod create --name shop --app web=team/web --app db=postgres", "From two images"],
    ["jq '.apps[0].image = \"team/web:2\"' shop.json | kurma pod create -", "What a program wrote"],
  ],
  async run(context, { file }, flags) {
    const { name, app, start, network, hostname, label, pull, output } = flags;
    if (file !== undefined && app.length > 0) {
      throw new UsageError("Cannot make a pod from FILE and from --app", "Leave one of them out");
    }
    if (file === undefined && app.length === 0) {
      throw new UsageError(
        "pod create needs a FILE or --app",
        "Write kurma pod create FILE, or --app NAME=IMAGE for each container",
      );
    }
    const resources = limitsOf(flags);
    const { podRequest } = await import("./pod_file.ts");
    const base: PodRequest = file === undefined ? { apps: app.map(appOf) } : await podRequest(file);
    const { pod } = await (await daemon(context)).call("Pods", "Create", {
      ...base,
      ...(name === undefined ? {} : { name }),
      ...(network === undefined ? {} : { network: networkOf(network) }),
      ...(hostname === undefined ? {} : { hostname }),
      ...(label.length > 0 ? { labels: { ...base.labels, ...labelsOf(label) } } : {}),
      ...(Object.keys(resources).length > 0
        ? { resources: { ...base.resources, ...resources } }
        : {}),
      ...(pull === "missing"
        ? {}
        : { pull: pull === "always" ? "PULL_POLICY_ALWAYS" : "PULL_POLICY_NEVER" }),
      ...(start ? { start } : {}),
    });
    return output === "text" ? pod?.id ?? "" : await structured(pod, output);
  },
});

/** `NAME=IMAGE` */
function appOf(text: string): { name: string; image: string } {
  const [, name, image] = /^([^=]+)=(.+)$/s.exec(text) ?? [];
  if (name !== undefined) return { name, image: absolute(image) };
  throw new UsageError(`Cannot use "${text}" for --app`, "Write NAME=IMAGE, as in web=busybox");
}

const patience = time("For each container from its stop signal to SIGKILL, instead of its own", {
  short: "t",
});

const started = moving("pod", {
  summary: "Start pods: their containers in their order",
  details: ["What runs already is left as it is. If one cannot be started, none is."],
  flags: {},
  examples: [
    ["kurma pod start shop", "One of them"],
    ["kurma pod start shop mail", "The first one first"],
  ],
}, async (api, pod) => ({ answer: await api.call("Pods", "Start", { pod }) }));

const timeout = (ms: number | undefined) => ms === undefined ? {} : { timeout: seconds(ms) };

const stop = moving("pod", {
  summary: "Stop pods: their containers, the last one first",
  flags: { time: patience },
  instead: { "--timeout": "Write --time" },
  examples: [
    ["kurma pod stop shop", "Each in its own time"],
    ["kurma pod stop --time 1m shop", "With more patience"],
  ],
}, async (api, pod, { time }) => {
  return { answer: await api.call("Pods", "Stop", { pod, ...timeout(time) }) };
});

const restart = moving("pod", {
  summary: "Stop pods if they run, and start them again",
  flags: { time: patience },
  instead: { "--timeout": "Write --time" },
  examples: [
    ["kurma pod restart shop", "One of them"],
    ["kurma pod restart --time 1s shop", "Without much patience"],
  ],
}, async (api, pod, { time }) => {
  return { answer: await api.call("Pods", "Restart", { pod, ...timeout(time) }) };
});

const kill = moving("pod", {
  summary: "Send a signal to the containers of pods that run",
  details: ["SIGKILL ends all their processes, any other signal goes to the first one of each."],
  flags: {
    signal: string("By name or number, instead of SIGKILL", { short: "s", placeholder: "SIGNAL" }),
  },
  examples: [
    ["kurma pod kill shop", "End it at once"],
    ["kurma pod kill --signal HUP shop", "A signal to each of its commands"],
  ],
}, async (api, pod, { signal }) => {
  const named = signal === undefined ? {} : { signal };
  return { answer: await api.call("Pods", "Kill", { pod, ...named }) };
});

const pause = moving("pod", {
  summary: "Halt all processes of pods, until kurma pod resume",
  flags: {},
  examples: [
    ["kurma pod pause shop", "Hold it still"],
    ["kurma pod pause shop mail", "Both of them"],
  ],
}, async (api, pod) => ({ answer: await api.call("Pods", "Pause", { pod }) }));

const resume = moving("pod", {
  summary: "Let paused pods go on",
  aliases: ["unpause"],
  flags: {},
  examples: [
    ["kurma pod resume shop", "After kurma pod pause shop"],
    ["kurma pod resume shop mail", "Both of them"],
  ],
}, async (api, pod) => ({ answer: await api.call("Pods", "Resume", { pod }) }));

const rm = moving("pod", {
  summary: "Remove pods with their containers",
  details: ["Volumes that have a name stay."],
  flags: { force: force("Kill those that run first") },
  examples: [
    ["kurma pod rm shop", "One that does not run"],
    ["kurma pod rm --force shop mail", "Two of them, running or not"],
  ],
}, (api, pod, { force }) => removed(force, () => api.call("Pods", "Remove", { pod, force })));

const rename = command({
  summary: "Give a pod another name",
  details: ["Its id stays, and so do the names of its containers. Prints the new name."],
  args: ["pod", "name"],
  flags: { output: textOutput },
  examples: [
    ["kurma pod rename shop old-shop", "By its name"],
    ["kurma pod rename 3f2a91c0 shop", "By the first digits of its id"],
  ],
  async run(context, { pod, name }, { output }) {
    const answer = await (await daemon(context)).call("Pods", "Rename", { pod, name });
    return output === "text" ? name : await structured(answer.pod, output);
  },
});

const runs = (pod: Pod) => (pod.containers ?? []).filter((app) => stateOf(app) === "running");

const isPaused = (pod: Pod) => {
  const running = runs(pod);
  return running.length > 0 && running.every(({ paused }) => paused === true);
};

/** Its state in words: `running (1 of 2)`. */
export function podStatus(pod: Pod): string {
  const state = stateOf(pod);
  const [all, up] = [pod.containers?.length ?? 0, runs(pod).length];
  const notes = [
    state === "running" && up < all ? `${up} of ${all}` : "",
    isPaused(pod) ? "paused" : "",
  ].filter((note) => note !== "");
  return notes.length > 0 ? `${state} (${notes.join(", ")})` : state;
}

/** What runs whole is green, what runs in part or is on its way yellow. */
function styleOf(pod: Pod): Style | undefined {
  const state = stateOf(pod);
  if (state === "running" && !isPaused(pod)) {
    return runs(pod).length < (pod.containers?.length ?? 0) ? "yellow" : "green";
  }
  return ["starting", "running", "stopping"].includes(state) ? "yellow" : undefined;
}

/** What an app is called in its pod. */
function appNames({ name = "", containers = [] }: Pod): string[] {
  return containers.map((app) => (app.name ?? "").replace(`${name}-`, ""));
}

const columns: readonly Column<Pod>[] = [
  { title: "NAME", text: ({ name = "" }) => name, shrinks: true },
  { title: "ID", text: ({ id }) => shortId(id) },
  { title: "APPS", text: (pod) => appNames(pod).join(", "), shrinks: true },
  { title: "STATUS", text: podStatus, style: styleOf },
  {
    title: "CREATED",
    text: ({ createTime }) =>
      createTime === undefined ? "" : ago(Date.parse(createTime), Date.now()),
  },
  { title: "NETWORK", text: ({ network = "" }) => network, wide: true },
  { title: "HOSTNAME", text: ({ hostname = "" }) => hostname, wide: true },
];

const filters: Filters<Query, Pod> = {
  name: (value) => ({ name = "" }) => name.includes(value),
  id: (value) => ({ id = "" }) => id.startsWith(value),
  status: (value) => statusFilter(value, isPaused),
  label: labelFilter,
};

const list = command({
  summary: "List the pods",
  aliases: ["ls", "ps"],
  details: [
    "Ordered by name, those that do not run as well. A filter is KIND=VALUE: name (a part of it), id " +
    "(its first digits), status (as for kurma list), label (NAME or NAME=VALUE). A --format names fields of --output json.",
  ],
  args: [],
  flags: listFlags,
  instead: { "-a": "All are listed; leave it out", "--all": "All are listed; leave it out" },
  examples: [
    ["kurma pod list", "A table"],
    ["kurma pod list --filter status=running --format '{{.name}} {{.hostname}}'", "Two fields"],
  ],
  async run(context, _args, { filter, ...how }) {
    const { query, fits } = filtered(filters, filter);
    const { pods = [] } = await (await daemon(context)).call("Pods", "List", query);
    const rows = pods.filter(fits);
    const [id, name] = [({ id = "" }: Pod) => id, ({ name = "" }: Pod) => name];
    return await listed({ rows, columns, name, id }, how, context);
  },
});

const show = command({
  summary: "Show all that is known of a pod, and of its containers",
  aliases: ["inspect"],
  args: ["pod"],
  flags: showFlags,
  examples: [
    ["kurma pod show shop", "As JSON"],
    ["kurma pod show shop | jq -r '.containers[].name'", "What its containers are called"],
  ],
  async run(context, { pod }, how) {
    const answer = await (await daemon(context)).call("Pods", "Get", { pod });
    return await inFull(answer.pod, how);
  },
});

const prune = command({
  summary: "Remove all pods of which nothing runs and no restart policy will start anything",
  details: ["Nothing is asked first. Prints the id of each that went."],
  args: [],
  flags: { until: moment("Only those that ended before then"), output: textOutput },
  instead: {
    "-f": "Nothing is asked; leave it out",
    "--force": "Nothing is asked; leave it out",
    "--filter": "Write --until TIME",
  },
  examples: [
    ["kurma pod prune", "All that are over"],
    ["kurma pod prune --until 24h", "Those of yesterday"],
  ],
  async run(context, _args, { until, output }) {
    const answer = await (await daemon(context)).call("Pods", "Prune", {
      ...(until === undefined ? {} : { until: new Date(until).toISOString() }),
    });
    return output === "text" ? (answer.ids ?? []).join("\n") : await structured(answer, output);
  },
});

/** The commands about pods. */
export const pod: Group = {
  summary: "Pods: containers that share network, IPC and host name, and live together",
  commands: {
    create,
    start: started,
    stop,
    restart,
    kill,
    pause,
    resume,
    list,
    show,
    rename,
    rm,
    prune,
  },
  elsewhere: {
    logs: "Each app has its own: kurma logs POD-APP",
    exec: "Name the app: kurma exec POD-APP COMMAND",
    enter: "Name the app: kurma enter POD-APP",
    top: "Name the app: kurma top POD-APP",
    stats: "Name the apps: kurma stats POD-APP",
  },
  examples: [
    ["kurma pod create --start shop.yaml", "Make one"],
    ["kurma pod list", "See what is there"],
  ],
};
