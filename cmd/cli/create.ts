/**
 * `kurma create`: from the flags that users of docker and podman know to a request of the API.
 *
 * @module
 */

import { resolve } from "node:path";
import type { MessageJsonType } from "@bufbuild/protobuf";
import { KurmaError } from "../../ffi/errors.ts";
import type {
  ContainerSettingsSchema,
  HealthCheckSchema,
  MountSchema,
  ResourcesSchema,
  RestartPolicySchema,
  SecuritySchema,
} from "../../stage1/api/kurma.gen.ts";
import { roleOrder } from "../../stage1/remote/roles.ts";
import { parseSize } from "../../stage1/units.ts";
import { bytes, time, whole } from "./amounts.ts";
import { command, type FlagValues } from "./command.ts";
import { environment } from "./environment.ts";
import { boolean, choice, list, string } from "./flags.ts";
import { daemon, seconds } from "./host.ts";
import { structured, textOutput } from "./output.ts";
import { UsageError } from "./parse.ts";

type Settings = MessageJsonType<typeof ContainerSettingsSchema>;
type Mount = MessageJsonType<typeof MountSchema>;
type Resources = MessageJsonType<typeof ResourcesSchema>;
type Security = MessageJsonType<typeof SecuritySchema>;

/** Limits, which `kurma update` takes as well. */
export const limitFlags = {
  memory: bytes("The most memory; past it a process is killed; 0 for no limit", { short: "m" }),
  "memory-reservation": bytes("What is left to it first when memory is short"),
  swap: bytes("The most swap besides memory; 0 for none"),
  cpus: string("Processors' worth of time, as 1.5", { placeholder: "COUNT" }),
  "cpu-weight": whole("Its share when processors are short, 1 to 10000; 100 is usual", { min: 1 }),
  "cpuset-cpus": string("The processors it may run on, as 0-3,8", { placeholder: "LIST" }),
  "pids-limit": whole("The most processes and threads; 0 or -1 for no limit", { min: -1 }),
  restart: string("Start it again: no, on-failure[:TIMES], always, unless-stopped", {
    placeholder: "POLICY",
  }),
};

/** What a container may be made with, which `kurma run` takes as well. */
export const containerFlags = {
  name: string("The name of the container; made up without it", {
    short: "n",
    placeholder: "NAME",
  }),
  env: list("Set a variable; NAME alone copies yours", { short: "e", placeholder: "NAME=VALUE" }),
  "env-file": list("Set variables from a file, one a line", { placeholder: "FILE" }),
  volume: list("Mount a volume, or a path of the host; ro for read-only", {
    short: "v",
    placeholder: "SOURCE:PATH[:ro]",
  }),
  tmpfs: list("Mount memory; options are size=, mode=, ro", { placeholder: "PATH[:OPTION,...]" }),
  workdir: string("The folder to start in", { short: "w", placeholder: "PATH" }),
  user: string("Who runs the command", { short: "u", placeholder: "USER[:GROUP]" }),
  "group-add": list("One more group of the user, as a number", { placeholder: "GROUP" }),
  hostname: string("The host name inside", { placeholder: "NAME" }),
  entrypoint: string("Run this instead of the image's entry point; a JSON list has arguments", {
    placeholder: "PROGRAM",
  }),
  network: string("none (a loopback of its own, the default), host, or container:NAME", {
    placeholder: "NETWORK",
  }),
  tty: boolean("Give the command a terminal", { short: "t" }),
  interactive: boolean("Keep its standard input open for kurma attach", { short: "i" }),
  rm: boolean("Remove it when it has ended"),
  label: list("For whoever made it", { short: "l", placeholder: "NAME[=VALUE]" }),
  ...limitFlags,
  ulimit: list("A limit of each process, as nofile=1024:4096", { placeholder: "NAME=SOFT[:HARD]" }),
  "read-only": boolean("Make the root file system read-only"),
  "cap-add": list("One more capability, or ALL", { placeholder: "CAPABILITY" }),
  "cap-drop": list("One capability less, or ALL", { placeholder: "CAPABILITY" }),
  "security-opt": list(
    "no-new-privileges=true|false, seccomp=FILE|unconfined, landlock=FILE",
    { placeholder: "OPTION" },
  ),
  privileged: boolean("Nothing of the host is kept from it"),
  api: choice(
    "Give it kurmad's API, at /var/lib/kurma/kurma.sock, for what the role may do",
    ["none", ...roleOrder],
    { placeholder: "ROLE" },
  ),
  userns: choice("User ids: a range of its own, or the host's", ["private", "host"]),
  pid: string("Process numbers: private, host, or container:NAME", { placeholder: "NAMESPACE" }),
  ipc: string("Shared memory and queues, likewise", { placeholder: "NAMESPACE" }),
  uts: string("The host name's namespace, likewise", { placeholder: "NAMESPACE" }),
  device: list("A device of the host; access is some of rwm", {
    placeholder: "PATH[:PATH[:ACCESS]]",
  }),
  sysctl: list("A kernel setting of its namespaces", { placeholder: "NAME=VALUE" }),
  "stop-signal": string("What it is asked to end with", { placeholder: "SIGNAL" }),
  "stop-timeout": time("From that signal to SIGKILL"),
  "health-cmd": string("A shell command that tells by its status whether it is well", {
    placeholder: "COMMAND",
  }),
  "health-interval": time("Between two checks"),
  "health-timeout": time("After which a check has failed"),
  "health-retries": whole("Failures in a row that make it unhealthy", { min: 1 }),
  "health-start-period": time("In which failures do not count yet"),
  "no-healthcheck": boolean("Leave out the image's check"),
  pull: choice("When to fetch the image", ["missing", "always", "never"]),
};

