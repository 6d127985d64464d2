/**
 * `kurma exec`, `enter` and `attach`: talking to a process of a container.
 *
 * @module
 */

import { whole } from "./amounts.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { converse, tellDetached } from "./conversation.ts";
import { environment } from "./environment.ts";
import { boolean, list, string } from "./flags.ts";
import { appOf } from "./pod_app.ts";
import { streaming } from "./streaming.ts";
import { detachKeys, terminalSize } from "./terminal.ts";

const envFlags = {
  env: list("Set a variable; NAME alone copies yours", { short: "e", placeholder: "NAME=VALUE" }),
  "env-file": list("Set variables from a file, one a line", { placeholder: "FILE" }),
  workdir: string("The folder to start in", { short: "w", placeholder: "PATH" }),
  user: string("Who runs it", { short: "u", placeholder: "USER[:GROUP]" }),
};

/** What both an exec and a shell may be told. */
function placeOf(
  { env }: Context,
  flags: {
    env: readonly string[];
    "env-file": readonly string[];
    workdir: string | undefined;
    user: string | undefined;
  },
) {
  return {
    env: [...environment(flags["env-file"], flags.env, env)],
    ...(flags.workdir === undefined ? {} : { workingDir: flags.workdir }),
    ...(flags.user === undefined ? {} : { user: flags.user }),
  };
}

/** The size of our terminal, for a process that gets one. */
function sized(terminal: boolean) {
  const size = terminal ? terminalSize() : undefined;
  return size === undefined ? {} : { terminalSize: size };
}

const ownStatus = "The status is the command's: 128 + N if signal N ended it; 125 if Kurma failed.";

export const exec = command({
  summary: "Run one more command in a running container",
  details: [
    "Going away, as with Ctrl-C, ends the command, unless it has a terminal, which hears the key " +
    `itself. ${ownStatus}`,
  ],
  args: ["container", "command+"],
  passthrough: true,
  failure: 125,
  flags: {
    interactive: boolean("Pass standard input on", { short: "i" }),
    tty: boolean("Give it a terminal", { short: "t" }),
    detach: boolean("Let it run by itself; its output is lost", { short: "d" }),
    ...envFlags,
    privileged: boolean("With all capabilities of the host"),
  },
  instead: { "--detach-keys": "Ctrl-P Ctrl-Q are for kurma attach; leave it out" },
  examples: [
    ["kurma exec web ls /", "One command"],
    ["kurma exec -it web sh", "A shell, on a terminal of its own"],
    ["kurma exec -i db restore < dump.sql", "With its input from a file"],
  ],
  async run(context, { container, command }, flags) {
    const { interactive, tty, detach, privileged } = flags;
    const start = {
      container,
      command: [...command],
      ...placeOf(context, flags),
      terminal: tty,
      ...sized(tty),
      openInput: interactive && !detach,
      detach,
      privileged,
    };
    const manners = { start, input: start.openInput, terminal: tty && !detach };
    return await streaming(context, async ({ containers }) => {
      const { status } = await converse((...call) => containers.exec(...call), manners);
      return status;
    });
  },
});

export const enter = command({
  summary: "Open a shell in a running container, or run a command there on a terminal",
  details: [
    "The shell is that of the user in the image's passwd, else /bin/sh. Of a pod, the first word of " +
    `COMMAND names the app. ${ownStatus}`,
  ],
  args: ["container", "command*"],
  passthrough: true,
  failure: 125,
  flags: envFlags,
  examples: [
    ["kurma enter web", "Look around; Ctrl-D leaves"],
    ["kurma enter --user app web", "As another user"],
    ["kurma enter web top", "Another program, on a terminal as well"],
  ],
  async run(context, { container: reference, command }, flags) {
    const place = { ...placeOf(context, flags), ...sized(true) };
    const manners = { input: true, terminal: true };
    return await streaming(context, async (api) => {
      const { container, words } = await appOf(api, reference, command);
      const start = { container, ...place };
      const { containers } = api;
      const further = { ...start, command: [...words], terminal: true, openInput: true };
      const { status } = words.length === 0
        ? await converse((...call) => containers.enter(...call), { ...manners, start })
        : await converse((...call) => containers.exec(...call), { ...manners, start: further });
      return status;
    });
  },
});

export const attach = command({
  summary: "Connect to the command of a running container",
  details: [
    "Shows what it writes from now on, and passes standard input on if it was created with " +
    "--interactive. Going away, as with Ctrl-C, ends nothing; on a terminal of its own, which hears " +
    `that key itself, the detach keys go away. ${ownStatus}`,
  ],
  args: ["container"],
  failure: 125,
  flags: {
    "no-stdin": boolean("Only listen"),
    tail: whole("Lines of the log that come first", { short: "n" }),
    "detach-keys": detachKeys(),
  },
  instead: { "--sig-proxy": "Use kurma kill --signal" },
  examples: [
    ["kurma attach web", "See what it says from now on"],
    ["kurma attach --no-stdin --tail 10 web", "Only listen, beginning a little earlier"],
  ],
  async run(context, { container }, { "no-stdin": deaf, tail = 0, "detach-keys": keys }) {
    return await streaming(context, async ({ containers }) => {
      const { container: found } = await containers.get({ container });
      const { terminal = false, openInput = false } = found?.settings ?? {};
      const input = openInput && !deaf;
      const start = { container, input, tail, ...sized(terminal) };
      const { status, detached } = await converse((...call) => containers.attach(...call), {
        start,
        input,
        terminal: input && terminal,
        keys,
      });
      if (detached) tellDetached(container);
      return status;
    });
  },
});
