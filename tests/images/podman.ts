/**
 * podman as a maker of images and as a checker of what is exported, with everything it
 * keeps below one folder. Only `load`, `save` and `images` are asked of it: it starts no
 * container here.
 *
 * @module
 */

import { mustRun } from "../harness.ts";

/** Runs podman with its state below `dir`; returns what it printed. */
export type Podman = (...args: string[]) => Promise<string>;

/** Gives `body` a podman of its own below `dir`, and takes away what it leaves. */
export async function withPodman(dir: string, body: (podman: Podman) => Promise<void>) {
  const home = `${dir}/podman`;
  for (const folder of ["tmp", "root", "run", "config"]) {
    await Deno.mkdir(`${home}/${folder}`, { recursive: true });
  }
  const config = `${home}/config/containers.conf`;
  // Debian's podman raises limits that a container host may not be allowed to raise.
  await Deno.writeTextFile(
    config,
    `[containers]\ndefault_ulimits = []\n[engine]\nlock_type = "file"\n` +
      `tmp_dir = "${home}/run/libpod"\n`,
  );
  const own = [
    ...["--root", `${home}/root`, "--runroot", `${home}/run`, "--storage-driver", "vfs"],
    ...["--cgroup-manager", "cgroupfs", "--events-backend", "none"],
  ];
  const env = { CONTAINERS_CONF: config, TMPDIR: `${home}/tmp`, HOME: home };
  await body((...args) => mustRun(["podman", ...own, ...args], { env, limitMs: 60_000 }));
  await Deno.remove("/var/lib/containers", { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }); // Where it remembers which repositories have which blobs, wherever its root is.
}