/** {@linkcode containerFlags} as they are given. */
export type Given = FlagValues<typeof containerFlags>;

const started = "create starts nothing by itself; add --start, and use kurma attach or kurma logs";
const offline = "No port is forwarded in this version; use --network host";
const mounts = "Use --volume SOURCE:PATH[:ro], or --tmpfs PATH";
const logs = "Every container keeps a log; kurma logs shows it";
const names = "Containers find no names of others in this version; use --network container:NAME";

/** What is said of flags of docker and podman that a container has not. */
export const containerInstead = {
  "-p": offline,
  "--publish": offline,
  "-P": offline,
  "--publish-all": offline,
  "--expose": offline,
  "--net": "Write --network none, host or container:NAME",
  "--network-alias": names,
  "--link": names,
  "--dns": "Mount a resolv.conf of your own: --volume FILE:/etc/resolv.conf:ro",
  "--add-host": "Mount a hosts file of your own: --volume FILE:/etc/hosts:ro",
  "--mount": mounts,
  "--volumes-from": mounts,
  "--volume-driver": mounts,
  "--init": "Every container has an init already; leave it out",
  "--log-driver": logs,
  "--log-opt": logs,
  "-c": "Write --cpu-weight, where 100 is usual",
  "--cpu-shares": "Write --cpu-weight, where 100 is usual",
  "--cpu-quota": "Write --cpus, as in --cpus 1.5",
  "--cpu-period": "Write --cpus, as in --cpus 1.5",
  "--memory-swap": "Write --swap, which does not count memory in",
  "--label-file": "Write each with --label",
  "--platform": "An image of this machine's platform is chosen; leave it out",
  "--gpus": "Name its devices with --device",
  "--cgroup-parent": "The daemon's configuration names it for all containers",
  "--restart-policy": "Write --restart",
};

export const create = command({
  summary: "Make a container without starting it",
  details: [
    "IMAGE is the name or id of an image in the store, a name of a registry, which is pulled first, or " +
    "a path: a file of this machine, as for kurma run. What follows IMAGE belongs to the command in " +
    "the container. Prints the id of the container.",
  ],
  args: ["image", "command*"],
  passthrough: true,
  flags: { start: boolean("Start it at once"), ...containerFlags, output: textOutput },
  instead: {
    "-d": started,
    "--detach": started,
    "-a": started,
    "--attach": started,
    "--manifest": "Write kurma pod create FILE",
    "--cidfile": "create prints the id: kurma create ... > FILE",
    ...containerInstead,
  },
  examples: [
    ["kurma create --name web -v site:/www:ro busybox httpd -f -h /www", "Made, not yet started"],
    ["kurma create --start --restart always -m 64m busybox sleep 1000", "Made and started"],
    ["kurma create --name db --user app --read-only --tmpfs /tmp ./image:latest", "From a file"],
  ],
  async run(context, { image, command }, flags) {
    const api = await daemon(context);
    const { container } = await api.call("Containers", "Create", {
      ...requestOf(image, command, flags, context.env),
      start: flags.start,
    });
    return flags.output === "text"
      ? container?.id ?? ""
      : await structured(container, flags.output);
  },
});

