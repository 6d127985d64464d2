/**
 * What an attack is, and what it is carried out on: a stage2 server, of the binary under
 * test or of the build whose protections can be left out (ffi/linux/weakness.zig).
 *
 * @module
 */

import { KernelError } from "../../ffi/kernel.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { kernel } from "../../ffi/mod.ts";
import type { Config, ExecPlan, Mount, Plan } from "../../stage2/spec.ts";
import { binary, mustRun, root } from "../harness.ts";
import { Output, pause, Served, type Wanted } from "../stage2/served.ts";

/** The names of ffi/linux/weakness.zig. */
export type Weakness =
  | "resolve"
  | "kernel_folders"
  | "null_device"
  | "masked_paths"
  | "readonly_paths"
  | "descriptors"
  | "working_directory"
  | "environment"
  | "ids"
  | "groups"
  | "inheritable"
  | "capabilities"
  | "filter"
  | "architecture"
  | "conditions"
  | "dumpable"
  | "keyring"
  | "session"
  | "cgroup_names"
  | "limits"
  | "devices"
  | "hook_environment"
  | "settings";

/** What came of an attack. */
export interface Outcome {
  /** Whether the attacker has what it is after. */
  got: boolean;
  /** What it saw, for the message. */
  seen: string;
}

/** One attack. docs/decisions/031-attacks.md has the list by number. */
export interface Attack {
  number: number;
  /** What the attacker tries, as a sentence without a subject. */
  what: string;
  /** The protections without which it succeeds. */
  leftOut: readonly Weakness[];
  /** With several: each of them alone is enough to refuse it. */
  eachIsEnough?: boolean;
  /** The server is started by this command. */
  prefix?: readonly string[];
  carryOut(target: Target): Promise<Outcome>;
  /** What the attacker sees where nothing is left out. */
  refused: RegExp;
}

/** A container of an attacker. */
export interface Wish {
  /** A line of the shell, or a command. */
  run: string | readonly string[];
  /** A line of the host's shell that prepares a layer of the image; it is in its folder. */
  image?: string;
  user?: string;
  /** Root inside is root outside: what a user namespace would refuse anyway is not. */
  hostUsers?: boolean;
  /** More than the usual ones. */
  capabilities?: readonly string[];
  /** Without what Kurma usually mounts here and below. */
  withoutMounts?: string;
  mounts?: readonly Mount[];
  process?: Partial<Config["process"]>;
  linux?: Partial<Config["linux"]> & { seccomp?: unknown };
  hooks?: Config["hooks"];
  kurma?: Partial<Plan["kurma"]>;
  wanted?: Wanted;
}

/** Somewhere to attack. */
export class Target implements AsyncDisposable {
  #count = 0;

  private constructor(
    readonly server: Served,
    /** What the server is, as a file. */
    readonly program: string,
    /** Whether protections are left out. */
    readonly weakened: boolean,
    /** A folder of the host that is nobody's business, with `secret` in it. */
    readonly host: string,
  ) {}

  /** Starts a server in `dir`; without `leftOut` that of the binary under test. */
  static async start(
    dir: string,
    attack: Attack,
    leftOut?: readonly Weakness[],
  ): Promise<Target> {
    const host = `${dir}/host`;
    await Deno.mkdir(host, { recursive: true });
    await Deno.writeTextFile(`${host}/secret`, secret);
    await Deno.chmod(`${host}/secret`, 0o666);
    await mustRun(["sh", "-euc", baseScript, "sh", `${dir}/base`], { env: { TOOLS: tools } });
    const program = leftOut ? `${tools}/kurma-weakened` : binary;
    const server = await Served.start(dir, {
      program,
      prefix: attack.prefix,
      env: { KURMA_TEST_SECRET: secret, ...leftOut && { KURMA_WEAKEN: leftOut.join(",") } },
    });
    return new Target(server, program, leftOut !== undefined, host);
  }

  get dir(): string {
    return this.server.dir;
  }

