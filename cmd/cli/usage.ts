/**
 * `kurma top`, `stats`, `update` and `prune`: what containers use, may use, and leave.
 *
 * @module
 */

import type { MessageJsonType } from "@bufbuild/protobuf";
import type { ProcessSchema, StatsSchema } from "../../stage1/api/kurma.gen.ts";
import { command } from "./command.ts";
import { labelsOf, limitFlags, limitsOf, restartOf } from "./create.ts";
import { list } from "./flags.ts";
import { daemon } from "./host.ts";
import { moment } from "./moments.ts";
import { moving } from "./moving.ts";
import { rowsOutput, shown, structured, textOutput } from "./output.ts";
import { UsageError } from "./parse.ts";
import { streaming } from "./streaming.ts";
import type { Column } from "./table.ts";
import { ago, size } from "./units.ts";

type Process = MessageJsonType<typeof ProcessSchema>;
type Stats = MessageJsonType<typeof StatsSchema>;

/** A time of the API's JSON, `61.234s`, as people read it: `1m1.23s`. */
export function timeText(time = "0s"): string {
  const hundredths = Math.round(Number(time.slice(0, -1)) * 100);
  const minutes = Math.floor(hundredths / 6000);
  const seconds = ((hundredths - minutes * 6000) / 100).toFixed(2);
  return minutes === 0 ? `${seconds}s` : `${minutes}m${seconds}s`;
}

const processColumns: readonly Column<Process>[] = [
  { title: "PID", text: ({ pid = 0 }) => String(pid), right: true },
  { title: "INSIDE", text: ({ innerPid = 0 }) => String(innerPid), right: true },
  { title: "PARENT", text: ({ parentPid = 0 }) => String(parentPid), right: true, wide: true },
  { title: "UID", text: ({ uid = 0 }) => String(uid), right: true },
  { title: "STATE", text: ({ state = "" }) => state },
  { title: "CPU", text: ({ cpuTime }) => timeText(cpuTime), right: true },
  { title: "MEMORY", text: ({ residentBytes = "0" }) => size(Number(residentBytes)), right: true },
  {
    title: "STARTED",
    text: ({ startTime }) => startTime === undefined ? "" : ago(Date.parse(startTime), Date.now()),
    wide: true,
  },
  { title: "COMMAND", text: ({ command = [] }) => command.join(" "), shrinks: true },
];

export const top = command({
  summary: "Show the processes of a container",
  details: [
    "PID is the host's number of a process, INSIDE the container's, UID the user's as the container " +
    "has it; STATE is the letter of proc(5).",
  ],
  args: ["container"],
  flags: { output: rowsOutput },
  examples: [
    ["kurma top web", "A table"],
    ["kurma top web -o name | xargs ps -fp", "In the words of ps, with the host's numbers"],
  ],
  async run(context, { container }, { output }) {
    const answer = await (await daemon(context)).call("Containers", "Top", { container });
    const { processes: rows = [] } = answer;
    const name = ({ pid = 0 }: Process) => String(pid);
    return await shown({ rows, columns: processColumns, name }, output, context);
  },
});

/** A limit, where there is one. */
function limitText(limit = "0", text: (value: number) => string): string {
  return Number(limit) === 0 ? "" : text(Number(limit));
}

const statsColumns: readonly Column<Stats>[] = [
  { title: "NAME", text: ({ name = "" }) => name, shrinks: true },
  { title: "CPU", text: ({ cpuTime }) => timeText(cpuTime), right: true },
  { title: "MEMORY", text: ({ memoryBytes = "0" }) => size(Number(memoryBytes)), right: true },
  {
    title: "LIMIT",
    text: ({ memoryLimitBytes }) => limitText(memoryLimitBytes, size),
    right: true,
  },
  { title: "PEAK", text: ({ memoryPeakBytes }) => limitText(memoryPeakBytes, size), wide: true },
  { title: "PIDS", text: ({ pids = "0" }) => pids, right: true },
  { title: "READ", text: ({ readBytes = "0" }) => size(Number(readBytes)), right: true },
  { title: "WRITTEN", text: ({ writeBytes = "0" }) => size(Number(writeBytes)), right: true },
  { title: "OOM", text: ({ outOfMemoryKills = "0" }) => outOfMemoryKills, right: true, wide: true },
];