/** The request of a container that is made of `image`. */
export function requestOf(
  image: string,
  command: readonly string[],
  flags: Given,
  env: Readonly<Record<string, string>>,
) {
  return {
    image: absolute(image),
    ...(flags.name === undefined ? {} : { name: flags.name }),
    pull: `PULL_POLICY_${upper(flags.pull)}` as const,
    settings: settingsOf(command, flags, env),
  };
}

/** A path, seen from `folder`, as the daemon finds it too; any other reference as it is. */
export function absolute(image: string, folder = Deno.cwd()): string {
  if (/^\.{0,2}\//.test(image)) return resolve(folder, image);
  const isThere = [image, image.replace(/:[^:/]*$/, "")].some((path) => {
    try {
      return Deno.statSync(resolve(folder, path)) !== undefined;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
        return false;
      }
      throw error;
    }
  });
  return isThere ? resolve(folder, image) : image;
}

/** `flags` as the API has them; what nobody asked for is left to the image and the defaults. */
export function settingsOf(
  command: readonly string[],
  flags: Given,
  env: Readonly<Record<string, string>>,
): Settings {
  const { entrypoint, workdir, user, hostname, network } = flags;
  const healthCheck = healthOf(flags);
  const { "stop-signal": stopSignal, "stop-timeout": stopTimeout } = flags;
  return {
    command: [...command],
    env: [...environment(flags["env-file"], flags.env, env)],
    ...(entrypoint === undefined ? {} : { entrypoint: { words: [...programOf(entrypoint)] } }),
    ...(workdir === undefined ? {} : { workingDir: workdir }),
    ...(user === undefined ? {} : { user }),
    groups: [...flags["group-add"]],
    ...(hostname === undefined ? {} : { hostname }),
    ...(network === undefined ? {} : { network: networkOf(network) }),
    terminal: flags.tty,
    openInput: flags.interactive,
    removeWhenEnded: flags.rm,
    labels: labelsOf(flags.label),
    mounts: [...flags.volume.map(volumeOf), ...flags.tmpfs.map(tmpfsOf)],
    resources: { ...limitsOf(flags), processLimits: flags.ulimit.map(ulimitOf) },
    security: securityOf(flags),
    ...(flags.restart === undefined ? {} : { restart: restartOf(flags.restart) }),
    ...(healthCheck === undefined ? {} : { healthCheck }),
    ...(stopSignal === undefined ? {} : { stopSignal }),
    ...(stopTimeout === undefined ? {} : { stopTimeout: seconds(stopTimeout) }),
  };
}

/** `NAME=VALUE` each; `NAME` alone has an empty value. */
export function labelsOf(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(texts.map((text) => {
    const [name, ...value] = text.split("=");
    if (name === "") throw unusable(text, "label", "Write NAME or NAME=VALUE");
    return [name, value.join("=")];
  }));
}

/** The limits of {@linkcode limitFlags}, but for what happens at the end. */
export function limitsOf(
  flags: Pick<Given, Exclude<keyof typeof limitFlags, "restart">>,
): Resources {
  const { memory, swap, cpus, "memory-reservation": reservation, "cpuset-cpus": cpuset } = flags;
  const { "cpu-weight": weight, "pids-limit": pids } = flags;
  return {
    ...(memory === undefined ? {} : { memoryBytes: String(memory) }),
    ...(reservation === undefined ? {} : { memoryReservationBytes: String(reservation) }),
    ...(swap === undefined ? {} : { swapBytes: String(swap) }),
    ...(cpus === undefined ? {} : { cpuMillis: String(millisOf(cpus)) }),
    ...(weight === undefined ? {} : { cpuWeight: weight }),
    ...(cpuset === undefined ? {} : { cpus: cpuset }),
    ...(pids === undefined ? {} : { pids: Math.max(0, pids) }),
  };
}

