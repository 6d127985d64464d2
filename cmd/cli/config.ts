/**
 * `kurma config`: kurmad's settings, for who writes them.
 *
 * @module
 */

import { command, type Group } from "./command.ts";
import type { Context } from "./context.ts";
import { choice } from "./flags.ts";
import { structured } from "./output.ts";

/** The settings that `file` and the environment come to. */
async function configured(file: string | undefined, { env }: Context) {
  const { loadConfiguration } = await import("../../stage1/config/load.ts");
  return await loadConfiguration({ environment: env, ...(file === undefined ? {} : { file }) });
}

const fileOrDefault = "Without FILE it is /etc/kurma/kurmad.yml, where there is one. Variables " +
  "KURMAD_... count over it, as for the daemon.";

const check = command({
  summary: "Say what is wrong with kurmad's configuration",
  details: [fileOrDefault],
  args: ["file?"],
  flags: {},
  examples: [
    ["kurma config check", "The file that kurmad reads"],
    ["kurma config check ./kurmad.yml", "One that is not in use yet"],
  ],
  async run(context, { file }) {
    const { checkedText } = await import("../../stage1/config/text.ts");
    return checkedText(await configured(file, context));
  },
});

const example = command({
  summary: "Print a configuration with every setting, and what it is for",
  args: [],
  flags: {},
  examples: [
    ["kurma config example > /etc/kurma/kurmad.yml", "To start from"],
    ["kurma config example | grep -A2 log", "Look something up"],
  ],
  async run() {
    return (await import("../../stage1/config/text.ts")).exampleText();
  },
});

const show = command({
  summary: "Print what every setting of kurmad comes to",
  details: [`${fileOrDefault} Flags that the daemon was started with are not known here.`],
  args: ["file?"],
  flags: {
    output: choice("How to show it", ["yaml", "json"], { short: "o", placeholder: "FORM" }),
  },
  examples: [
    ["kurma config show", "What a kurmad that starts now would do"],
    ["kurma config show -o json | jq -r .stateDirectory", "One of them, for a script"],
  ],
  async run(context, { file }, { output }) {
    const { settings } = await configured(file, context);
    const { effective } = await import("../../stage1/config/text.ts");
    return await structured(effective(settings), output);
  },
});

/** The commands about settings. */
export const config: Group = {
  summary: "The daemon's configuration: check it, write one, see what it comes to",
  commands: { check, example, show },
  examples: [
    ["kurma config example > /etc/kurma/kurmad.yml", "Start one"],
    ["kurma config check", "See whether it can be used"],
  ],
};