const once = "Each call shows one moment; repeat it with watch";

export const stats = command({
  summary: "Show what containers use",
  details: [
    "At this moment, of those named or of all that run. CPU is the processor time since the start, OOM " +
    "how many processes were killed for want of memory.",
  ],
  args: ["container*"],
  flags: { output: rowsOutput },
  instead: {
    "--no-stream": `${once}; leave it out`,
    "-a": "What does not run uses nothing",
    "--all": "What does not run uses nothing",
    "--format": "Write --output json, and use jq",
  },
  examples: [
    ["kurma stats", "All that run"],
    ["kurma stats web db -o json | jq -r '.[].memoryBytes'", "For a script"],
  ],
  async run(context, { container }, { output }) {
    const rows = await streaming(context, async (api) => {
      const [{ toJson }, { StatsSchema }] = await Promise.all([
        import("@bufbuild/protobuf"),
        import("../../stage1/api/kurma.gen.ts"),
      ]);
      const found: Stats[] = [];
      for await (const { stats } of api.containers.stats({ containers: [...container] })) {
        found.push(...stats.map((each) => toJson(StatsSchema, each)));
      }
      return found;
    });
    const name = ({ name = "" }: Stats) => name;
    return await shown({ rows, columns: statsColumns, name }, output, context);
  },
});

export const update = moving("container", {
  summary: "Change limits, restart policy or labels of containers, also of those that run",
  details: ["What is not named stays as it is. A limit that cannot be had changes nothing."],
  flags: {
    ...limitFlags,
    label: list("Set a label; without a value it goes", {
      short: "l",
      placeholder: "NAME[=VALUE]",
    }),
  },
  instead: {
    "-c": "Write --cpu-weight, where 100 is usual",
    "--cpu-shares": "Write --cpu-weight, where 100 is usual",
    "--cpu-quota": "Write --cpus, as in --cpus 1.5",
    "--cpu-period": "Write --cpus, as in --cpus 1.5",
    "--memory-swap": "Write --swap, which does not count memory in",
  },
  examples: [
    ["kurma update --memory 256m --cpus 1.5 web", "Other limits"],
    ["kurma update --restart always web db", "Another policy, for two of them"],
  ],
}, async (api, container, flags) => {
  const { restart, label } = flags;
  const resources = limitsOf(flags);
  const change = {
    ...(Object.keys(resources).length > 0 ? { resources } : {}),
    ...(restart === undefined ? {} : { restart: restartOf(restart) }),
    ...(label.length > 0 ? { labels: labelsOf(label) } : {}),
  };
  if (Object.keys(change).length === 0) {
    throw new UsageError("Cannot update: no change is named", "See kurma update --help");
  }
  return { answer: await api.call("Containers", "Update", { container, ...change }) };
});

export const prune = command({
  summary: "Remove all containers that do not run and that no restart policy will start",
  details: ["Nothing is asked first. Prints the id of each that went."],
  args: [],
  flags: {
    until: moment("Only those that were made before then"),
    label: list("Only those that have it", { short: "l", placeholder: "NAME[=VALUE]" }),
    output: textOutput,
  },
  instead: {
    "-f": "Nothing is asked; leave it out",
    "--force": "Nothing is asked; leave it out",
    "--filter": "Write --until TIME or --label NAME=VALUE",
  },
  examples: [
    ["kurma prune", "All that are over"],
    ["kurma prune --until 24h --label app=shop", "Those of yesterday, of one app"],
  ],
  async run(context, _args, { until, label, output }) {
    const answer = await (await daemon(context)).call("Containers", "Prune", {
      ...(until === undefined ? {} : { until: new Date(until).toISOString() }),
      labels: labelsOf(label),
    });
    return output === "text" ? (answer.ids ?? []).join("\n") : await structured(answer, output);
  },
});
