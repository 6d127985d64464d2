/**
 * `make bench BENCH=images`: how long an image takes to come in, beside the tools that
 * unpack layers, and how much memory that takes. Prints two tables and writes
 * build/bench-images.json. Runs inside `tests/isolated`, as root.
 *
 * The image is Debian's, above 200 MB, in one layer and in eight, as gzip and zstd. All
 * tools read it from a warm page cache and write to the same new ext4, on a loop device; each
 * syncs what it syncs by itself (tar nothing, Kurma everything), and a sync that is not timed
 * follows each. The runs of all tools take turns.
 *
 *   deno run -A bench/images.ts [RUNS]     default 5 of each
 *
 * @module
 */

import { realImage, type Variant } from "../tests/images/real_image.ts";
import { mustRun, root } from "../tests/harness.ts";
import { Containerd, importer, mostMemory, Podman, syntheticImage } from "./importers.ts";

const resultFile = "build/bench-images.json";
const runs = Number(Deno.args[0] ?? 5);
if (!Number.isInteger(runs) || runs < 1) {
  console.error(`bench: "${Deno.args[0]}" is no number of runs: give a whole number from 1`);
  Deno.exit(2);
}

/** What is compared with, and what must not be slower on one layer. */
const reference = "tar + gzip -d";

/** One way to bring one variant in. */
interface Row {
  readonly name: string;
  readonly variant: string;
  readonly samples: number[];
  run(): Promise<void>;
  /** Takes away what `run` made. Not timed. */
  clear(): Promise<void>;
}

const dir = await Deno.makeTempDir({ prefix: "kurma-bench-" });
const disk = `${dir}/disk`;
try {
  await Deno.mkdir(disk);
  await mustRun(["truncate", "--size", "12G", `${dir}/disk.img`]);
  await mustRun(["mkfs.ext4", "-q", "-F", `${dir}/disk.img`]);
  await mustRun(["mount", "-o", "loop", `${dir}/disk.img`, disk]);
  try {
    const rows = await measure();
    const memory = await measureMemory();
    print(rows, memory);
    await Deno.writeTextFile(
      resultFile,
      JSON.stringify(await report(rows, memory), null, 2) + "\n",
    );
    console.log(`\n${runs} runs of each; written to ${resultFile}`);
  } finally {
    await mustRun(["umount", disk]);
  }
} finally {
  await Deno.remove(dir, { recursive: true });
}

async function measure(): Promise<Row[]> {
  const images = await realImage();
  await using containerd = await Containerd.start(disk);
  const podman = await Podman.prepare(disk);
  const rows: Row[] = [];
  for (const [key, variant] of Object.entries(images)) {
    const [packer, layers] = [key.startsWith("gzip") ? "gzip" : "zstd", variant.layers.length];
    const label = `${packer}, ${layers} layer${layers === 1 ? "" : "s"}`;
    const archive = `${disk}/${key}.tar`;
    await mustRun(["tar", "-C", variant.layout, "-cf", archive, "."], { limitMs: 120_000 });
    const add = (name: string, run: () => Promise<void>, clear: () => Promise<void>) =>
      rows.push({ name, variant: label, samples: [], run, clear });
    const out = `${disk}/out`;
    const clear = () => removed(out);
    add("kurma image import", () => importer(out, archive), clear);
    add(`tar + ${packer} -d`, () => untar(packer, variant, out), clear);
    if (packer === "gzip") { // umoci 0.4 knows no zstd.
      const unpack = ["umoci", "unpack", "--image", variant.image, out];
      add("umoci unpack", async () => void await mustRun(unpack, { limitMs: 120_000 }), clear);
    }
    add("podman load", () => podman.load(archive), () => podman.clear());
    add("ctr images import", () => containerd.load(archive), () => containerd.clear());
  }
  for (let run = -1; run < runs; run++) {
    for (const row of rows) {
      const started = performance.now();
      await row.run();
      const ms = performance.now() - started;
      await row.clear();
      await mustRun(["sync", "-f", disk], { limitMs: 120_000 });
      if (run >= 0) row.samples.push(ms); // The first of each fills the caches.
    }
    console.error(`bench: ${run + 1} of ${runs} runs`);
  }
  for (const key of Object.keys(images)) await Deno.remove(`${disk}/${key}.tar`);
  return rows;
}

/** Each layer over the one below, as a user would by hand. Whiteouts stay files. */
async function untar(packer: string, { layers }: Variant, out: string): Promise<void> {
  await Deno.mkdir(out);
  const script = 'out=$1; shift; for layer; do "$PACKER" -dc "$layer" | tar -x -C "$out"; done';
  await mustRun(["sh", "-euc", script, "sh", out, ...layers], {
    env: { PACKER: packer },
    limitMs: 120_000,
  });
}

async function removed(path: string): Promise<void> {
  await mustRun(["rm", "-rf", path], { limitMs: 120_000 });
}

interface Memory {
  readonly image: string;
  readonly mib: number;
}

/** The most that all processes of an import take together, by image. */
async function measureMemory(): Promise<Memory[]> {
  const taken: Memory[] = [];
  const take = async (image: string, path: string) => {
    taken.push({ image, mib: Math.round(await mostMemory(`${disk}/out`, path) / 1024 / 1024) });
    await removed(`${disk}/out`);
  };
  for (const [key, { image }] of Object.entries(await realImage())) await take(key, image);
  for (const packer of ["gzip", "zstd"] as const) {
    const layout = `${disk}/synthetic`;
    await syntheticImage(layout, packer, 2048);
    await take(`2 GiB of noise, ${packer}`, layout);
    await removed(layout);
  }
  return taken;
}

function print(rows: readonly Row[], memory: readonly Memory[]): void {
  const table = [["", "", "median s", "min s", "ratio"]];
  for (const { variant, name, samples } of rows) {
    table.push([variant, name, seconds(median(samples)), seconds(Math.min(...samples)), ""]);
    const ratio = ratioOf(rows, variant, samples);
    table.at(-1)![4] = ratio.toFixed(2);
  }
  printTable(table);
  console.log(`ratio: to "${reference}" of as many layers\n`);
  printTable([
    ["kurma image import", "most MiB, PSS of all its processes"],
    ...memory.map(({ image, mib }) => [image, String(mib)]),
  ]);
}

/** Also zstd is compared with gzip: that is what a user would have without us. */
function ratioOf(rows: readonly Row[], variant: string, samples: readonly number[]): number {
  const same = variant.replace("zstd", "gzip");
  const other = rows.find((row) => row.variant === same && row.name === reference);
  return median(samples) / median(other?.samples ?? []);
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(sorted.length / 2) - 1)];
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}

function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    const cells = row.map((cell, at) =>
      /^[0-9.]+$/.test(cell) ? cell.padStart(widths[at]) : cell.padEnd(widths[at])
    );
    console.log(cells.join("  ").trimEnd());
  }
}

async function report(rows: readonly Row[], memory: readonly Memory[]) {
  return {
    commit: (await mustRun(["git", "-C", root, "rev-parse", "HEAD"])).trim(),
    kernel: Deno.osRelease(),
    cpus: navigator.hardwareConcurrency,
    runs,
    results: rows.map(({ name, variant, samples }) => ({
      name,
      variant,
      median_ms: median(samples),
      ratio: Number(ratioOf(rows, variant, samples).toFixed(3)),
      samples_ms: samples,
    })),
    memory,
  };
}
