/**
 * What a container may not do, asked from inside one that the stage2 server made: its
 * system call filter, and Landlock. Each refusal is first seen not to come from
 * something else: without the restriction the same command succeeds.
 *
 * @module
 */

import { KernelError } from "../../ffi/kernel.ts";
import { kernel } from "../../ffi/mod.ts";
import { type Exit, Stage2 } from "../../stage2/server.ts";
import { type Config, ociVersion, type Plan, type Seccomp } from "../../stage2/spec.ts";
import { assert, assertEquals } from "../assert.ts";
import { mustRun, root, Running, test } from "../harness.ts";

/** What a test says beyond the usual plan. */
interface Wish {
  script: string;
  kurma?: Partial<Plan["kurma"]>;
  capabilities?: readonly string[];
  /** `linux.seccomp`. */
  seccomp?: Seccomp;
}

/** Runs containers under a server of its own. */
class Machine {
  readonly #exits = new Map<string, (exit: Exit) => void>();
  #count = 0;

  private constructor(
    private readonly dir: string,
    private readonly server: Running,
    private readonly stage2: Stage2,
    exits: Map<string, (exit: Exit) => void>,
  ) {
    this.#exits = exits;
  }

  static async start(dir: string): Promise<Machine> {
    const layer = `${dir}/layer`;
    for (const name of ["bin", "proc", "dev", "sys", "etc", "tmp"]) {
      await Deno.mkdir(`${layer}/${name}`, { recursive: true });
    }
    await Deno.copyFile("/bin/busybox", `${layer}/bin/busybox`);
    await mustRun(["chroot", layer, "/bin/busybox", "--install", "-s", "/bin"]);
    await Deno.writeTextFile(`${layer}/etc/open`, "open\n");
    await Deno.writeTextFile(`${layer}/etc/secret`, "secret\n");
    const socket = `${dir}/stage2.sock`;
    const server = new Running([
      `${root}/build/tools/serve`,
      socket,
      `${root}/build/native/kurma-stage3`,
    ]);
    const exits = new Map<string, (exit: Exit) => void>();
    const stage2 = await connected(socket, (id, exit) => exits.get(id)?.(exit));
    return new Machine(dir, server, stage2, exits);
  }

