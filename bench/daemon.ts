/**
 * `make bench BENCH=daemon`: what kurmad costs its callers. Prints how long a container takes
 * to be made and started over the API beside the kernel's floor, how long a list of 500
 * takes, a whole `kurma list` beside the smallest program of the same compiler, and the
 * memory of a daemon at rest; writes build/bench-daemon.json. Runs inside `tests/isolated`,
 * as root, where the daemon has its usual socket to itself.
 *
 *   deno run -A bench/daemon.ts [RUNS]     default 100 starts and lists
 *
 * @module
 */

import { ApiClient } from "../stage1/api/client.ts";
import { binary, mustRun, Running } from "../tests/harness.ts";
import { until } from "../tests/stage2/served.ts";
import {
  compiledHello,
  floor,
  ociLayout,
  pause,
  pauseMs,
  rootFolder,
  type Subject,
  whole,
} from "./subjects.ts";

const resultFile = "build/bench-daemon.json";
const runs = Number(Deno.args[0] ?? 100);
if (!Number.isInteger(runs) || runs < 1) {
  console.error(`bench: "${Deno.args[0]}" is no number of runs: give a whole number from 1`);
  Deno.exit(2);
}

/** What the list shows. */
const listed = 500;

/** What `kurma list` shows, as a whole process. */
const shown = 50;

/** A daemon at rest has given back what starting took. */
const restMs = 5_000;

/** The figures, and what each may be at most. */
interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly goal?: number;
}

const dir = await Deno.makeTempDir({ prefix: "kurma-bench-" });
try {
  const rootfs = await rootFolder(dir);
  const layout = await ociLayout(dir, rootfs);
  const image = "bench/guest:1";
  await mustRun([
    ...[binary, "image", "import", "--root", `${dir}/state`, "--name", image, layout],
  ]);
  const daemon = new Running([
    ...[binary, "daemon", `--state-directory=${dir}/state`],
  ], { limitMs: 3_600_000 });
  try {
    const figures = await measure(daemon, image, await floor(dir, rootfs));
    print(figures);
    await Deno.writeTextFile(resultFile, JSON.stringify({ runs, figures }, undefined, 2) + "\n");
    console.log(`\n${runs} runs, ${pauseMs} ms apart; written to ${resultFile}`);
  } finally {
    daemon.signal("SIGTERM");
    await daemon.output;
  }
} finally {
  await Deno.remove(dir, { recursive: true });
}

async function measure(daemon: Running, image: string, floor: Subject): Promise<Figure[]> {
  const api = new ApiClient();
  await until("an answer of kurmad", () => {
    return api.call("System", "Ping", {}).then(() => true, () => undefined);
  });
  await new Promise((resolve) => setTimeout(resolve, restMs));
  const atRest = memory(daemon.pid);
  const create = (name: string, start: boolean, command = ["/guest", "exit", "0"]) =>
    api.call("Containers", "Create", { ...{ name, image, start }, settings: { command } });
  const remove = (container: string) =>
    api.call("Containers", "Remove", { container, force: true });

  const floors: number[] = [];
  const runAfter: number[] = [];
  const answers: number[] = [];
  for (let run = -10; run < runs; run++) {
    const floorUs = (await floor.sample())["floor, until exec"];
    await pause();
    const before = performance.now();
    const { container } = await create("bench", true, ["/guest", "clock"]);
    const ms = performance.now() - before;
    const began = await said(container?.id ?? "");
    await remove("bench");
    await pause();
    if (run < 0) continue; // The first ones fill the caches.
    floors.push(floorUs / 1000);
    runAfter.push(began / 1e6 - performance.timeOrigin - before);
    answers.push(ms);
  }
  for (let each = 0; each < shown; each++) await create(`s${each}`, true, ["/guest", "sleep"]);
  const [hello, list] = await commandLine();
  for (let each = 0; each < shown; each++) await remove(`s${each}`);
  for (let each = 0; each < listed; each++) await create(`c${each}`, false);
  const lists: number[] = [];
  for (let run = 0; run < runs; run++) {
    const before = performance.now();
    const { containers = [] } = await api.call("Containers", "List", {});
    lists.push(performance.now() - before);
    if (containers.length !== listed) throw new Error(`The list has ${containers.length}`);
    await pause();
  }
  for (let each = 0; each < listed; each++) await remove(`c${each}`);
  await new Promise((resolve) => setTimeout(resolve, restMs));
  const [bottom, begun, answer] = [floors, runAfter, answers].map((all) => quantile(all, 0.5));
  return [
    { name: "floor, until exec, p50", value: bottom, unit: "ms" },
    { name: "create and start, until it runs, p50", value: begun, unit: "ms" },
    { name: "create and start, answered, p50", value: answer, unit: "ms" },
    { name: "create and start, answered, p99", value: quantile(answers, 0.99), unit: "ms" },
    { name: "until it runs over the floor", value: begun / bottom, unit: "", goal: 2 },
    { name: "answered over the floor", value: answer / bottom, unit: "", goal: 3 },
    { name: "compiled console.log, p50", value: hello, unit: "ms" },
    { name: `kurma list, ${shown} containers, p50`, value: list, unit: "ms" },
    { name: "kurma list over console.log", value: list / hello, unit: "", goal: 1.3 },
    { name: `list of ${listed}, p50`, value: quantile(lists, 0.5), unit: "ms", goal: 20 },
    { name: `list of ${listed}, p99`, value: quantile(lists, 0.99), unit: "ms" },
    { name: "memory at rest", value: atRest, unit: "MB", goal: 70 },
    { name: "memory after all this", value: memory(daemon.pid), unit: "MB" },
  ];
}

/** When the command of a container began, by its own words in its log: nanoseconds since 1970. */
async function said(id: string): Promise<number> {
  return await until("the command's time", async () => {
    const log = await Deno.readTextFile(`${dir}/state/containers/${id}/log/log`);
    const [time] = /\d+(?=\n)/.exec(log) ?? [];
    return time === undefined ? undefined : Number(time);
  });
}

/** Medians of the smallest compiled program and of `kurma list`, run in turns, in ms. */
async function commandLine(): Promise<[hello: number, list: number]> {
  // Both were just written: the page cache holds such a file in larger pieces than one that it
  // has read, and a start is faster by 2 %.
  const copy = `${dir}/kurma`;
  await Deno.copyFile(binary, copy);
  const subjects = [
    await whole("hello", [await compiledHello(dir)]),
    await whole("list", [copy, "list"]),
  ];
  const samples = subjects.map((): number[] => []);
  for (let run = -2; run < runs; run++) {
    for (const [index, subject] of subjects.entries()) {
      const [us] = Object.values(await subject.sample());
      if (run >= 0) samples[index].push(us / 1000);
      await pause();
    }
  }
  return [quantile(samples[0], 0.5), quantile(samples[1], 0.5)];
}

/** The nearest-rank quantile. */
function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)];
}

/** The resident set, in MB; proc_pid_status(5). */
function memory(pid: number): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024 / 1e6;
}

function print(figures: readonly Figure[]): void {
  for (const { name, value, unit, goal } of figures) {
    const aim = goal === undefined ? "" : `  goal ${goal}`;
    console.log(
      `${name.padEnd(38)}${value.toFixed(2).padStart(8)} ${unit.padEnd(3)}${aim}`.trimEnd(),
    );
  }
}