  /** The plan of the attacker's container. */
  async plan(wish: Wish): Promise<Plan> {
    const id = `attacker-${this.#count++}`;
    const { kurma, config } = await this.server.plan(id, [], wish.wanted);
    const layers = [`${this.dir}/base`];
    if (wish.image !== undefined) {
      const layer = `${this.dir}/${id}-image`;
      await Deno.mkdir(layer);
      await mustRun(["sh", "-euc", wish.image], { cwd: layer, env: { HOST: this.host } });
      layers.push(layer);
    }
    const { namespaces, uidMappings, gidMappings } = config.linux;
    const users = wish.hostUsers
      ? { namespaces: namespaces.filter(({ type }) => type !== "user") }
      : { namespaces, uidMappings, gidMappings };
    const mounts = config.mounts.filter(({ destination }) =>
      wish.withoutMounts === undefined || !destination.startsWith(wish.withoutMounts)
    );
    const { capabilities } = config.process;
    const held = [...capabilities?.bounding ?? [], ...wish.capabilities ?? []];
    return {
      kurma: { ...kurma, layers, user: wish.user ?? "0", ...wish.kurma },
      config: {
        ...config,
        mounts: [...mounts, ...wish.mounts ?? []],
        hooks: wish.hooks,
        process: {
          ...config.process,
          args: typeof wish.run === "string" ? ["/bin/sh", "-c", wish.run] : wish.run,
          env: ["PATH=/bin"],
          capabilities: {
            bounding: held,
            effective: held,
            permitted: held,
            inheritable: [],
            ambient: [],
          },
          ...wish.process,
        },
        linux: {
          ...config.linux,
          uidMappings: undefined,
          gidMappings: undefined,
          ...users,
          ...wish.linux,
        },
      },
    };
  }

  /** Runs the attacker to its end: what it printed, and its status on the last line. */
  async run(wish: Wish): Promise<string> {
    const plan = await this.plan(wish);
    const { id } = plan.kurma;
    using output = new Output();
    const streams = plan.config.process.terminal ? null : output.streams;
    let terminal: number | undefined;
    const refusal = await refused(async () => {
      ({ terminal } = await this.server.stage2.create(plan, streams));
      await this.server.stage2.start(id);
    });
    if (refusal !== undefined) {
      await this.settled(id);
      return refusal;
    }
    const { status } = await this.server.ended(id);
    await this.server.stage2.delete(id);
    if (terminal !== undefined) kernel.close(terminal);
    return `${output.text}${status}`;
  }

  /** Starts the attacker and lets it run; {@linkcode Served.remove} ends it. */
  async start(wish: Wish): Promise<string> {
    const plan = await this.plan(wish);
    await this.server.stage2.create(plan, null);
    await this.server.stage2.start(plan.kurma.id);
    return plan.kurma.id;
  }

  /** Runs a further process in a container: as {@linkcode run}. */
  async exec(id: string, args: readonly string[], process: Partial<ExecPlan["process"]> = {}) {
    using output = new Output();
    const plan: ExecPlan = {
      kurma: { id, user: "0", seccomp: "default" },
      process: { args, env: ["PATH=/bin"], cwd: "/", noNewPrivileges: true, ...process },
    };
    let status = "";
    const refusal = await refused(async () => {
      const { ended } = await this.server.stage2.exec(plan, output.streams);
      status = `${(await ended).status}`;
    });
    return refusal ?? `${output.text}${status}`;
  }

  /** Waits until nothing of a container that was refused is left. */
  async settled(id: string): Promise<void> {
    while (true) {
      const left = await this.server.find(id);
      if (left === undefined) return;
      if (left.state === "stopped") await this.server.stage2.delete(id);
      await pause(5);
    }
  }

  /** Names in the host's folder beside the secret, and whether that is still what it was. */
  async damage(): Promise<string[]> {
    const names = [...Deno.readDirSync(this.host)].map(({ name }) => name);
    const changed = await Deno.readTextFile(`${this.host}/secret`) !== secret;
    return [...names.filter((name) => name !== "secret"), ...changed ? ["secret, changed"] : []];
  }

  async quit(): Promise<void> {
    await this.server.quit();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

/** What no attacker may read. */
export const secret = "a secret of the host\n";

/** Where the attacker is inside. */
export const attacker = "/bin/attacker";

const tools = `${root}/build/tools`;

/** The lowest layer of every attacker's image. */
const baseScript = `
  mkdir -p "$1/bin" "$1/proc" "$1/dev" "$1/sys" "$1/etc" "$1/tmp" "$1/vol"
  chmod 1777 "$1/tmp"
  cp /bin/busybox "$TOOLS/attacker" "$TOOLS/guest" "$1/bin"
  for name in sh cat echo env head id ls mkdir mknod mount readlink sleep true; do
    ln -s busybox "$1/bin/$name"
  done
`;

/** Why it fails on purpose; undefined if it does not. */
async function refused(body: () => Promise<void>): Promise<string | undefined> {
  try {
    await body();
  } catch (error) {
    if (error instanceof KernelError) return `${error.step} ${error.errno}`;
    if (error instanceof KurmaError) return error.message;
    throw error;
  }
}
