/**
 * `kurma show`: all that is known of a container.
 *
 * @module
 */

import { command } from "./command.ts";
import { boolean } from "./flags.ts";
import { daemon } from "./host.ts";
import { inFull, showFlags } from "./in_full.ts";
import { UsageError } from "./parse.ts";

export const show = command({
  summary: "Show all that is known of a container",
  aliases: ["inspect"],
  details: [
    "A container is called by its name, its id, or the first digits of its id, four at least. What " +
    "a default says is left out; --plan shows what it was started with: a config.json of OCI's runtime-spec, in an envelope.",
  ],
  args: ["container"],
  flags: {
    format: showFlags.format,
    plan: boolean("What it last ran as, instead"),
    output: showFlags.output,
  },
  instead: {
    "--type": "Leave it out; images have kurma image show",
    "-s": "kurma stats shows what a container uses",
    "--size": "kurma stats shows what a container uses",
  },
  examples: [
    ["kurma show web", "As JSON"],
    ["kurma show web --format '{{.pid}}'", "One field, for a script"],
    ["kurma show web --plan | jq .config.linux.namespaces", "What it was made with"],
  ],
  async run(context, { container }, { plan, ...how }) {
    const api = await daemon(context);
    const answer = await api.call("Containers", "Get", { container });
    if (plan && !answer.plan) {
      throw new UsageError(
        `Cannot show the plan of "${container}": it never ran`,
        "Start it first",
      );
    }
    const value: unknown = plan ? JSON.parse(answer.plan ?? "") : answer.container;
    return await inFull(value, how);
  },
});
