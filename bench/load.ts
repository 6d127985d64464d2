/**
 * Many containers at once: how long a start takes then, how many a second there are, and
 * what a container that runs keeps in memory.
 *
 * @module
 */

import { type Server } from "./server.ts";

/** As many as a busy daemon is asked for at once. */
const concurrency = 16;

/** Containers that run while memory is measured. */
const resident = 50;

/** What a container costs among many. */
export interface Load {
  concurrency: number;
  /** From the request until exec, among {@linkcode Load.concurrency} at once. */
  median_us: number;
  p99_us: number;
  /** Containers that were started, ran and were removed, a second. */
  starts_per_second: number;
  /** KiB of proportional set size that each adds: its init, and the server's growth. */
  container_pss_kib: number;
  /** KiB of the server itself with nothing to do. */
  server_pss_kib: number;
}

/** Starts `total` containers of `program`, and some of `sleeper` that stay. */
export async function measureLoad(
  server: Server,
  program: readonly string[],
  sleeper: readonly string[],
  total: number,
): Promise<Load> {
  const taken: number[] = [];
  let left = total;
  const before = performance.now();
  await Promise.all(Array.from({ length: concurrency }, async () => {
    while (left-- > 0) taken.push((await server.run(program, "plain")).exec_us);
  }));
  const seconds = (performance.now() - before) / 1000;
  taken.sort((a, b) => a - b);

  const atRest = await pss(server.pid);
  const kept = [];
  for (let each = 0; each < resident; each++) kept.push(await server.keep(sleeper));
  // Its init gives back what it needed only to start after a second without work.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const own = [server.pid, ...await children(server.pid)];
  const loaded = (await Promise.all(own.map(pss))).reduce((sum, kib) => sum + kib, 0);
  for (const container of kept) await server.end(container);

  return {
    concurrency,
    median_us: taken[Math.ceil(taken.length / 2) - 1],
    p99_us: taken[Math.ceil(taken.length * 0.99) - 1],
    starts_per_second: Math.round(total / seconds),
    container_pss_kib: Math.round((loaded - atRest) / resident),
    server_pss_kib: atRest,
  };
}

async function children(pid: number): Promise<number[]> {
  const text = await Deno.readTextFile(`/proc/${pid}/task/${pid}/children`);
  return text.split(" ").filter(Boolean).map(Number);
}

/** KiB; proc_pid_smaps_rollup(5). */
async function pss(pid: number): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/smaps_rollup`);
  return Number(/^Pss:\s+(\d+) kB$/m.exec(text)?.[1]);
}
