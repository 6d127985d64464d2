/**
 * `kurma volume`: folders that outlive containers.
 *
 * @module
 */

import type { MessageJsonType } from "@bufbuild/protobuf";
import type { ListVolumesRequestSchema, VolumeSchema } from "../../stage1/api/kurma.gen.ts";
import { bytes } from "./amounts.ts";
import { command, type Group } from "./command.ts";
import { labelsOf } from "./create.ts";
import { filtered, type Filters, labelFilter } from "./filters.ts";
import { boolean, list as several } from "./flags.ts";
import { daemon } from "./host.ts";
import { inFull, showFlags } from "./in_full.ts";
import { moving, removed } from "./moving.ts";
import { listed, listFlags, structured, textOutput } from "./output.ts";
import { UsageError } from "./parse.ts";
import type { Column } from "./table.ts";
import { ago, size } from "./units.ts";

type Volume = MessageJsonType<typeof VolumeSchema>;
type Query = MessageJsonType<typeof ListVolumesRequestSchema>;

const quotaOf = (quota: number | undefined) =>
  quota === undefined ? {} : { quotaBytes: String(quota) };

const create = command({
  summary: "Make a volume",
  details: [
    "One that is there with the same labels is left as it is. kurma create --volume NAME:PATH makes " +
    "volumes as well. Prints the name.",
  ],
  args: ["name"],
  flags: {
    label: several("For whoever made it", { short: "l", placeholder: "NAME[=VALUE]" }),
    quota: bytes("The most it may take; 0 for no limit"),
    output: textOutput,
  },
  instead: {
    "-d": "All volumes are folders of the daemon; leave it out",
    "--driver": "All volumes are folders of the daemon; leave it out",
    "--opt": "For a limit of its size write --quota",
    "--size": "Write --quota",
  },
  examples: [
    ["kurma volume create site", "A folder, for kurma create --volume site:/www"],
    ["kurma volume create data --label app=shop", "One that can be found by what it is for"],
  ],
  async run(context, { name }, { label, quota, output }) {
    const { volume } = await (await daemon(context)).call("Volumes", "Create", {
      name,
      labels: labelsOf(label),
      ...quotaOf(quota),
    });
    return output === "text" ? name : await structured(volume, output);
  },
});

const columns: readonly Column<Volume>[] = [
  { title: "NAME", text: ({ name = "" }) => name, shrinks: true },
  {
    title: "CONTAINERS",
    text: ({ containers = [] }) => String(containers.length),
    right: true,
  },
  {
    title: "QUOTA",
    text: ({ quotaBytes = "0" }) => quotaBytes === "0" ? "" : size(Number(quotaBytes)),
    right: true,
    wide: true,
  },
  {
    title: "CREATED",
    text: ({ createTime }) =>
      createTime === undefined ? "" : ago(Date.parse(createTime), Date.now()),
  },
  {
    title: "LABELS",
    text: ({ labels = {} }) => Object.entries(labels).map((pair) => pair.join("=")).join(","),
    wide: true,
  },
  { title: "PATH", text: ({ path = "" }) => path, wide: true },
];

const filters: Filters<Query, Volume> = {
  name: (value) => ({ name = "" }) => name.includes(value),
  label: labelFilter,
  dangling: (value) => {
    if (value !== "true" && value !== "false") {
      throw new UsageError(
        `Cannot use "dangling=${value}" for --filter`,
        "Write dangling=true for those that no container has, or dangling=false",
      );
    }
    return ({ containers = [] }) => (containers.length === 0) === (value === "true");
  },
};

const list = command({
  summary: "List the volumes",
  aliases: ["ls"],
  details: [
    "Ordered by name, with how many containers have each. A filter is KIND=VALUE: name (a part of it), " +
    "label (NAME or NAME=VALUE), dangling (true: no container has it). A --format names fields of --output json.",
  ],
  args: [],
  flags: listFlags,
  examples: [
    ["kurma volume list", "A table"],
    ["kurma volume list --filter label=app=shop -q", "The names of some, for a script"],
  ],
  async run(context, _args, { filter, ...how }) {
    const { query, fits } = filtered(filters, filter);
    const { volumes = [] } = await (await daemon(context)).call("Volumes", "List", query);
    const name = ({ name = "" }: Volume) => name;
    return await listed({ rows: volumes.filter(fits), columns, name, id: name }, how, context);
  },
});

const show = command({
  summary: "Show all that is known of a volume",
  aliases: ["inspect"],
  args: ["volume"],
  flags: showFlags,
  examples: [
    ["kurma volume show site", "As JSON"],
    ["kurma volume show site --format '{{.path}}'", "Where it is on the host"],
  ],
  async run(context, { volume }, how) {
    const answer = await (await daemon(context)).call("Volumes", "Get", { volume });
    return await inFull(answer.volume, how);
  },
});

const rm = moving("volume", {
  summary: "Remove volumes and all that is in them",
  details: ["One that a container has stays, whether the container runs or not."],
  flags: { force: boolean("Pass over what is not there", { short: "f" }) },
  examples: [
    ["kurma volume rm site", "One of them"],
    ["kurma volume rm --force site data", "Two of them, there or not"],
  ],
}, (api, volume, { force }) => removed(force, () => api.call("Volumes", "Remove", { volume })));

const update = moving("volume", {
  summary: "Change labels or the quota of volumes",
  details: ["What is not named stays as it is."],
  flags: {
    label: several("Set a label; without a value it goes", {
      short: "l",
      placeholder: "NAME[=VALUE]",
    }),
    quota: bytes("The most it may take; 0 for no limit"),
  },
  examples: [
    ["kurma volume update --label app=shop site", "One more label, or another value"],
    ["kurma volume update --label app site data", "Without it"],
  ],
}, async (api, volume, { label, quota }) => {
  if (label.length === 0 && quota === undefined) {
    throw new UsageError("Cannot update: no change is named", "See kurma volume update --help");
  }
  const request = { volume, labels: labelsOf(label), ...quotaOf(quota) };
  return { answer: await api.call("Volumes", "Update", request) };
});

const prune = command({
  summary: "Remove all volumes that no container has",
  details: ["With all that is in them; nothing is asked first. Prints the name of each that went."],
  args: [],
  flags: {
    label: several("Only those that have it", { short: "l", placeholder: "NAME[=VALUE]" }),
    output: textOutput,
  },
  instead: {
    "-f": "Nothing is asked; leave it out",
    "--force": "Nothing is asked; leave it out",
    "-a": "Those with a name go as well; leave it out",
    "--all": "Those with a name go as well; leave it out",
    "--filter": "Write --label NAME=VALUE",
  },
  examples: [
    ["kurma volume prune", "All that nothing uses"],
    ["kurma volume prune --label app=shop", "Those of one app"],
  ],
  async run(context, _args, { label, output }) {
    const answer = await (await daemon(context)).call("Volumes", "Prune", {
      labels: labelsOf(label),
    });
    return output === "text" ? (answer.names ?? []).join("\n") : await structured(answer, output);
  },
});

/** The commands about volumes. */
export const volume: Group = {
  summary: "Volumes: folders that outlive containers",
  commands: { create, list, show, update, rm, prune },
  examples: [
    ["kurma volume create site", "Make one"],
    ["kurma volume list", "See what is there"],
  ],
};
