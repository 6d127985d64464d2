/**
 * `kurma exec`, `enter` and `attach`: talking to a process of a container.
 *
 * @module
 */

import type { ExitStatus } from "../../stage1/api/kurma.gen.ts";
import { pass } from "../print.ts";
import { command } from "./command.ts";
import type { Context } from "./context.ts";
import { environment } from "./environment.ts";
import { boolean, list, string, whole } from "./flags.ts";
import { streaming } from "./host.ts";
import { appOf } from "./pod_app.ts";
import { RawTerminal, terminalSize, untilDetached } from "./terminal.ts";

/** What a process says, in the words of all three calls. */
interface Said {
  readonly message:
    | { readonly case: "output" | "errorOutput"; readonly value: Uint8Array }
    | { readonly case: "exited"; readonly value: ExitStatus }
    | { readonly case: "started" | "attached"; readonly value: unknown }
    | { readonly case: undefined; readonly value?: undefined };
}

/** What we say to it once it runs. */
type Heard =
  | { readonly case: "input"; readonly value: Uint8Array }
  | { readonly case: "resize"; readonly value: { rows: number; columns: number } };

/** The most bytes of one message. */
const maxInput = 64 * 1024;

/** How a conversation is led. */
interface Manners<Start> {
  /** The first message. */
  readonly start: Start;
  /** Whether it hears standard input. */
  readonly input: boolean;
  /** Whether it has a terminal, so that ours is made raw. */
  readonly terminal: boolean;
  /** Whether the detach keys end the conversation. */
  readonly detachable?: boolean;
}

/**
 * Starts a conversation by `open` and leads it to its end.
 *
 * @returns The exit status of the process; 0 if we went away from it.
 */
async function converse<Start>(
  open: (
    requests: AsyncIterable<{ message: { case: "start"; value: Start } | Heard }>,
    options: { signal: AbortSignal },
  ) => AsyncIterable<Said>,
  { start, input, terminal, detachable = false }: Manners<Start>,
): Promise<number> {
  const leaving = new AbortController();
  const { readable, writable } = new TransformStream<Heard, Heard>();
  const writer = writable.getWriter();
  // What can no longer be said is no error: the process has ended.
  const say = (message: Heard) => writer.write(message).catch(() => undefined);
  async function* requests() {
    yield { message: { case: "start" as const, value: start } };
    for await (const message of readable) yield { message };
  }
  using _terminal = terminal
    ? new RawTerminal((value) => say({ case: "resize", value }))
    : undefined;
  if (input) {
    const keys = detachable && terminal
      ? untilDetached(Deno.stdin.readable, () => leaving.abort())
      : Deno.stdin.readable;
    hear(keys, say).then(() => writer.close()).catch((error) => writer.abort(error));
  }
  try {
    for await (const { message } of open(requests(), { signal: leaving.signal })) {
      if (message.case === "exited") return message.value.code;
      if (message.case !== "output" && message.case !== "errorOutput") continue;
      const status = pass(message.value, message.case === "output" ? "stdout" : "stderr");
      if (status !== 0) return status;
    }
  } catch (error) {
    if (!leaving.signal.aborted) throw error;
  }
  return 0;
}

/** Passes what comes in on, in messages of at most {@linkcode maxInput} bytes. */
async function hear(input: AsyncIterable<Uint8Array>, say: (message: Heard) => Promise<void>) {
  for await (const piece of input) {
    for (let at = 0; at < piece.length; at += maxInput) {
      await say({ case: "input", value: piece.subarray(at, at + maxInput) });
    }
  }
}

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
    return await streaming(
      context,
      ({ containers }) => converse((...call) => containers.exec(...call), manners),
    );
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
      return words.length === 0
        ? await converse((...call) => containers.enter(...call), { ...manners, start })
        : await converse((...call) => containers.exec(...call), {
          ...manners,
          start: { ...start, command: [...words], terminal: true, openInput: true },
        });
    });
  },
});

export const attach = command({
  summary: "Connect to the command of a running container",
  details: [
    "Shows what it writes from now on, and passes standard input on if it was created with " +
    "--interactive. Going away, as with Ctrl-C, ends nothing; on a terminal of its own, which hears " +
    `that key itself, Ctrl-P Ctrl-Q goes away. ${ownStatus}`,
  ],
  args: ["container"],
  failure: 125,
  flags: {
    "no-stdin": boolean("Only listen"),
    tail: whole("Lines of the log that come first", { short: "n" }),
  },
  instead: {
    "--sig-proxy": "Use kurma kill --signal",
    "--detach-keys": "They are Ctrl-P Ctrl-Q; leave it out",
  },
  examples: [
    ["kurma attach web", "See what it says from now on"],
    ["kurma attach --no-stdin --tail 10 web", "Only listen, beginning a little earlier"],
  ],
  async run(context, { container }, { "no-stdin": deaf, tail = 0 }) {
    return await streaming(context, async ({ containers }) => {
      const { container: found } = await containers.get({ container });
      const { terminal = false, openInput = false } = found?.settings ?? {};
      const input = openInput && !deaf;
      const start = { container, input, tail, ...sized(terminal) };
      return await converse((...call) => containers.attach(...call), {
        start,
        input,
        terminal: input && terminal,
        detachable: true,
      });
    });
  },
});