function millisOf(text: string): number {
  const millis = /^\d{1,5}(\.\d+)?$|^\.\d+$/.test(text) ? Math.round(Number(text) * 1000) : 0;
  if (millis > 0) return millis;
  throw unusable(text, "cpus", "Write a number of processors, as 2 or 0.5");
}

/** `on-failure:3` and the like. */
export function restartOf(text: string): MessageJsonType<typeof RestartPolicySchema> {
  const [, policy, times] = /^(no|on-failure|always|unless-stopped)(?::(\d{1,6}))?$/.exec(text) ??
    [];
  if (policy === undefined || (times !== undefined && policy !== "on-failure")) {
    throw unusable(text, "restart", "Write no, on-failure, on-failure:3, always or unless-stopped");
  }
  const mode = { "no": "NO", "on-failure": "ON_FAILURE", "always": "ALWAYS" } as const;
  const word = policy === "unless-stopped"
    ? "UNLESS_STOPPED"
    : mode[policy as "no" | "on-failure" | "always"];
  return { mode: `MODE_${word}`, ...(times === undefined ? {} : { maxRetries: Number(times) }) };
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

export function networkOf(text: string): string {
  if (text === "private") return "none";
  if (/^(none|host|container:.+)$/.test(text)) return text;
  throw unusable(text, "network", "Write none, host or container:NAME; there is no bridge yet");
}

/** `SOURCE:TARGET[:OPTION,...]`; a source with a slash is a path of the host. */
function volumeOf(text: string): Mount {
  const [source, target, options = "", ...rest] = text.split(":");
  const words = options === "" ? [] : options.split(",");
  const odd = words.find((word) => !["ro", "rw", "rbind", "z", "Z"].includes(word));
  if (source === "" || !target?.startsWith("/") || rest.length > 0 || odd !== undefined) {
    const why = target === undefined
      ? "Volumes have names here: write NAME:PATH"
      : odd === undefined
      ? "Write VOLUME:PATH or /HOST/PATH:PATH, and :ro behind it for read-only"
      : "Of the options behind PATH, ro and rw are known";
    throw unusable(text, "volume", why);
  }
  const common = { target, readOnly: words.includes("ro") };
  return /^\.{0,2}(\/|$)/.test(source)
    ? { ...common, bind: { path: resolve(source), recursive: true } }
    : { ...common, volume: { name: source } };
}

function tmpfsOf(text: string): Mount {
  const [target, options = ""] = text.split(":", 2);
  const mount = { maxBytes: "0", mode: 0o1777 };
  let readOnly = false;
  for (const option of options === "" ? [] : options.split(",")) {
    const [name, value = ""] = option.split("=", 2);
    const size = name === "size" ? parseSize(value) : undefined;
    if (name === "ro") readOnly = true;
    else if (size !== undefined) mount.maxBytes = String(size);
    else if (name === "mode" && /^[0-7]{3,4}$/.test(value)) mount.mode = parseInt(value, 8);
    // What every tmpfs has here anyway.
    else if (!["rw", "nosuid", "nodev"].includes(option)) {
      throw unusable(text, "tmpfs", "Write PATH, and behind it :size=64m,mode=1777,ro as needed");
    }
  }
  return { target, readOnly, tmpfs: mount };
}

function ulimitOf(text: string): NonNullable<Resources["processLimits"]>[number] {
  const [, type, soft, hard = soft] =
    /^([a-z]+)=(\d{1,15}|-1|unlimited)(?::(\d{1,15}|-1|unlimited))?$/.exec(text) ?? [];
  if (type === undefined) throw unusable(text, "ulimit", "Write NAME=SOFT or NAME=SOFT:HARD");
  const limit = (value: string) => /^\d/.test(value) ? value : String(0xffff_ffff_ffff_ffffn);
  return { type, soft: limit(soft), hard: limit(hard) };
}

function securityOf(flags: Given): Security {
  const { api, pid, ipc, uts } = flags;
  return {
    privileged: flags.privileged,
    capabilitiesAdd: flags["cap-add"].map(capability),
    capabilitiesDrop: flags["cap-drop"].map(capability),
    hostUsers: flags.userns === "host",
    readOnlyRoot: flags["read-only"],
    devices: flags.device.map(deviceOf),
    sysctls: labelsOf(flags.sysctl),
    ...(api === "none" ? {} : { apiAccess: true, apiRole: `API_ROLE_${upper(api)}` }),
    ...(pid === undefined ? {} : { pidNamespace: pid }),
    ...(ipc === undefined ? {} : { ipcNamespace: ipc }),
    ...(uts === undefined ? {} : { utsNamespace: uts }),
    ...flags["security-opt"].map(securityOption).reduce((all, each) => ({ ...all, ...each }), {}),
  };
}

/** `CAP_NET_RAW` of `net_raw`, as users of docker write it. */
function capability(text: string): string {
  const name = upper(text);
  return name === "ALL" || name.startsWith("CAP_") ? name : `CAP_${name}`;
}

function deviceOf(text: string): NonNullable<Security["devices"]>[number] {
  const [path, ...rest] = text.split(":");
  const access = /^[rwm]+$/.test(rest.at(-1) ?? "") ? rest.pop() : undefined;
  if (!path.startsWith("/") || rest.length > 1) {
    throw unusable(
      text,
      "device",
      "Write /dev/NAME, /dev/NAME:/dev/OTHER or /dev/NAME:/dev/OTHER:rw",
    );
  }
  return {
    path,
    ...(rest[0] === undefined ? {} : { target: rest[0] }),
    ...(access === undefined ? {} : { access }),
  };
}

/** `NAME=VALUE`, or docker's older `NAME:VALUE`. */
function securityOption(text: string): Security {
  const [, name, value] = /^([a-z-]+)(?:[=:](.+))?$/.exec(text) ?? [];
  if (name === "no-new-privileges" && ["true", "false", undefined].includes(value)) {
    return { noNewPrivileges: value !== "false" };
  }
  if (name === "seccomp" && value !== undefined) {
    if (value === "unconfined") return { seccomp: "none" };
    return { seccomp: value === "default" || value === "builtin" ? "default" : fileText(value) };
  }
  if (name === "landlock" && value !== undefined) return { landlock: fileText(value) };
  const instead: Record<string, string> = {
    apparmor: "AppArmor is not used; Landlock is: landlock=FILE",
    label: "SELinux is not used; Landlock is: landlock=FILE",
    systempaths: "All of /proc and /sys is shown only with --privileged",
    mask: "All of /proc and /sys is shown only with --privileged",
    unmask: "All of /proc and /sys is shown only with --privileged",
  };
  throw unusable(
    text,
    "security-opt",
    instead[name ?? ""] ??
      "Write no-new-privileges=true|false, seccomp=FILE|unconfined or landlock=FILE",
  );
}

/** A profile is a few kilobytes. */
const largestProfile = 1 << 20;

function fileText(path: string): string {
  try {
    const { size } = Deno.statSync(path);
    if (size <= largestProfile) return Deno.readTextFileSync(path);
  } catch (cause) {
    const missing = cause instanceof Deno.errors.NotFound;
    throw new KurmaError(
      missing ? "missing" : "denied",
      `Cannot read "${path}" for --security-opt`,
      { cause, fix: missing ? "Check the path" : "Make it readable for you" },
    );
  }
  throw unusable(path, "security-opt", `A profile has at most ${largestProfile} bytes`);
}

function healthOf(flags: Given): MessageJsonType<typeof HealthCheckSchema> | undefined {
  const { "health-cmd": text, "health-interval": interval, "health-timeout": limit } = flags;
  const { "health-retries": retries, "health-start-period": period } = flags;
  if (flags["no-healthcheck"]) return { test: ["NONE"] };
  const given = {
    ...(text === undefined ? {} : { test: text === "none" ? ["NONE"] : ["CMD-SHELL", text] }),
    ...(interval === undefined ? {} : { interval: seconds(interval) }),
    ...(limit === undefined ? {} : { timeout: seconds(limit) }),
    ...(retries === undefined ? {} : { retries }),
    ...(period === undefined ? {} : { startPeriod: seconds(period) }),
  };
  return Object.keys(given).length > 0 ? given : undefined;
}

function upper<Text extends string>(text: Text): Uppercase<Text> {
  return text.toUpperCase() as Uppercase<Text>;
}

function unusable(text: string, flag: string, fix: string): UsageError {
  return new UsageError(`Cannot use "${text}" for --${flag}`, fix);
}
