/**
 * An image as people have them: Debian's essential packages with apt, python3 and git,
 * about 250 MB of files, as OCI layouts that differ in how their layers are made. The
 * packages are what `tests/setup` fetched; no network is needed here.
 *
 * @module
 */

import { mustRun, root } from "../harness.ts";

/** One way to make the image. */
export interface Variant {
  /** `PATH:TAG`. */
  image: string;
  /** The folder of the layout. */
  layout: string;
  /** The files of the compressed layers, bottom first. */
  layers: string[];
}

/** All of them hold the same files, in one layer or in eight of about the same size. */
export type RealImage = Record<"gzip" | "zstd" | "gzipEight" | "zstdEight", Variant>;

const packages = `${root}/build/debs`;
const cache = `${root}/build/real-image`;
const tag = "real";

const tools = { gzip: ["gzip", "-n", "-6"], zstd: ["zstd", "-q", "-3"] };
type Compression = keyof typeof tools;

/** The image; made on the first call in a checkout, which takes a minute, and kept in `build/`. */
export async function realImage(): Promise<RealImage> {
  const made = `${cache}/made.json`;
  try {
    return JSON.parse(await Deno.readTextFile(made));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await mustRun(["rm", "-rf", cache]);
  const groups = await unpackedGroups(8);
  const [one, eight] = [await tars([groups]), await tars(groups.map((group) => [group]))];
  const image: RealImage = {
    gzip: await layout("gzip", one),
    zstd: await layout("zstd", one),
    gzipEight: await layout("gzip", eight),
    zstdEight: await layout("zstd", eight),
  };
  await mustRun(["rm", "-rf", `${cache}/groups`, `${cache}/tars`]);
  await Deno.writeTextFile(made, JSON.stringify(image)); // Last: what is cut short is made anew.
  return image;
}

/** The packages unpacked into `count` folders of about the same size. */
async function unpackedGroups(count: number): Promise<string[]> {
  const files = [...Deno.readDirSync(packages)].map(({ name }) => `${packages}/${name}`)
    .filter((path) => path.endsWith(".deb"))
    .map((path) => ({ path, size: Deno.statSync(path).size }))
    .sort((a, b) => b.size - a.size);
  const groups = Array.from(
    { length: count },
    (_, at) => ({ path: `${cache}/groups/${at}`, size: 0 }),
  );
  for (const { path } of groups) await Deno.mkdir(path, { recursive: true });
  for (const { path, size } of files) {
    const [smallest] = groups.toSorted((a, b) => a.size - b.size);
    smallest.size += size;
    await shell('dpkg-deb --fsys-tarfile "$1" | tar -xC "$2" --numeric-owner', path, smallest.path);
  }
  // What the packages' own scripts would do and a program asks for first.
  await shell(
    'mkdir -p "$1/etc" "$1/tmp" && chmod 1777 "$1/tmp" && cd "$1/etc" &&' +
      "echo root:x:0:0:root:/root:/bin/sh >passwd && echo root:x:0: >group",
    groups[0].path,
  );
  return groups.map(({ path }) => path);
}

/** A tar file for each layer, which holds what its folders hold together. */
async function tars(layers: readonly (readonly string[])[]): Promise<string[]> {
  await Deno.mkdir(`${cache}/tars`, { recursive: true });
  const paths: string[] = [];
  for (const [at, folders] of layers.entries()) {
    const [tree, path] = [`${cache}/tree`, `${cache}/tars/${layers.length}-${at}.tar`];
    await Deno.mkdir(tree);
    for (const folder of folders) await mustRun(["cp", "-al", `${folder}/.`, tree]);
    await mustRun(["tar", "-cf", path, "--sort=name", "--numeric-owner", "-C", tree, "."]);
    await mustRun(["rm", "-rf", tree]);
    paths.push(path);
  }
  return paths;
}

async function layout(compression: Compression, tars: readonly string[]): Promise<Variant> {
  const path = `${cache}/${compression}-${tars.length}`;
  const blobs = `${path}/blobs/sha256`;
  await Deno.mkdir(blobs, { recursive: true });
  const describe = async (file: string, mediaType: string) => {
    const digest = await sha256(file);
    const { size } = await Deno.stat(file);
    await Deno.rename(file, `${blobs}/${digest}`);
    return {
      mediaType: `application/vnd.oci.image.${mediaType}`,
      digest: `sha256:${digest}`,
      size,
    };
  };
  const document = async (value: unknown, mediaType: string) => {
    await Deno.writeTextFile(`${path}/document`, JSON.stringify(value));
    return await describe(`${path}/document`, mediaType);
  };
  const layers = [];
  const diffIds: string[] = [];
  for (const tar of tars) {
    diffIds.push(`sha256:${await sha256(tar)}`);
    await shell('out=$1; shift; "$@" >"$out"', `${path}/layer`, ...tools[compression], "-c", tar);
    layers.push(await describe(`${path}/layer`, `layer.v1.tar+${compression}`));
  }
  const config = await document({
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["/bin/sh"], Env: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] },
    rootfs: { type: "layers", diff_ids: diffIds },
  }, "config.v1+json");
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const manifest = await document(
    { schemaVersion: 2, mediaType, config, layers },
    "manifest.v1+json",
  );
  const annotations = { "org.opencontainers.image.ref.name": tag };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  await Deno.writeTextFile(`${path}/index.json`, JSON.stringify(index));
  await Deno.writeTextFile(`${path}/oci-layout`, '{"imageLayoutVersion":"1.0.0"}');
  return {
    image: `${path}:${tag}`,
    layout: path,
    layers: layers.map(({ digest }) => `${blobs}/${digest.slice("sha256:".length)}`),
  };
}

async function sha256(file: string): Promise<string> {
  return (await mustRun(["sha256sum", file])).slice(0, 64);
}

/** Runs a line of shell with `$1` and on as given. */
async function shell(script: string, ...args: string[]): Promise<void> {
  await mustRun(["sh", "-euc", script, "sh", ...args], { limitMs: 180_000 });
}
