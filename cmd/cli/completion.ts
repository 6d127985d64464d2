/**
 * Completion in shells: `kurma completion` prints a script, which asks
 * `kurma complete` at each press of the key. So shells learn of a new command with the
 * program, not with the next script.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { command } from "./command.ts";
import { type Candidate, complete, type Names, type Surface } from "./complete.ts";
import type { Context } from "./context.ts";
import { daemon } from "./host.ts";
import { imageStore } from "./image_store.ts";
import { familiar } from "./image.ts";
import { statusOf } from "./list.ts";
import { podStatus } from "./pod.ts";

const shells = ["bash", "zsh", "fish"];

export const completion = command({
  summary: "Print the script that completes kurma in a shell",
  args: ["shell"],
  choices: { shell: shells },
  flags: {},
  examples: [
    ["source <(kurma completion bash)", "Complete in this bash, from now on"],
    ["kurma completion bash > /etc/bash_completion.d/kurma", "In every bash, for everybody"],
    ["kurma completion fish > ~/.config/fish/completions/kurma.fish", "In your fish"],
  ],
  async run(_context, { shell }) {
    const { scripts } = await import("./shells/mod.ts");
    return scripts[shell].trimEnd();
  },
});

/**
 * The command behind the scripts, for the table that `surface` gives: first a line that
 * says which paths fit, then a candidate a line, a tab, its meaning.
 */
export function completer(surface: () => Promise<Surface>) {
  return command({
    summary: "Print what the last word may become",
    args: ["word*"],
    hidden: true,
    flags: {},
    examples: [
      ["kurma complete -- ver", "What the shell asks for kurma ver"],
      ["kurma complete -- help ''", "All that has help"],
    ],
    async run(context, { word }) {
      const { words, paths, names, given } = complete(await surface(), word);
      const current = word.at(-1) ?? "";
      const named = (flag: string) => given.get(flag)?.at(-1);
      const [root, host, other] = [named("root"), named("host"), named("context")];
      const where = {
        ...context,
        root: root ?? context.root,
        ...host !== undefined
          ? { host, context: undefined, alone: false }
          : other !== undefined
          ? { host: undefined, context: other, alone: false }
          : root !== undefined
          ? { alone: true }
          : {},
      };
      const before = new Set(word.slice(0, -1));
      const found = names === undefined ? [] : await namesLike(names, where, current);
      const fitting = found.filter(([name]) => name.startsWith(current) && !before.has(name));
      return [paths, ...[...words, ...fitting].map((each) => each.join("\t"))].join("\n");
    },
  });
}

/** Whoever waits for a completion does not wait long. */
const patienceMs = 1_000;

/** What is called by names that may begin with `current`; nothing if nobody tells soon. */
async function namesLike(names: Names, context: Context, current: string): Promise<Candidate[]> {
  const signal = AbortSignal.timeout(patienceMs);
  try {
    if (names === "context") {
      const { Contexts, ownContext } = await import("./contexts.ts");
      return [...new Contexts(context.env).names(), ownContext].map((name) => [name, "A context"]);
    }
    const api = await daemon(context);
    switch (names) {
      case "container":
      case "place": {
        const query = { prefix: current };
        const { containers = [] } = await api.call("Containers", "List", query, { signal });
        const end = names === "place" ? ":" : "";
        return containers.map((container) => [
          `${container.name}${end}`,
          `A container, ${statusOf(container, Date.now())}`,
        ]);
      }
      case "pod": {
        const { pods = [] } = await api.call("Pods", "List", { prefix: current }, { signal });
        return pods.map((pod) => [pod.name ?? "", `A pod, ${podStatus(pod)}`]);
      }
      case "volume": {
        const { volumes = [] } = await api.call("Volumes", "List", {}, { signal });
        return volumes.map(({ name = "" }) => [name, "A volume"]);
      }
      case "image": {
        const images = await (await imageStore(context, signal)).list();
        return images.flatMap(({ names, id }) => names.length > 0 ? names : [id])
          .map((name) => [familiar(name), "An image in the store"]);
      }
    }
  } catch (error) {
    if (error instanceof KurmaError || error instanceof DOMException) return [];
    throw error;
  }
}
