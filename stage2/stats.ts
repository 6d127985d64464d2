/**
 * What a container uses, as its cgroup counts it (stage2/cgroup/stats.zig).
 *
 * @module
 */

import { Pressure as PressureLayout, Stats as StatsLayout } from "../ffi/abi.gen.ts";

/**
 * Totals since the container was made unless named otherwise; what this host does not
 * measure, and a limit that there is not, is undefined.
 */
export interface Stats {
  cpu: {
    usageNs?: number;
    userNs?: number;
    systemNs?: number;
    /** Periods that had a quota, those in which it ran out, and for how long. */
    periods?: number;
    throttledPeriods?: number;
    throttledNs?: number;
  };
  /** Bytes, at this moment unless named otherwise. */
  memory: {
    /** Page cache included. */
    used?: number;
    peak?: number;
    limit?: number;
    anonymous?: number;
    file?: number;
    /** Page cache that can go first: `used` without it is the working set. */
    inactiveFile?: number;
    swap?: number;
    /** Processes that the OOM killer ended. */
    oomKills?: number;
  };
  /** Processes and threads at this moment. */
  pids: { current?: number; limit?: number };
  io: { readBytes?: number; writtenBytes?: number; reads?: number; writes?: number };
  pressure: { cpu: Pressure; memory: Pressure; io: Pressure };
}

/** How long work stood still for want of a resource: some of it, or all. */
export interface Pressure {
  some: Stall;
  full: Stall;
}

export interface Stall {
  /** Per cent of the last 10, 60 and 300 seconds. */
  last10?: number;
  last60?: number;
  last300?: number;
  totalUs?: number;
}

/** No number: not measured. */
const absent = 0xffff_ffff_ffff_ffffn;

/** Reads what stands at byte `at` of a reply. */
export function statsAt(view: DataView, at: number): Stats {
  const value = (offset: number): number | undefined => {
    const found = view.getBigUint64(at + offset, true);
    return found === absent ? undefined : Number(found);
  };
  const of = (field: Exclude<keyof typeof StatsLayout, "size">) => value(StatsLayout[field]);
  const pressure = (field: "cpu_pressure" | "memory_pressure" | "io_pressure"): Pressure => {
    const own = (name: Exclude<keyof typeof PressureLayout, "size">) =>
      value(StatsLayout[field] + PressureLayout[name]);
    const percent = (name: Exclude<keyof typeof PressureLayout, "size">) => {
      const hundredths = own(name);
      return hundredths === undefined ? undefined : hundredths / 100;
    };
    const stall = (kind: "some" | "full"): Stall => ({
      last10: percent(`${kind}_10`),
      last60: percent(`${kind}_60`),
      last300: percent(`${kind}_300`),
      totalUs: own(`${kind}_total_us`),
    });
    return { some: stall("some"), full: stall("full") };
  };
  return {
    cpu: {
      usageNs: of("cpu_usage_ns"),
      userNs: of("cpu_user_ns"),
      systemNs: of("cpu_system_ns"),
      periods: of("cpu_periods"),
      throttledPeriods: of("cpu_throttled_periods"),
      throttledNs: of("cpu_throttled_ns"),
    },
    memory: {
      used: of("memory_bytes"),
      peak: of("memory_peak_bytes"),
      limit: of("memory_limit_bytes"),
      anonymous: of("memory_anonymous_bytes"),
      file: of("memory_file_bytes"),
      inactiveFile: of("memory_inactive_file_bytes"),
      swap: of("swap_bytes"),
      oomKills: of("oom_kills"),
    },
    pids: { current: of("pids"), limit: of("pids_limit") },
    io: {
      readBytes: of("io_read_bytes"),
      writtenBytes: of("io_written_bytes"),
      reads: of("io_reads"),
      writes: of("io_writes"),
    },
    pressure: {
      cpu: pressure("cpu_pressure"),
      memory: pressure("memory_pressure"),
      io: pressure("io_pressure"),
    },
  };
}
