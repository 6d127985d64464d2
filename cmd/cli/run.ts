/**
 * `kurma run`: one command in a new container, from start to end, by a daemon or without one.
 *
 * @module
 */

import type { KurmaError } from "../../ffi/errors.ts";
import type { ApiClient } from "../../stage1/api/client.ts";
import { commandHint } from "../../stage1/containers/command_hint.ts";
import type { RunRequest } from "../../stage1/containers/run.ts";
import type { ContainerSpec } from "../../stage1/containers/spec.ts";
import { report } from "../print.ts";
import { command, type FlagValues } from "./command.ts";
import type { Context } from "./context.ts";
import { absolute, containerFlags, containerInstead, programOf, requestOf } from "./create.ts";
import { daemonIfAny, needsDaemon } from "./daemon_if_any.ts";
import { environment } from "./environment.ts";
import { explain } from "./failure.ts";
import { boolean } from "./flags.ts";
import { progressOnStderr } from "./progress.ts";
import { streamingWith } from "./streaming.ts";
import { detachKeys, terminalSize } from "./terminal.ts";

const flags = {
  ...containerFlags,
  detach: boolean("Let it run by itself, and print its id", { short: "d" }),
  interactive: boolean("Pass standard input on, as is done unless it is detached", { short: "i" }),
  rm: boolean("Remove it when it has ended, as is always done without a daemon"),
  "detach-keys": detachKeys(),
};

type Given = FlagValues<typeof flags>;

/** What needs no daemon: all that a container is told before it runs, and is nobody else's. */
const alone: ReadonlySet<string> = new Set([
  ...["name", "env", "env-file", "workdir", "user", "hostname", "entrypoint", "userns", "pull"],
  ...["read-only", "tty", "interactive", "rm"],
]);

export const run = command({
  summary: "Run a command in a new container",
  details: [
    "IMAGE is an ACI file, an OCI image layout (a folder or a tar, PATH[:TAG]), an archive of " +
    "docker save, the name of an image in the store, or hello, which this program brings along. " +
    "A name that is not in the store is pulled first. " +
    "What follows IMAGE belongs to the command in the container.",
    "The daemon runs it if there is one, so that it outlives this shell: the detach keys on a " +
    "terminal go away, and kurma attach comes back. Without one, or with --no-daemon, --root or " +
    "--config, it ends with this program.",
    "Signals are passed on to the command, unless it has a terminal and the daemon; a second " +
    "Ctrl-C within a second, or a third, leaves at once.",
    "The status is the command's: 128 + N if signal N ended it, 126 if it cannot be executed, 127 " +
    "if it is not there; 125 if Kurma failed.",
  ],
  args: ["image", "command*"],
  passthrough: true,
  failure: 125,
  flags,
  instead: {
    "-a": "Its streams are passed on unless it is detached",
    "--attach": "Its streams are passed on unless it is detached",
    "--sig-proxy": "Signals are passed on unless it has a terminal",
    "--cidfile": "run --detach prints the id: kurma run -d ... > FILE",
    ...containerInstead,
  },
  examples: [
    ["kurma run hello", "Look around inside a container"],
    ["kurma run -it ./busybox.aci sh", "A shell, on a terminal of its own"],
    ["kurma run busybox echo hi", "From Docker Hub, if it is not in the store"],
    ["kurma run -e GREETING=hi ./image:latest env | sort", "A command's output, in a pipe"],
    ["kurma run -d --name web -m 64m busybox sleep 1000", "By the daemon, on and on"],
  ],
  async run(context, { image, command }, flags) {
    const api = await daemonIfAny(context);
    return api
      ? await runThere(api, context, image, command, flags)
      : await runHere(context, image, command, flags);
  },
});

/** Has the daemon run it. */
async function runThere(
  api: ApiClient,
  { env }: Context,
  image: string,
  command: readonly string[],
  flags: Given,
): Promise<number | string> {
  const { detach, tty, "detach-keys": keys } = flags;
  // Without -d our input is the command's, as it is without a daemon.
  const given = { ...flags, interactive: flags.interactive || !detach };
  const request = requestOf(await known(api, image), command, given, env);
  const size = tty ? terminalSize() : undefined;
  const settings = { ...request.settings, ...(size && { terminalSize: size }) };
  const [{ createRequest }, { converse, tellDetached }, { progressOf }] = await Promise.all([
    import("../../stage1/api/client_streams.ts"),
    import("./conversation.ts"),
    import("../../stage1/api/client_progress.ts"),
  ]);
  const show = progressOnStderr();
  return await streamingWith(api, async ({ containers }) => {
    const { status, detached, container } = await converse(
      (...call) => containers.run(...call),
      {
        start: createRequest({ ...request, settings }),
        input: !detach,
        terminal: tty && !detach,
        keys,
        own: true,
        leaves: detach,
        onProgress: (progress) => show(progressOf(progress)),
      },
    );
    if (detach) return container?.id ?? "";
    if (detached && container) tellDetached(container.name);
    return status;
  });
}

/** What the daemon knows an image by: a file is sent to one that does not see ours. */
async function known(api: ApiClient, image: string): Promise<string> {
  if (api.endpoint.kind === "unix" || !absolute(image).startsWith("/")) return image;
  const { DaemonImages } = await import("./images_daemon.ts");
  return (await new DaemonImages(api).bringIn(image, undefined, progressOnStderr())).id;
}

/** Runs it ourselves. */
async function runHere(
  { root, config, env }: Context,
  image: string,
  command: readonly string[],
  given: Given,
): Promise<number> {
  for (const name of Object.keys(flags) as (keyof Given)[]) {
    const unasked = JSON.stringify(flags[name].read([]));
    if (!alone.has(name) && JSON.stringify(given[name]) !== unasked) throw needsDaemon(`--${name}`);
  }
  const { entrypoint, user, workdir, hostname, name } = given;
  const colon = user?.indexOf(":") ?? -1;
  const spec: ContainerSpec = {
    image,
    command,
    env: environment(given["env-file"], given.env, env),
    terminal: given.tty,
    ...(name === undefined ? {} : { name }),
    ...(workdir === undefined ? {} : { workingDir: workdir }),
    ...(hostname === undefined ? {} : { hostname }),
    ...(entrypoint === undefined ? {} : { entrypoint: programOf(entrypoint) }),
    ...(user === undefined ? {} : { user: colon < 0 ? user : user.slice(0, colon) }),
    ...(colon < 0 ? {} : { group: user?.slice(colon + 1) }),
    namespaces: { user: given.userns === "host" ? "host" : "auto" },
    security: { readOnlyRoot: given["read-only"] },
  };
  const pull = { config, onProgress: progressOnStderr() };
  if (given.pull === "always" && image !== "hello") {
    const { pullImage } = await import("../../stage1/images/pull.ts");
    await pullImage(image, { root, ...pull });
  }
  const request: RunRequest = { spec, root, ...(given.pull === "never" ? {} : { pull }) };
  const [{ kernel }, { run }] = await Promise.all([
    import("../../ffi/mod.ts"),
    import("../../stage1/containers/run.ts"),
  ]);
  return await run(kernel, request, (news: KurmaError) => {
    const { cause, fix } = explain(news);
    report(cause, fix ?? commandHint(news));
  });
}
