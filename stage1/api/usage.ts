/**
 * What containers do and use: Top and Stats.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { isErrno } from "../../ffi/kernel.ts";
import type { Pressure, Stats } from "../../stage2/stats.ts";
import { runName } from "../containers/host.ts";
import type { Manager } from "../containers/manager.ts";
import { processesOf } from "../containers/processes.ts";
import { firstId } from "../containers/ranges.ts";
import type { Container } from "../containers/record.ts";
import type { StatsRequest } from "./kurma.gen.ts";
import { duration, timestamp } from "./messages.ts";
import { milliseconds } from "./settings.ts";

/** The processes of a container. */
export function topOf(_manager: Manager, container: Container) {
  const { status, range, name } = container;
  if (status.phase !== "running" || status.pid === undefined) {
    throw new KurmaError("state", `Cannot list the processes of "${name}": it does not run`, {
      fix: "Start it first",
    });
  }
  const processes = processesOf(status.pid, range === undefined ? 0 : firstId(range));
  return {
    processes: processes.map((process) => ({
      pid: process.pid,
      parentPid: process.parentPid,
      innerPid: process.innerPid,
      uid: process.uid,
      state: process.state,
      cpuTime: duration(process.cpuMs),
      residentBytes: BigInt(process.residentBytes),
      startTime: timestamp(process.startedAt),
      command: [...process.command],
    })),
  };
}

/** Shorter ones would measure themselves. */
const minIntervalMs = 100;

/** What containers use, once or again and again. */
export async function* statsOf(manager: Manager, request: StatsRequest, signal: AbortSignal) {
  const intervalMs = milliseconds(request.interval);
  if (intervalMs !== undefined && intervalMs < minIntervalMs) {
    throw new KurmaError("invalid", `Cannot measure each ${intervalMs} ms`, {
      fix: `Take ${minIntervalMs} ms or more`,
    });
  }
  const named = request.containers.map((reference) => manager.get(reference));
  do {
    const all = named.length > 0 ? named : manager.list();
    const running = all.filter(({ status }) => status.phase === "running");
    const stats = await Promise.all(running.map((container) => measure(manager, container)));
    yield { stats: stats.filter((one) => one !== undefined) };
    if (intervalMs !== undefined) await pause(intervalMs, signal);
  } while (intervalMs !== undefined && !signal.aborted);
}

async function measure(manager: Manager, container: Container) {
  const stage2 = await manager.host.supervisor.server();
  try {
    return message(container, await stage2.stats(runName(container)));
  } catch (error) {
    // It has ended meanwhile.
    if (isErrno(error, "ESRCH", "ENOENT")) return undefined;
    throw error;
  }
}

function message({ id, name }: Container, { cpu, memory, io, pids, pressure }: Stats) {
  const ns = (value = 0) => duration(value / 1e6);
  const big = (value = 0) => BigInt(Math.round(value));
  return {
    id,
    name,
    time: timestamp(Date.now()),
    cpuTime: ns(cpu.usageNs),
    cpuSystemTime: ns(cpu.systemNs),
    cpuThrottledTime: ns(cpu.throttledNs),
    memoryBytes: big(memory.used),
    memoryLimitBytes: big(memory.limit),
    memoryCacheBytes: big(memory.inactiveFile),
    memoryPeakBytes: big(memory.peak),
    swapBytes: big(memory.swap),
    outOfMemoryKills: big(memory.oomKills),
    readBytes: big(io.readBytes),
    writeBytes: big(io.writtenBytes),
    readOperations: big(io.reads),
    writeOperations: big(io.writes),
    pids: big(pids.current),
    pidsLimit: big(pids.limit),
    cpuPressure: pressureMessage(pressure.cpu),
    memoryPressure: pressureMessage(pressure.memory),
    ioPressure: pressureMessage(pressure.io),
  };
}

function pressureMessage({ some, full }: Pressure) {
  if (some.last10 === undefined) return undefined;
  return {
    some10s: some.last10,
    some60s: some.last60 ?? 0,
    some300s: some.last300 ?? 0,
    full10s: full.last10 ?? 0,
    full60s: full.last60 ?? 0,
    full300s: full.last300 ?? 0,
  };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
