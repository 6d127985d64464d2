/**
 * What `bench/images.ts` measures: those who bring an image in, each with all that it keeps
 * on the disk to measure, and an image as large as one likes.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { tarEnd, tarHeader } from "../stage1/images/tar.ts";
import { binary, mustRun } from "../tests/harness.ts";

const limitMs = 300_000;

/** Imports `image` into a new store at `root`. */
export async function importer(root: string, image: string): Promise<void> {
  await mustRun(importCommand(root, image), { limitMs });
}

function importCommand(root: string, image: string): string[] {
  return [binary, "--root", root, "image", "import", image];
}

/**
 * The most bytes of memory that the processes of an import take together, looked at every
 * 10 ms: the sum of their PSS, so that what they share counts once.
 */
export async function mostMemory(root: string, image: string): Promise<number> {
  const [program, ...args] = importCommand(root, image);
  const child = new Deno.Command(program, { args, stdout: "null", stderr: "piped" }).spawn();
  const output = child.output();
  let ended = false;
  output.finally(() => ended = true);
  let most = 0;
  while (!ended) {
    most = Math.max(most, memoryOf(child.pid));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const { success, stderr } = await output;
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return most;
}

/** Of a process and those below it; 0 for one that is gone. */
function memoryOf(pid: number): number {
  try {
    const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
    const own = Number(/^Pss: +(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * 1024;
    const children = [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) =>
      Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).split(" ").filter(Boolean)
    );
    return children.reduce((sum, child) => sum + memoryOf(Number(child)), own);
  } catch (error) {
    // ESRCH, for which Deno has neither a class nor a code.
    const gone = error instanceof Error && error.message.includes("(os error 3)");
    if (error instanceof Deno.errors.NotFound || gone) return 0;
    throw error;
  }
}

/** podman with overlayfs, its default for root. */
export class Podman {
  private constructor(
    private readonly own: string[],
    private readonly env: Record<string, string>,
  ) {}

  static async prepare(dir: string): Promise<Podman> {
    const home = `${dir}/podman`;
    for (const folder of ["tmp", "root", "run"]) {
      await Deno.mkdir(`${home}/${folder}`, { recursive: true });
    }
    const config = `${home}/containers.conf`;
    // Debian's podman raises limits that a container host may not be allowed to raise.
    await Deno.writeTextFile(
      config,
      `[containers]\ndefault_ulimits = []\n[engine]\nlock_type = "file"\n` +
        `tmp_dir = "${home}/run/libpod"\n`,
    );
    const own = [
      ...["--root", `${home}/root`, "--runroot", `${home}/run`, "--storage-driver", "overlay"],
      ...["--cgroup-manager", "cgroupfs", "--events-backend", "none"],
    ];
    return new Podman(own, { CONTAINERS_CONF: config, TMPDIR: `${home}/tmp`, HOME: home });
  }

  async load(archive: string): Promise<void> {
    await this.#run("load", "--quiet", "--input", archive);
  }

  async clear(): Promise<void> {
    await this.#run("image", "rm", "--all", "--force");
  }

  async #run(...args: string[]): Promise<void> {
    await mustRun(["podman", ...this.own, ...args], { env: this.env, limitMs });
  }
}

/** A containerd of our own, with overlayfs, its default. */
export class Containerd implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #socket: string;

  private constructor(child: Deno.ChildProcess, socket: string) {
    this.#child = child;
    this.#socket = socket;
  }

  static async start(dir: string): Promise<Containerd> {
    const home = `${dir}/containerd`;
    await Deno.mkdir(home);
    const [config, socket] = [`${home}/config.toml`, `${home}/socket`];
    await Deno.writeTextFile(
      config,
      `version = 2\nroot = "${home}/root"\nstate = "${home}/state"\n` +
        `disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "${socket}"\n`,
    );
    const child = new Deno.Command("containerd", {
      args: ["--config", config],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const containerd = new Containerd(child, socket);
    for (let tries = 0; tries < 100; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (await containerd.#run("version").then(() => true, () => false)) return containerd;
    }
    await containerd[Symbol.asyncDispose]();
    throw new Error("containerd does not answer after 10 s");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
  }

  async load(archive: string): Promise<void> {
    await this.#run("images", "import", "--base-name", "kurma.test/bench", archive);
  }

  async clear(): Promise<void> {
    const names = (await this.#run("images", "list", "--quiet")).split("\n").filter(Boolean);
    await this.#run("images", "remove", "--sync", ...names);
  }

  async #run(...args: string[]): Promise<string> {
    return await mustRun(["ctr", "--address", this.#socket, ...args], { limitMs });
  }
}

const mebibyte = 1024 * 1024;
const packers = { gzip: gzipSync, zstd: zstdCompressSync };

/** An OCI layout whose one layer holds `mebibytes` files of 1 MiB that do not compress. */
export async function syntheticImage(
  layout: string,
  packer: keyof typeof packers,
  mebibytes: number,
): Promise<void> {
  const blobs = `${layout}/blobs/sha256`;
  await Deno.mkdir(blobs, { recursive: true });
  const pack = (bytes: Uint8Array) => new Uint8Array(packers[packer](bytes));
  const noise = new Uint8Array(mebibyte);
  for (let at = 0; at < mebibyte; at += 65_536) {
    crypto.getRandomValues(noise.subarray(at, at + 65_536));
  }
  const packed = pack(noise);
  const [plain, whole] = [createHash("sha256"), createHash("sha256")];
  const path = `${layout}/layer`;
  let size = 0;
  {
    using file = await Deno.open(path, { write: true, createNew: true });
    const write = async (bytes: Uint8Array, as = pack(bytes)) => {
      plain.update(bytes);
      whole.update(as);
      size += as.length;
      for (let done = 0; done < as.length;) done += await file.write(as.subarray(done));
    };
    for (let count = 0; count < mebibytes; count++) {
      await write(tarHeader(`file-${count}`, mebibyte).header);
      await write(noise, packed);
    }
    await write(tarEnd);
  }
  const layer = whole.digest("hex");
  await Deno.rename(path, `${blobs}/${layer}`);
  const type = (name: string) => `application/vnd.oci.image.${name}`;
  const put = async (value: unknown, mediaType: string) => {
    const bytes = new TextEncoder().encode(JSON.stringify(value));
    const digest = createHash("sha256").update(bytes).digest("hex");
    await Deno.writeFile(`${blobs}/${digest}`, bytes);
    return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
  };
  const config = await put({
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [`sha256:${plain.digest("hex")}`] },
  }, type("config.v1+json"));
  const mediaType = type("manifest.v1+json");
  const layers = [{ mediaType: type(`layer.v1.tar+${packer}`), digest: `sha256:${layer}`, size }];
  const manifest = await put({ schemaVersion: 2, mediaType, config, layers }, mediaType);
  await Deno.writeTextFile(
    `${layout}/index.json`,
    JSON.stringify({ schemaVersion: 2, manifests: [manifest] }),
  );
  await Deno.writeTextFile(`${layout}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
}
