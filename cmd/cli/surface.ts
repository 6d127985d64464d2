/**
 * kurma-cli's whole surface. Help, completion and tests read this table.
 *
 * @module
 */

import { personalities } from "../personalities.ts";
import { command, type Entry, type Group } from "./command.ts";
import { common, commonest } from "./commands.ts";
import type { Surface } from "./complete.ts";
import { shortcuts } from "./words.ts";

const help = command({
  summary: "Show help about a command",
  args: ["command*"],
  flags: {},
  examples: [
    ["kurma help", "All commands"],
    ["kurma help install", "One of them"],
  ],
  async run({ columns, paint }, { command }) {
    const { helpFor } = await import("./help.ts");
    return { text: await helpFor(command, columns, paint), safe: true };
  },
});

/**
 * What `kurma WORD` does, in the order of the help. Each is loaded for who calls it: reading all
 * of them takes longer than most of them run.
 */
export const commands: Readonly<Record<string, () => Entry | Promise<Entry>>> = {
  run: async () => (await import("./run.ts")).run,
  create: async () => (await import("./create.ts")).create,
  start: async () => (await import("./lifecycle.ts")).start,
  stop: async () => (await import("./lifecycle.ts")).stop,
  restart: async () => (await import("./lifecycle.ts")).restart,
  kill: async () => (await import("./lifecycle.ts")).kill,
  rm: async () => (await import("./lifecycle.ts")).rm,
  list: () => commonest.list,
  show: async () => (await import("./show.ts")).show,
  exec: async () => (await import("./exec.ts")).exec,
  enter: async () => (await import("./exec.ts")).enter,
  attach: async () => (await import("./exec.ts")).attach,
  logs: async () => (await import("./logs.ts")).logs,
  events: async () => (await import("./logs.ts")).events,
  cp: async () => (await import("./cp.ts")).cp,
  top: async () => (await import("./usage.ts")).top,
  stats: async () => (await import("./usage.ts")).stats,
  update: async () => (await import("./usage.ts")).update,
  wait: async () => (await import("./lifecycle.ts")).wait,
  pause: async () => (await import("./lifecycle.ts")).pause,
  resume: async () => (await import("./lifecycle.ts")).resume,
  rename: async () => (await import("./lifecycle.ts")).rename,
  prune: async () => (await import("./usage.ts")).prune,
  pod: async () => (await import("./pod.ts")).pod,
  image: async () => (await import("./image.ts")).image,
  volume: async () => (await import("./volume.ts")).volume,
  context: async () => (await import("./context_commands.ts")).contextGroup,
  api: async () => (await import("./api.ts")).api,
  status: async () => (await import("./status.ts")).status,
  doctor: async () => (await import("./doctor.ts")).doctor,
  config: async () => (await import("./config.ts")).config,
  install: async () => (await import("./install.ts")).installer(surface),
  completion: async () => (await import("./completion.ts")).completion,
  version: async () => (await import("./status.ts")).version,
  help: () => help,
  "dial-stdio": async () => (await import("./dial_stdio.ts")).dialStdio,
  complete: async () => (await import("./completion.ts")).completer(surface),
};

/** All that `kurma` alone calls. */
export async function top(): Promise<Group> {
  const { elsewhere } = await import("./elsewhere.ts");
  const entries = Object.entries(commands).map(async ([word, entry]) => {
    return [word, await entry()] as const;
  });
  return {
    summary: "Kurma: a container host in one file",
    commands: Object.fromEntries(await Promise.all(entries)),
    shortcuts,
    elsewhere,
    examples: [
      ["kurma run hello", "Look around inside a container"],
      ["kurma help run", "All that run can do"],
    ],
  };
}

/** The whole table, for who reads all of it. */
async function surface(): Promise<Surface> {
  return { top: await top(), common, roles: roles() };
}

/** The roles that a word after `kurma` calls, and what they are; not those that are commands. */
export function roles(): (readonly [string, string])[] {
  return [...personalities.values()].flatMap(({ word, summary }) =>
    word === undefined || Object.hasOwn(commands, word) ? [] : [[word, summary] as const]
  );
}
