/**
 * From an image and what the caller wants to the plan for stage2: one pure function.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { ImageConfig } from "../images/image.ts";
import { defaultCapabilities } from "./capabilities.ts";
import { type Config, type Mount, ociVersion, type Plan } from "../../stage2/spec.ts";

/** What the caller of `run` decides; everything else comes from the image. */
export interface Overrides {
  /** Replaces the image's command; its entrypoint stays in front. */
  command: readonly string[];
  /** Replaces the image's entrypoint, and drops its command. */
  entrypoint?: readonly string[];
  /** `NAME=value`, over the image's. */
  env: readonly string[];
  workingDir?: string;
  /** `user[:group]`. */
  user?: string;
  hostname?: string;
  readOnly?: boolean;
  terminal: boolean;
  /** Of that terminal, in characters, from its first moment on. */
  consoleSize?: { height: number; width: number };
}

/** Where a container is and what it is made of. */
export interface Place {
  /** Unique on this machine; its first 12 characters become the hostname. */
  id: string;
  /** Unpacked layers, the lowest first. */
  layers: readonly string[];
  /** The container's own folder, with `upper` and `work` in it. */
  scratch: string;
  /** Its own 65,536 ids of the host start here; left out, root inside is root outside. */
  firstId?: number;
}

/** The search path of a container whose image sets none. original.md has the same six. */
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** OCI runtime-spec 1.3, config-linux.md "Default Filesystems", and what users expect beside. */
const defaultMounts: readonly Mount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: ["nosuid", "noexec", "nodev"] },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"],
  },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
  },
  {
    destination: "/dev/mqueue",
    type: "mqueue",
    source: "mqueue",
    options: ["nosuid", "noexec", "nodev"],
  },
  {
    destination: "/sys",
    type: "sysfs",
    source: "sysfs",
    options: ["nosuid", "noexec", "nodev", "ro"],
  },
];

/** What procfs and sysfs would tell of the machine, or let break. the paths are what Linux offers there. */
const maskedPaths = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
];

const readonlyPaths = [
  "/proc/bus",
  "/proc/fs",
  "/proc/irq",
  "/proc/sys",
  "/proc/sysrq-trigger",
];

/**
 * The plan for one container.
 *
 * @throws {KurmaError} `invalid`: the image has no command and none is given, or a path
 * is not absolute.
 */
export function planContainer(place: Place, image: ImageConfig, wanted: Overrides): Plan {
  const workingDir = wanted.workingDir ?? (image.workingDir || "/");
  if (!workingDir.startsWith("/")) {
    throw new KurmaError("invalid", `Cannot start in "${workingDir}": it is not an absolute path`, {
      fix: "Name a working directory that starts with /",
    });
  }
  const mappings = place.firstId === undefined
    ? undefined
    : [{ containerID: 0, hostID: place.firstId, size: 65_536 }];
  const config: Config = {
    ociVersion,
    process: {
      terminal: wanted.terminal,
      consoleSize: wanted.consoleSize,
      args: commandLine(image, wanted),
      env: environment(image.env, wanted),
      cwd: workingDir,
      noNewPrivileges: true,
      capabilities: {
        bounding: defaultCapabilities,
        effective: defaultCapabilities,
        permitted: defaultCapabilities,
        inheritable: [],
        ambient: [],
      },
    },
    root: { readonly: wanted.readOnly ?? false },
    hostname: wanted.hostname ?? place.id.slice(0, 12),
    mounts: defaultMounts,
    linux: {
      namespaces: [
        { type: "mount" },
        { type: "pid" },
        { type: "ipc" },
        { type: "uts" },
        { type: "cgroup" },
        { type: "network" },
        ...(mappings ? [{ type: "user" as const }] : []),
      ],
      uidMappings: mappings,
      gidMappings: mappings,
      maskedPaths,
      readonlyPaths,
    },
  };
  const group = image.group ? `:${image.group}` : "";
  const user = wanted.user ?? (image.user || "0") + (image.user?.includes(":") ? "" : group);
  const { id, layers, scratch } = place;
  return { kurma: { id, layers, scratch, user, seccomp: "default" }, config };
}

/** Entrypoint and command, as image-spec config.md says they combine. */
function commandLine(image: ImageConfig, wanted: Overrides): string[] {
  const entrypoint = wanted.entrypoint ?? image.entrypoint;
  const command = wanted.command.length > 0 || wanted.entrypoint !== undefined
    ? wanted.command
    : image.command;
  const args = [...entrypoint, ...command];
  if (args.length === 0 || args[0] === "") {
    throw new KurmaError("invalid", "Cannot start a container without a command", {
      fix: "Name one after the image: the image itself has none",
    });
  }
  return args;
}

/** The image's variables with the caller's over them; PATH and TERM if neither has them. */
function environment(image: readonly string[], { env, terminal }: Overrides): string[] {
  const variables = new Map([["PATH", defaultPath]]);
  if (terminal) variables.set("TERM", "xterm");
  for (const variable of [...image, ...env]) {
    const equals = variable.indexOf("=");
    variables.set(variable.slice(0, equals), variable.slice(equals + 1));
  }
  return [...variables].map(([name, value]) => `${name}=${value}`);
}
