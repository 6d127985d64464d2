/**
 * `kurma run`: one command in a new container, from start to end.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { KernelError } from "../../ffi/kernel.ts";
import type { RunRequest } from "../../stage1/containers/run.ts";
import type { ContainerSpec } from "../../stage1/containers/spec.ts";
import { report } from "../print.ts";
import { command } from "./command.ts";
import { environment } from "./environment.ts";
import { explain } from "./failure.ts";
import { boolean, choice, list, string } from "./flags.ts";
import { progressOnStderr } from "./progress.ts";

const foreground = "It stays in the foreground in this version; end the line with & to go on";
const sealed = "A container sees its image and nothing of the host in this version";
const offline = "A container has a loopback network of its own and no other in this version";

export const run = command({
  summary: "Run a command in a new container",
  details: [
    "IMAGE is an ACI file, an OCI image layout (a folder or a tar, PATH[:TAG]), an archive of " +
    "docker save, the name of an image in the store, or hello, which this program brings along. " +
    "A name that is not in the store is pulled first. " +
    "What follows IMAGE belongs to the command in the container.",
    "The status is the command's: 128 + N if signal N ended it, 126 if it cannot be executed, 127 " +
    "if it is not there; 125 if Kurma failed.",
  ],
  args: ["image", "command*"],
  passthrough: true,
  failure: 125,
  instead: {
    "-d": foreground,
    "--detach": foreground,
    "-v": sealed,
    "--volume": sealed,
    "--mount": sealed,
    "-p": offline,
    "--publish": offline,
    "--net": offline,
    "--network": offline,
    "--init": "Every container has an init already; leave it out",
  },
  flags: {
    name: string("The name of the container", { placeholder: "NAME" }),
    env: list("Set a variable; NAME alone copies yours", { short: "e", placeholder: "NAME=VALUE" }),
    "env-file": list("Set variables from a file, one a line", { placeholder: "FILE" }),
    workdir: string("The folder to start in", { short: "w", placeholder: "PATH" }),
    user: string("Who runs the command", { short: "u", placeholder: "USER[:GROUP]" }),
    hostname: string("The host name inside", { placeholder: "NAME" }),
    entrypoint: string("Run this instead of the image's entry point; a JSON list has arguments", {
      placeholder: "PROGRAM",
    }),
    userns: choice("User ids: a range of its own, or the host's", ["private", "host"]),
    "read-only": boolean("Make the root file system read-only"),
    tty: boolean("Give the command a terminal", { short: "t" }),
    interactive: boolean("Pass standard input on, as is always done", { short: "i" }),
    rm: boolean("Remove the container afterwards, as is always done without a daemon"),
  },
  examples: [
    ["kurma run hello", "Look around inside a container"],
    ["kurma run -it ./busybox.aci sh", "A shell, on a terminal of its own"],
    ["kurma run busybox echo hi", "From Docker Hub, if it is not in the store"],
    ["kurma run -e GREETING=hi ./image:latest env | sort", "A command's output, in a pipe"],
  ],
  async run({ root, config, env }, { image, command }, flags) {
    const { entrypoint, user, workdir, hostname, name } = flags;
    const colon = user?.indexOf(":") ?? -1;
    const spec: ContainerSpec = {
      image,
      command,
      env: environment(flags["env-file"], flags.env, env),
      terminal: flags.tty,
      ...(name === undefined ? {} : { name }),
      ...(workdir === undefined ? {} : { workingDir: workdir }),
      ...(hostname === undefined ? {} : { hostname }),
      ...(entrypoint === undefined ? {} : { entrypoint: programOf(entrypoint) }),
      ...(user === undefined ? {} : { user: colon < 0 ? user : user.slice(0, colon) }),
      ...(colon < 0 ? {} : { group: user?.slice(colon + 1) }),
      namespaces: { user: flags.userns === "host" ? "host" : "auto" },
      security: { readOnlyRoot: flags["read-only"] },
    };
    const request: RunRequest = { spec, root, pull: { config, onProgress: progressOnStderr() } };
    const { kernel } = await import("../../ffi/mod.ts");
    const { run } = await import("../../stage1/containers/run.ts");
    return await run(kernel, request, (news) => {
      const { cause, fix } = explain(news);
      report(cause, fix ?? hint(news));
    });
  },
});

/** What helps against a command that could not be run. */
function hint(news: KurmaError): string | undefined {
  if (!(news instanceof KernelError) || news.step !== "exec") return undefined;
  return news.errno === "ENOENT"
    ? "Look for it in the image; the interpreter or loader that it names may be what is missing"
    : "It has to be an executable file of this machine's architecture";
}

/** The program that `text` names, with its arguments if it is a JSON list. */
export function programOf(text: string): readonly string[] {
  if (!text.startsWith("[")) return [text];
  try {
    const list: unknown = JSON.parse(text);
    if (Array.isArray(list) && list.every((word) => typeof word === "string")) return list;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
  }
  throw new KurmaError("invalid", `Cannot use "${text}" for --entrypoint: no list of strings`, {
    fix: `Write a program, or a JSON list as in '["sh", "-c"]'`,
  });
}
