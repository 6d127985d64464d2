/**
 * What `make bench` measures. A new row is one more {@linkcode Subject}; a measurement
 * that is no process of its own (a request to a server, memory) just returns its figure.
 *
 * @module
 */

import { type Load, measureLoad } from "./load.ts";
import { Server } from "./server.ts";

/** Something that is measured once a round. */
export interface Subject {
  /** One measurement, as microseconds by the row's name. */
  sample(): Promise<Record<string, number>>;
}

/** Everything to measure, and what each row is compared with. */
export interface Bench extends AsyncDisposable {
  subjects: readonly Subject[];
  /** Many containers at once, `total` in all. */
  load(total: number): Promise<Load>;
  against: Readonly<Record<string, string>>;
}

/** Back-to-back runs hide the kernel's grace periods (RCU), which a lone start pays for. */
export const pauseMs = 50;

export function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pauseMs));
}

const root = new URL("..", import.meta.url).pathname.replace(/\/$/, "");
const kurma = `${root}/dist/kurma`;
const tools = `${root}/build/tools`;

/** What the program in the container does: end at once. */
const program = ["/guest", "exit", "0"];

/** One that stays. */
const sleeper = ["/guest", "sleep"];

/**
 * Makes below `dir` what the subjects need: one root file system, and from it a bundle,
 * an image and the floor's folders.
 *
 * @throws if a tool of tests/packages is missing or fails.
 */
export async function prepare(dir: string): Promise<Bench> {
  const rootfs = await rootFolder(dir);
  const image = await ociLayout(dir, rootfs);
  const bundle = await runcBundle(dir, rootfs);
  const hello = await compiledHello(dir);
  const server = await Server.start(tools, kurma, dir, rootfs);

  return {
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    load: (total) => measureLoad(server, program, sleeper, total),
    subjects: [
      await floor(dir, rootfs),
      served(server),
      executed(server),
      await whole("kurma run", [kurma, "run", image, ...program]),
      await whole("runc run", ["runc", "run", "--bundle", bundle, "kurma-bench"]),
      await whole("bwrap", [
        "bwrap",
        ...["pid", "net", "ipc", "uts", "cgroup"].map((name) => `--unshare-${name}`),
        ...["--bind", rootfs, "/", "--proc", "/proc", "--dev", "/dev", ...program],
      ]),
      await whole("compiled console.log", [hello]),
      await whole("kurma --version", [kurma, "--version"]),
    ],
    against: {
      "stage2 server, until exec": "floor, until exec",
      "stage2 server, made ahead, until exec": "floor, until exec",
      "stage2 server": "floor, inside",
      "stage2 server, nothing ahead, until exec": "floor, until exec",
      "exec, until exec": "exec floor, until exec",
      "exec": "exec floor",
      "kurma run": "floor",
      "runc run": "floor",
      "bwrap": "floor",
      "kurma --version": "compiled console.log",
    },
  };
}

/** A root file system below `dir` that has the program, and folders to mount on. */
export async function rootFolder(dir: string): Promise<string> {
  const rootfs = `${dir}/rootfs`;
  for (const folder of ["proc", "dev", "sys", "tmp", "etc"]) {
    await Deno.mkdir(`${rootfs}/${folder}`, { recursive: true });
  }
  await Deno.copyFile(`${tools}/guest`, `${rootfs}/guest`);
  return rootfs;
}

/** A whole process, timed from outside. */
export async function whole(name: string, command: readonly string[]): Promise<Subject> {
  const resolved = [await findProgram(command[0]), ...command.slice(1)];
  return {
    async sample() {
      const { us } = await timed(resolved);
      return { [name]: us };
    },
  };
}

/** The floor: as a whole process, and from inside until its program was exec'ed. */
export async function floor(dir: string, rootfs: string): Promise<Subject> {
  const scratch = `${dir}/floor`;
  const folders = ["upper", "work", "merged"].map((name) => `${scratch}/${name}`);
  await Deno.mkdir(scratch);
  return {
    async sample() {
      for (const folder of folders) await Deno.mkdir(folder);
      const { us, said } = await timed([`${tools}/floor`, rootfs, scratch, ...program]);
      for (const folder of folders) await Deno.remove(folder, { recursive: true });
      const { exec_us, exit_us } = JSON.parse(said);
      return { "floor": us, "floor, inside": exit_us, "floor, until exec": exec_us };
    },
  };
}

