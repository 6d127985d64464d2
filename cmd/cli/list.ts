/**
 * `kurma list`: the containers that there are.
 *
 * @module
 */

import type { MessageJsonType } from "@bufbuild/protobuf";
import type { ContainerSchema } from "../../stage1/api/kurma.gen.ts";
import type { Style } from "../colour.ts";
import { command } from "./command.ts";
import { boolean } from "./flags.ts";
import { daemon } from "./host.ts";
import { listed, listFlags } from "./output.ts";
import type { Column } from "./table.ts";
import { ago } from "./units.ts";

/** A container as `--output json` lists it: the API's own message. */
export type Container = MessageJsonType<typeof ContainerSchema>;

/** Where a container is in its life, without what every state's name begins with. */
export function stateOf(
  { state = "CONTAINER_STATE_UNSPECIFIED" }: { readonly state?: Container["state"] },
): string {
  return state.replace("CONTAINER_STATE_", "").toLowerCase();
}

const up: readonly string[] = ["running", "starting", "stopping"];

/** All words of {@linkcode stateOf} but the unspecified. */
export const states: readonly string[] = ["new", ...up, "stopped", "exited"];

/** Its state in words: `exited (1) 3 minutes ago`. */
export function statusOf(container: Container, now: number): string {
  const state = stateOf(container);
  const since = (time: string | undefined) =>
    time === undefined ? "" : ` ${ago(Date.parse(time), now)}`;
  const { exit, health = "HEALTH_UNSPECIFIED", startTime, paused } = container;
  if (state === "exited" || state === "stopped") {
    return exit === undefined ? state : `${state} (${exit.code ?? 0})${since(exit.time)}`;
  }
  if (state !== "running") return state;
  const notes = paused ? ["paused"] : [];
  if (health !== "HEALTH_UNSPECIFIED") notes.push(health.replace("HEALTH_", "").toLowerCase());
  const said = notes.length > 0 ? ` (${notes.join(", ")})` : "";
  return `running${said}${since(startTime).replace(" ago", "")}`;
}

/** What runs well is green, what went wrong red, what may go either way yellow. */
export function styleOf(container: Container): Style | undefined {
  const { paused, health, exit } = container;
  const state = stateOf(container);
  if (state === "exited") return exit?.code ? "red" : undefined;
  if (state === "new" || state === "stopped") return undefined;
  if (state !== "running" || paused || health === "HEALTH_STARTING") return "yellow";
  return health === "HEALTH_UNHEALTHY" ? "red" : "green";
}

/** Twelve digits of an id, as people compare them. */
export function shortId(id = ""): string {
  return id.slice(0, 12);
}

const columns: readonly Column<Container>[] = [
  { title: "NAME", text: ({ name = "" }) => name, shrinks: true },
  { title: "ID", text: ({ id }) => shortId(id) },
  { title: "IMAGE", text: ({ image = "" }) => image, shrinks: true },
  {
    title: "STATUS",
    text: (container) => statusOf(container, Date.now()),
    style: styleOf,
    shrinks: true,
  },
  {
    title: "CREATED",
    text: ({ createTime }) =>
      createTime === undefined ? "" : ago(Date.parse(createTime), Date.now()),
  },
  { title: "PID", text: ({ pid }) => pid ? String(pid) : "", right: true, wide: true },
  { title: "RESTARTS", text: ({ restarts = 0 }) => String(restarts), right: true, wide: true },
  { title: "POD", text: ({ podId }) => shortId(podId), wide: true },
];

/** What no filter asks for. */
const everything = { query: {}, fits: () => true };

/** What filters ask for, which is loaded for lines that have some. */
async function asked(texts: readonly string[]) {
  const { listFiltered } = await import("./list_filters.ts");
  return listFiltered(texts);
}

export const list = command({
  summary: "List the containers that run, or all",
  aliases: ["ps", "ls"],
  details: [
    "Ordered by name. A filter is KIND=VALUE: name (a part of it), id (its first digits), status " +
    `(${
      states.join(", ")
    } or paused), label (NAME or NAME=VALUE), image, pod. Filters of the same ` +
    "kind widen what is listed, other than labels; a status lists what does not run as well.",
    "A --format names fields of --output json: {{.name}}, {{.settings.labels.app}}, {{json .exit}}.",
  ],
  args: [],
  flags: {
    all: boolean("Those that do not run as well", { short: "a" }),
    ...listFlags,
  },
  instead: {
    "--no-trunc": "Write --output wide or --output json; --quiet prints whole ids",
    "-n": "Write --output json and use jq",
    "--last": "Write --output json and use jq",
    "-l": "Write --output json and use jq",
    "--latest": "Write --output json and use jq",
    "-s": "kurma stats shows what containers use",
    "--size": "kurma stats shows what containers use",
  },
  examples: [
    ["kurma list", "What runs"],
    ["kurma list --all --filter label=app=shop", "Everything that is labelled so"],
    ["kurma list --format '{{.name}} {{.pid}}'", "Two fields of each"],
    ["kurma list -q --filter status=exited | xargs kurma rm", "Remove what has ended"],
  ],
  async run(context, _args, { all, filter, ...how }) {
    const { query, fits } = filter.length === 0 ? everything : await asked(filter);
    const any = all || filter.some((text) => text.startsWith("status="));
    const { containers = [] } = await (await daemon(context)).call("Containers", "List", query);
    const rows = containers.filter((container) =>
      fits(container) && (any || up.includes(stateOf(container)))
    );
    const [id, name] = [({ id = "" }: Container) => id, ({ name = "" }: Container) => name];
    return await listed({ rows, columns, name, id }, how, context);
  },
});
