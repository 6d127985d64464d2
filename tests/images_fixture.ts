/**
 * Images made by other people's tools from the same busybox: an ACI by actool, an OCI
 * layout by umoci, a docker archive by skopeo; and the same images broken on purpose.
 * Made once in a run of `make test`, in a folder that the leak check knows.
 *
 * @module
 */

import { mustRun, root } from "./harness.ts";
import { tar } from "./tar_fixture.ts";

/** Where the images are. */
export interface Images {
  /** The folder they are in. */
  folder: string;
  /** A gzipped ACI, by actool. */
  aci: string;
  /** A layout folder with two layers, by umoci, as `PATH:TAG`. */
  oci: string;
  /** The same layout as one tar file, as `PATH:TAG`. */
  ociTar: string;
  /** A docker archive, by skopeo. */
  docker: string;
  /** An OCI layout that holds the static guest alone, as /guest, as `PATH:TAG`. */
  guest: string;
}

const folder = "/tmp/kurma-fixtures";

/** What every busybox image holds; `PASSWD` is what tests of `--user` look names up in. */
const rootfsScript = `
  mkdir -p bin etc tmp root home/app dev proc sys
  cp "$BUSYBOX" bin/busybox
  for name in $(bin/busybox --list); do [ -e bin/$name ] || ln -s busybox bin/$name; done
  printf 'root:x:0:0:root:/root:/bin/sh\\napp:x:1000:1000:app:/home/app:/bin/sh\\n' >etc/passwd
  printf 'root:x:0:\\napp:x:1000:\\nlog:x:2000:app\\n' >etc/group
  chown 1000:1000 home/app
  echo from-the-image >etc/marker
  echo removed-by-the-second-layer >etc/removed
  cp "$GUEST" bin/guest
`;

const aciManifest = {
  acKind: "ImageManifest",
  acVersion: "0.8.11",
  name: "example.com/busybox",
  labels: [
    { name: "version", value: "1" },
    { name: "os", value: "linux" },
    { name: "arch", value: "amd64" },
  ],
  app: {
    exec: ["/bin/sh", "-c", "echo the image decides"],
    user: "0",
    group: "0",
    environment: [{ name: "FROM_IMAGE", value: "yes" }],
    workingDirectory: "/root",
  },
};

/** The images; made on the first call of a run. */
export async function images(): Promise<Images> {
  const made: Images = {
    folder,
    aci: `${folder}/busybox.aci`,
    oci: `${folder}/oci:busybox`,
    ociTar: `${folder}/oci.tar:busybox`,
    docker: `${folder}/busybox.docker.tar`,
    guest: `${folder}/oci:guest`,
  };
  try {
    await Deno.mkdir(folder);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return made;
    throw error;
  }
  const rootfs = `${folder}/aci/rootfs`;
  await Deno.mkdir(rootfs, { recursive: true });
  const tools = { BUSYBOX: "/bin/busybox", GUEST: `${root}/build/tools/guest` };
  await mustRun(["sh", "-euc", rootfsScript], { cwd: rootfs, env: tools });
  await makeOci(rootfs, made);
  await mustRun(["skopeo", "copy", `oci:${made.oci}`, `docker-archive:${made.docker}:busybox:1`]);
  await makeAci(rootfs, made);
  return made;
}

async function makeAci(rootfs: string, { aci }: Images): Promise<void> {
  const layout = rootfs.slice(0, rootfs.lastIndexOf("/"));
  await Deno.remove(`${rootfs}/etc/removed`);
  await Deno.writeTextFile(`${layout}/manifest`, JSON.stringify(aciManifest));
  await mustRun(["actool", "build", layout, aci]);
}

async function makeOci(rootfs: string, { oci, ociTar, guest }: Images): Promise<void> {
  const layout = oci.slice(0, oci.lastIndexOf(":"));
  const umoci = (...args: string[]) => mustRun(["umoci", ...args]);
  await umoci("init", "--layout", layout);
  await umoci("new", "--image", oci);
  await umoci("insert", "--image", oci, rootfs, "/");
  await umoci("insert", "--image", oci, "--whiteout", "/etc/removed");
  await umoci(
    ...["config", "--image", oci, "--config.env", "FROM_IMAGE=yes"],
    ...["--config.workingdir", "/root", "--config.cmd", "/bin/sh"],
    ...["--config.cmd", "-c", "--config.cmd", "echo the image decides"],
  );
  await umoci("new", "--image", guest);
  await umoci("insert", "--image", guest, `${root}/build/tools/guest`, "/guest");
  await umoci("gc", "--layout", layout);
  await mustRun(["tar", "-C", layout, "-cf", ociTar.slice(0, ociTar.lastIndexOf(":")), "."]);
}

/** Copies the OCI layout to `target` and changes one byte of its largest layer. */
export async function wrongDigest(
  { oci }: Images,
  target: string,
): Promise<{ image: string; digest: string }> {
  await mustRun(["cp", "-a", oci.slice(0, oci.lastIndexOf(":")), target]);
  const [blob] = (await mustRun(["ls", "-S", `${target}/blobs/sha256`])).split("\n");
  const path = `${target}/blobs/sha256/${blob}`;
  const bytes = await Deno.readFile(path);
  bytes[bytes.length >> 1] ^= 1;
  await Deno.writeFile(path, bytes);
  return { image: `${target}:busybox`, digest: blob };
}

/** Writes the first half of `source` to `target`. */
export async function truncated(source: string, target: string): Promise<string> {
  const bytes = await Deno.readFile(source);
  await Deno.writeFile(target, bytes.subarray(0, bytes.length >> 1));
  return target;
}

/** Ways in which an archive tries to write outside, each aiming at the file `canary`. */
export const escapes: Record<string, (canary: string) => Parameters<typeof tar>[0]> = {
  "a name with ..": (canary) => [
    { name: `rootfs/${"../".repeat(12)}${canary.slice(1)}`, content: "escaped" },
  ],
  "an absolute name": (canary) => [{ name: canary, content: "escaped" }],
  "a symlink that it then writes through": (canary) => [
    { name: "rootfs/out", link: canary.slice(0, canary.lastIndexOf("/")), type: "symlink" },
    { name: `rootfs/out/${canary.slice(canary.lastIndexOf("/") + 1)}`, content: "escaped" },
  ],
  "a hard link that it then writes through": (canary) => [
    { name: "rootfs/out", link: `${"../".repeat(12)}${canary.slice(1)}`, type: "link" },
    { name: "rootfs/out", content: "escaped" },
  ],
};

/** Writes an ACI with `entries` behind an honest manifest. */
export async function hostileAci(
  path: string,
  entries: Parameters<typeof tar>[0],
): Promise<string> {
  const honest = [
    { name: "manifest", content: JSON.stringify(aciManifest) },
    { name: "rootfs/", content: "", type: "directory" as const },
  ];
  await Deno.writeFile(path, tar([...honest, ...entries]));
  return path;
}