/** A container that the daemon's stage2 server makes, without the daemon. */
function served(server: Server): Subject {
  return {
    async sample() {
      const made = await server.run(program, "made");
      await pause();
      const prepared = await server.run(program, "prepared");
      await pause();
      const plain = await server.run(program, "plain");
      await pause();
      const kept = await server.keep(sleeper);
      await pause();
      return {
        "stage2 server": prepared.exit_us,
        "stage2 server, until exec": prepared.exec_us,
        "stage2 server, made ahead, until exec": made.exec_us,
        "stage2 server, nothing ahead, until exec": plain.exec_us,
        "stage2 server, kill and remove": await server.end(kept),
      };
    },
  };
}

/** A further process in a container that runs, and the floor of that. */
function executed(server: Server): Subject {
  const enter = `${tools}/enter`;
  return {
    async sample() {
      const kept = await server.keep(sleeper);
      await pause();
      const { exec_us, exit_us } = await server.exec(kept, program);
      await pause();
      const floor = JSON.parse(await must(enter, [`${kept.pid}`, ...program]));
      await server.end(kept);
      return {
        "exec floor": floor.exit_us,
        "exec floor, until exec": floor.exec_us,
        "exec": exit_us,
        "exec, until exec": exec_us,
      };
    },
  };
}

/** Runs a command under the stopwatch; it has to exit 0. */
async function timed(command: readonly string[]): Promise<{ us: number; said: string }> {
  const output = await capture(`${tools}/stopwatch`, command);
  const lines = output.stdout.trimEnd().split("\n");
  const { us, status } = JSON.parse(lines.pop() ?? "");
  if (status !== 0) throw new Error(`${command.join(" ")} exited ${status}: ${output.stderr}`);
  return { us, said: lines.join("\n") };
}

/** An OCI layout of `rootfs`, made by umoci, as `PATH:TAG`. */
export async function ociLayout(dir: string, rootfs: string): Promise<string> {
  const layout = `${dir}/oci`;
  const image = `${layout}:guest`;
  await must("umoci", ["init", "--layout", layout]);
  await must("umoci", ["new", "--image", image]);
  await must("umoci", ["insert", "--image", image, rootfs, "/"]);
  return image;
}

/** A bundle for runc: its own default configuration, with our program and no terminal. */
async function runcBundle(dir: string, rootfs: string): Promise<string> {
  const bundle = `${dir}/bundle`;
  await Deno.mkdir(bundle);
  await must("runc", ["spec", "--bundle", bundle]);
  const config = JSON.parse(await Deno.readTextFile(`${bundle}/config.json`));
  config.process.terminal = false;
  config.process.args = program;
  config.root = { path: rootfs, readonly: false };
  await Deno.writeTextFile(`${bundle}/config.json`, JSON.stringify(config));
  return bundle;
}

/** The smallest program of the same compiler, below `dir`: what no command line of it can beat. */
export async function compiledHello(dir: string): Promise<string> {
  const folder = `${dir}/hello`;
  await Deno.mkdir(folder);
  await Deno.writeTextFile(`${folder}/main.js`, `console.log("hello");\n`);
  await Deno.writeTextFile(`${folder}/deno.json`, "{}");
  await must(Deno.execPath(), [
    ...["compile", "--quiet", "--no-check", "--no-code-cache", "--allow-all"],
    ...["--output", `${folder}/hello`, `${folder}/main.js`],
  ]);
  return `${folder}/hello`;
}

async function findProgram(name: string): Promise<string> {
  return (await must("sh", ["-c", `command -v "$0"`, name])).trim();
}

async function must(command: string, args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await capture(command, args);
  if (!success) throw new Error(`${command} ${args.join(" ")} failed: ${stderr}`);
  return stdout;
}

async function capture(command: string, args: readonly string[]) {
  const decoder = new TextDecoder();
  const { success, stdout, stderr } = await new Deno.Command(command, {
    args: [...args],
    stdin: "null",
    env: { DENORT_BIN: `${root}/.toolchain/denort` },
  }).output();
  return { success, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
