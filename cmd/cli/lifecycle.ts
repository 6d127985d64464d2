/**
 * From the start of a container to its end: the commands that move one along. Each takes
 * several containers and prints what it was asked to do, as it was asked, once it is done.
 *
 * @module
 */

import { time } from "./amounts.ts";
import { command } from "./command.ts";
import { boolean, choice, string } from "./flags.ts";
import { daemon, seconds } from "./host.ts";
import { force, moving, removed } from "./moving.ts";
import { structured, textOutput } from "./output.ts";

const patience = time("From its stop signal to SIGKILL, instead of the container's own", {
  short: "t",
});

export const start = moving("container", {
  summary: "Start containers that do not run",
  details: ["One that runs already is left as it is. Prints each once its command runs."],
  flags: {},
  instead: {
    "-a": "Follow it with kurma attach, or kurma logs --follow",
    "--attach": "Follow it with kurma attach, or kurma logs --follow",
    "-i": "Create it with --interactive, and use kurma attach",
    "--interactive": "Create it with --interactive, and use kurma attach",
  },
  examples: [
    ["kurma start web", "One of them"],
    ["kurma start db web", "The first one first"],
  ],
}, async (api, container) => {
  return { answer: await api.call("Containers", "Start", { container }) };
});

export const stop = moving("container", {
  summary: "Stop containers: their stop signal, then SIGKILL",
  details: [
    "Prints each once it has ended. What was stopped is not restarted by its own policy, and can be " +
    "started again. One that does not run is left as it is.",
  ],
  flags: {
    time: patience,
    signal: string("This signal instead of its own, by name or number", {
      short: "s",
      placeholder: "SIGNAL",
    }),
  },
  instead: { "--timeout": "Write --time" },
  examples: [
    ["kurma stop web", "In its own time, ten seconds at most by default"],
    ["kurma stop --time 1m --signal INT db", "With more patience, and another signal"],
  ],
}, async (api, container, { time, signal }) => {
  const answer = await api.call("Containers", "Stop", {
    container,
    ...(signal === undefined ? {} : { signal }),
    ...(time === undefined ? {} : { timeout: seconds(time) }),
  });
  return { answer };
});

export const restart = moving("container", {
  summary: "Stop containers if they run, and start them again",
  flags: { time: patience },
  instead: {
    "--timeout": "Write --time",
    "-s": "Use kurma stop --signal, then kurma start",
    "--signal": "Use kurma stop --signal, then kurma start",
  },
  examples: [
    ["kurma restart web", "One of them"],
    ["kurma restart --time 1s web", "Without much patience"],
  ],
}, async (api, container, { time }) => {
  const answer = await api.call("Containers", "Restart", {
    container,
    ...(time === undefined ? {} : { timeout: seconds(time) }),
  });
  return { answer };
});

export const kill = moving("container", {
  summary: "Send a signal to containers",
  details: ["SIGKILL ends all processes of a container, any other signal goes to its first one."],
  flags: {
    signal: string("By name or number, instead of SIGKILL", { short: "s", placeholder: "SIGNAL" }),
  },
  examples: [
    ["kurma kill web", "End it at once"],
    ["kurma kill --signal HUP web", "What many programs take for: read your settings again"],
  ],
}, async (api, container, { signal }) => {
  const named = signal === undefined ? {} : { signal };
  return { answer: await api.call("Containers", "Kill", { container, ...named }) };
});

export const rm = moving("container", {
  summary: "Remove containers: what they wrote, their logs and their names",
  details: ["Volumes that have a name stay."],
  flags: {
    force: force("Kill those that run first"),
    volumes: boolean("With the volumes that have no name and are theirs alone", { short: "v" }),
  },
  instead: {
    "-l": "Containers have no links",
    "--link": "Containers have no links",
  },
  examples: [
    ["kurma rm web", "One that does not run"],
    ["kurma rm --force web db", "Two of them, running or not"],
  ],
}, (api, container, { force, volumes }) => {
  const request = { container, force, volumes };
  return removed(force, () => api.call("Containers", "Remove", request));
});

const conditions = {
  "ended": "CONDITION_ENDED",
  "next-end": "CONDITION_NEXT_END",
  "removed": "CONDITION_REMOVED",
  "healthy": "CONDITION_HEALTHY",
} as const;

export const wait = moving("container", {
  summary: "Wait until containers have ended, and print their exit statuses",
  details: [
    "One that does not run is not waited for, except with --condition next-end. A container that " +
    "never ran has no status to print, which is a line with a hyphen.",
  ],
  flags: {
    condition: choice("What to wait for", ["ended", "next-end", "removed", "healthy"]),
  },
  examples: [
    ["kurma wait job", "Prints 0 if all went well"],
    ["kurma wait --condition healthy web", "Until its health check says that it is well"],
  ],
}, async (api, container, { condition }) => {
  const answer = await api.call("Containers", "Wait", {
    container,
    condition: conditions[condition],
  });
  return { text: answer.exit === undefined ? "-" : String(answer.exit.code ?? 0), answer };
});

export const pause = moving("container", {
  summary: "Halt all processes of containers, until kurma resume",
  flags: {},
  examples: [
    ["kurma pause web", "Hold it still"],
    ["kurma pause web db", "Both of them"],
  ],
}, async (api, container) => {
  return { answer: await api.call("Containers", "Pause", { container }) };
});

export const resume = moving("container", {
  summary: "Let paused containers go on",
  aliases: ["unpause"],
  flags: {},
  examples: [
    ["kurma resume web", "After kurma pause web"],
    ["kurma resume web db", "Both of them"],
  ],
}, async (api, container) => {
  return { answer: await api.call("Containers", "Resume", { container }) };
});

export const rename = command({
  summary: "Give a container another name",
  details: ["Its id stays. Prints the new name."],
  args: ["container", "name"],
  flags: { output: textOutput },
  examples: [
    ["kurma rename web old-web", "By its name"],
    ["kurma rename 3f2a91c0 web", "By the first digits of its id"],
  ],
  async run(context, { container, name }, { output }) {
    const answer = await (await daemon(context)).call("Containers", "Rename", { container, name });
    return output === "text" ? name : await structured(answer.container, output);
  },
});
