/**
 * `kurma status` and `kurma version`: this program, the daemon, and the machine.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { version as ownVersion, versionText } from "../version.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { daemon } from "./host.ts";
import { structured, textOutput } from "./output.ts";
import { printable } from "./printable.ts";
import { ago, size } from "./units.ts";

export const status = command({
  summary: "Show how the daemon and its machine are",
  args: [],
  flags: { output: textOutput },
  examples: [
    ["kurma status", "For people"],
    ["kurma status --output json | jq .containers", "How many containers there are, by state"],
  ],
  async run(context, _args, { output }) {
    const { paint } = context;
    const answer = await (await daemon(context)).call("System", "Status", {});
    if (output !== "text") return await structured(answer, output);
    const { version, startTime, features = [], warnings = [], containers = {} } = answer;
    const counts = Object.entries(containers).map(([state, count]) =>
      `${count} ${state.toLowerCase()}`
    );
    const bytes = (count: string | undefined) => size(Number(count ?? 0));
    const lacking = features.filter(({ available }) => !available);
    const rows: [title: string, text: string][] = [
      ["Hostname", answer.hostname ?? ""],
      ["Kernel", answer.kernel ?? ""],
      ["Architecture", answer.architecture ?? ""],
      ["CPUs", String(answer.cpus ?? 0)],
      ["Memory", `${bytes(answer.memoryBytes)}, ${bytes(answer.memoryAvailableBytes)} left`],
      ["Cgroups", `${answer.cgroupMode}: ${(answer.cgroupControllers ?? []).join(" ")}`],
      ["Daemon", `${version?.kurma}, process ${answer.pid}`],
      ["Started", startTime === undefined ? "" : ago(Date.parse(startTime), Date.now())],
      ["State", answer.stateDir ?? ""],
      ["Containers", counts.join(", ") || "none"],
      ["Images", String(answer.images ?? 0)],
      ...lacking.map(({ name, reason = "" }): [string, string] => [
        "Lacking",
        `${name}${reason === "" ? "" : `: ${reason}`}`,
      ]),
      ...warnings.map((warning): [string, string] => ["Warning", warning]),
    ];
    const width = Math.max(...rows.map(([title]) => title.length));
    const lines = rows.map(([title, text]) => {
      const style = title === "Lacking" || title === "Warning" ? "yellow" : "bold";
      return `${paint(title, style)}${" ".repeat(width - title.length)}  ${printable(text) || "-"}`;
    });
    return { text: lines.join("\n"), safe: true };
  },
});

export const version = command({
  summary: "Show the version of this program, of what it runs on, and of the daemon",
  details: [
    "As text, one part a line: its name, a space, its value. The parts of the daemon begin with " +
    "server-, and are left out where none runs, unless it was named.",
  ],
  args: [],
  flags: { output: textOutput },
  examples: [
    ["kurma version", "All parts"],
    ["kurma version --output json | jq -r .kernel", "One part, for a script"],
    ["kurma version --output json | jq -r .server.kurma", "The daemon's"],
  ],
  async run(context, _args, { output }) {
    const server = await serverVersion(context);
    if (output !== "text") {
      return await structured({ ...ownVersion(), ...(server ? { server } : {}) }, output);
    }
    const lines = Object.entries(server ?? {}).map(([part, value]) => `server-${part} ${value}`);
    return [versionText(), ...lines].join("\n");
  },
});

/** The daemon's, if one answers. Whoever names a daemon wants to hear that it does not. */
async function serverVersion(context: Context) {
  try {
    return await (await daemon(context)).call("System", "Version", {}, { timeoutMs: 5_000 });
  } catch (error) {
    const isAway = error instanceof KurmaError && ["unavailable", "denied"].includes(error.code);
    if (isAway && context.host === undefined) return undefined;
    throw error;
  }
}
