/**
 * `make bench`: Kurma beside the kernel's floor and its peers, on the same root file
 * system with the same static program, in one interleaved run. Prints a table and
 * writes build/bench.json. Runs inside `tests/isolated`, as root.
 *
 *   deno run -A bench/main.ts [RUNS]     default 100 of each
 *
 * @module
 */

import type { Load } from "./load.ts";
import { type Bench, pause, pauseMs, prepare } from "./subjects.ts";

const resultFile = "build/bench.json";

const runs = Number(Deno.args[0] ?? 100);
if (!Number.isInteger(runs) || runs < 1) {
  console.error(`bench: "${Deno.args[0]}" is no number of runs: give a whole number from 1`);
  Deno.exit(2);
}

const dir = await Deno.makeTempDir({ prefix: "kurma-bench-" });
try {
  await using bench = await prepare(dir);
  const results = summarise(bench, await measure(bench));
  print(results);
  const load = await bench.load(4 * runs);
  printLoad(load);
  const all = { ...await report(results), load };
  await Deno.writeTextFile(resultFile, JSON.stringify(all, undefined, 2) + "\n");
  console.log(`\n${runs} runs of each, ${pauseMs} ms apart; written to ${resultFile}`);
} finally {
  await Deno.remove(dir, { recursive: true });
}

/** Microseconds of every run, by the name of what was measured. */
async function measure(bench: Bench): Promise<Map<string, number[]>> {
  const samples = new Map<string, number[]>();
  for (let run = -1; run < runs; run++) {
    for (const subject of bench.subjects) {
      const taken = await subject.sample();
      await pause();
      if (run < 0) continue; // The first of each fills the caches.
      for (const [name, us] of Object.entries(taken)) {
        samples.set(name, [...samples.get(name) ?? [], us]);
      }
    }
    if (Deno.stderr.isTerminal()) await progress(run + 1);
  }
  return samples;
}

interface Result {
  name: string;
  median_us: number;
  p99_us: number;
  /** What `ratio` compares with. */
  against: string | null;
  /** Median over the other's median. */
  ratio: number | null;
  samples_us: number[];
}

function summarise(bench: Bench, samples: Map<string, number[]>): Result[] {
  return [...samples].map(([name, taken]) => {
    const against = bench.against[name] ?? null;
    const other = against === null ? undefined : samples.get(against);
    const median = quantile(taken, 0.5);
    return {
      name,
      median_us: median,
      p99_us: quantile(taken, 0.99),
      against,
      ratio: other ? Number((median / quantile(other, 0.5)).toFixed(3)) : null,
      samples_us: taken,
    };
  });
}

/** The nearest-rank quantile. */
function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
}

function print(results: readonly Result[]): void {
  const rows = [["", "median ms", "p99 ms", "ratio", "to"]];
  for (const { name, median_us, p99_us, ratio, against } of results) {
    const ms = [median_us, p99_us].map((us) => (us / 1000).toFixed(2));
    rows.push([name, ...ms, ratio?.toFixed(2) ?? "", against ?? ""]);
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column === 0 || column === 4 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
    );
    console.log(cells.join("  ").trimEnd());
  }
}

function printLoad(load: Load): void {
  const ms = (us: number) => (us / 1000).toFixed(2);
  console.log(`
${load.concurrency} at once, until exec: median ${ms(load.median_us)} ms, p99 ${ms(load.p99_us)} ms
${load.starts_per_second} containers a second, started, ended and removed
${load.container_pss_kib} KiB PSS a container; ${load.server_pss_kib} KiB the server at rest`);
}

/** What a reader of the figures needs to compare them with others. */
async function report(results: readonly Result[]) {
  const commit = await new Deno.Command("git", { args: ["rev-parse", "HEAD"] }).output();
  return {
    commit: new TextDecoder().decode(commit.stdout).trim(),
    kernel: Deno.osRelease(),
    cpus: navigator.hardwareConcurrency,
    runs,
    pause_ms: pauseMs,
    results,
  };
}

async function progress(done: number): Promise<void> {
  const end = done === runs ? "\r\x1b[K" : "";
  await Deno.stderr.write(new TextEncoder().encode(`\rbench: ${done} of ${runs} runs${end}`));
}
