/**
 * Completion in shells: `kurma completion` prints a script, which asks
 * `kurma complete` at each press of the key. So shells learn of a new command with the
 * program, not with the next script.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { command } from "./command.ts";
import { type Candidate, complete, type Surface } from "./complete.ts";
import { daemon } from "./host.ts";
import { familiar } from "./image.ts";
import { statusOf } from "./list.ts";

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
export function completer(surface: () => Surface) {
  return command({
    summary: "Print what the last word may become",
    args: ["word*"],
    hidden: true,
    flags: {},
    examples: [
      ["kurma complete -- ver", "What the shell asks for kurma ver"],
      ["kurma complete -- help ''", "All that has help"],
    ],
    async run({ root, host }, { word }) {
      const { words, paths, images, containers } = complete(surface(), word);
      const current = word.at(-1) ?? "";
      const names = [
        ...images ? await imageNames(root, current) : [],
        ...containers ? await containerNames(host, current) : [],
      ];
      return [paths, ...[...words, ...names].map((each) => each.join("\t"))].join("\n");
    },
  });
}

/** The images whose name or id begins with `current`; none if nobody may look. */
async function imageNames(root: string, current: string): Promise<Candidate[]> {
  const { listImages } = await import("../../stage1/images/mod.ts");
  try {
    return listImages({ root })
      .flatMap(({ record, names }) => (names.length > 0 ? names : [record.id]).map(familiar))
      .filter((name) => name.startsWith(current))
      .map((name) => [name, "An image in the store"]);
  } catch (error) {
    if (error instanceof KurmaError) return [];
    throw error;
  }
}

/** Whoever waits for a completion does not wait long. */
const patienceMs = 1_000;

/** The containers whose name begins with `current`; none if no daemon answers soon. */
async function containerNames(host: string | undefined, current: string): Promise<Candidate[]> {
  try {
    const api = await daemon({ host });
    const signal = AbortSignal.timeout(patienceMs);
    const query = { prefix: current };
    const { containers = [] } = await api.call("Containers", "List", query, { signal });
    return containers.map((container) => [
      container.name ?? "",
      `A container, ${statusOf(container, Date.now())}`,
    ]);
  } catch (error) {
    if (error instanceof KurmaError || error instanceof DOMException) return [];
    throw error;
  }
}