  /** Everything that the script printed, and its exit status on the last line. */
  async run(wish: Wish): Promise<string> {
    const id = `test-${this.#count++}`;
    const scratch = `${this.dir}/${id}`;
    for (const name of ["upper", "work"]) {
      await Deno.mkdir(`${scratch}/${name}`, { recursive: true });
    }
    const output = kernel.memfd("output", new Uint8Array(4096), "shared");
    try {
      const { promise: ended, resolve } = Promise.withResolvers<Exit>();
      this.#exits.set(id, resolve);
      const plan = {
        kurma: { id, layers: [`${this.dir}/layer`], scratch, ...wish.kurma },
        config: config(wish),
      };
      await this.stage2.create(plan, [output, output, output]);
      await this.stage2.start(id);
      const { status } = await ended;
      await this.stage2.delete(id);
      const bytes = await Deno.readFile(`/proc/self/fd/${output}`);
      const text = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
      return `${text}${status}`;
    } finally {
      kernel.close(output);
      await Deno.remove(scratch, { recursive: true });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What a refused plan had begun takes a moment to be gone.
    while ((await this.stage2.list()).some(({ state }) => state !== "stopped")) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await this.stage2.quit();
    this.stage2[Symbol.dispose]();
    await this.server.output;
  }
}

function config(wish: Wish): Config {
  const mappings = [{ containerID: 0, hostID: 0x7000_0000, size: 65_536 }];
  const names = wish.capabilities ?? [];
  return {
    ociVersion,
    root: {},
    process: {
      args: ["/bin/sh", "-c", wish.script],
      env: ["PATH=/bin"],
      cwd: "/",
      noNewPrivileges: true,
      capabilities: {
        bounding: names,
        effective: names,
        permitted: names,
        inheritable: [],
        ambient: [],
      },
    },
    mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
    linux: {
      namespaces: (["mount", "pid", "ipc", "uts", "cgroup", "network", "user"] as const)
        .map((type) => ({ type })),
      uidMappings: mappings,
      gidMappings: mappings,
      ...(wish.seccomp ? { seccomp: wish.seccomp } : {}),
    },
  };
}

/** A connection to a server that is still starting; 10 s at most. */
async function connected(path: string, onExit: (id: string, exit: Exit) => void): Promise<Stage2> {
  const deadline = performance.now() + 10_000;
  while (true) {
    try {
      return new Stage2(kernel, path, { onExit });
    } catch (error) {
      const early = error instanceof KernelError &&
        ["ENOENT", "ECONNREFUSED"].includes(error.errno);
      if (!early || performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

async function refusal(machine: Machine, wish: Wish): Promise<string> {
  const error = await machine.run(wish).then(() => undefined, (error) => error);
  assert(error instanceof Error, "the plan was carried out");
  return error.message;
}

test("the default filter refuses namespaces and mounts that the kernel would make", async ({ dir }) => {
  await using machine = await Machine.start(dir);
  const script = "unshare -m true 2>&1; hostname other 2>&1; grep Seccomp: /proc/self/status";
  const kurma = { seccomp: "default" } as const;
  assertEquals(
    await machine.run({ script, kurma }),
    "unshare: unshare(0x20000): Operation not permitted\n" +
      "hostname: sethostname: Operation not permitted\nSeccomp:\t2\n0",
  );
  // Its capability brings the calls back, and they succeed: the filter was what refused.
  const capabilities = ["CAP_SYS_ADMIN"];
  assertEquals(await machine.run({ script, kurma, capabilities }), "Seccomp:\t2\n0");
  // Even a new user namespace, for which the kernel wants no capability.
  const user = "unshare -U true 2>&1";
  assertEquals(
    await machine.run({ script: user, kurma }),
    "unshare: unshare(0x10000000): Operation not permitted\n1",
  );
  assertEquals(await machine.run({ script: user }), "0");
});

test("an OCI profile is carried out, and refused where it cannot be", async ({ dir }) => {
  await using machine = await Machine.start(dir);
  const rule = (name: string) => ({
    defaultAction: "SCMP_ACT_ALLOW",
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"],
    syscalls: [{ names: ["mkdir", name], action: "SCMP_ACT_ERRNO", errnoRet: 28 }],
  });
  const script = "mkdir /tmp/a 2>&1";
  assertEquals(
    await machine.run({ script, seccomp: rule("mkdirat") }),
    "mkdir: can't create directory '/tmp/a': No space left on device\n1",
  );
  assertEquals(await machine.run({ script }), "0");
  assert.match(
    await refusal(machine, { script, seccomp: rule("mkdri") }),
    /A rule refuses a system call that does not exist: "mkdri" \(linux\.seccomp\.syscalls\[0\]\)/,
  );
});

test("Landlock leaves what a rule allows, also to root", async ({ dir }) => {
  await using machine = await Machine.start(dir);
  const script = "cat /etc/open /etc/secret 2>&1; echo >/tmp/new 2>&1; ls /tmp";
  const landlock = {
    handled: ["read_file", "read_dir", "write_file", "make_reg"],
    rules: [
      { path: "/bin", allowed: ["read_file"] },
      { path: "/etc/open", allowed: ["read_file"] },
      { path: "/tmp", allowed: ["read_dir"] },
    ],
  };
  const refused = "open\ncat: can't open '/etc/secret': Permission denied\n" +
    "/bin/sh: can't create /tmp/new: Permission denied\n0";
  const capabilities = ["CAP_DAC_OVERRIDE"];
  assertEquals(await machine.run({ script, capabilities, kurma: { landlock } }), refused);
  assertEquals(
    await machine.run({ script, capabilities, kurma: { landlock, seccomp: "default" } }),
    refused,
  );
  assertEquals(await machine.run({ script, capabilities }), "open\nsecret\nnew\n0");
  assert.match(
    await refusal(machine, {
      script,
      kurma: { landlock: { ...landlock, rules: [{ path: "/", allowed: ["execute"] }] } },
    }),
    /Landlock cannot allow "execute": it is not handled/,
  );
});
