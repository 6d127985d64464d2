/**
 * What the guest reports, typed: see report.zig, which writes it.
 *
 * @module
 */

/** A value, or the errno's name why it could not be read. */
export interface Report {
  pid: number;
  pgid: number;
  sid: number;
  ppid: number;
  umask: number;
  cwd: string;
  hostname: string;
  args: string[];
  env: string[];
  /** Fields of /proc/self/status, as they stand there. */
  status: Record<string, string>;
  /** Soft and hard limits, in decimal or `unlimited`. */
  rlimits: Record<string, [string, string]>;
  cgroup: string[];
  /** Lines of /proc/self/mountinfo. */
  mounts: string[];
  /** Lines of /proc/self/net/dev, two of heading first. */
  links: string[];
  /** `net:[4026531840]` and the like. */
  namespaces: Record<string, string>;
  /** Where each descriptor leads. */
  fds: Record<string, string>;
  uid_map: string[];
  init: {
    comm: string;
    exe: string;
    root: string;
    exe_read: true | string;
    environ: string[] | string;
    cmdline: string;
    fds: Record<string, string> | string;
  };
  domainname: string;
  nice: number;
  scheduler: number;
  /** Class << 13 | priority. */
  io_priority: number;
  personality: string;
  oom_score_adj: string;
  gid_map: string[];
  /** `clock seconds nanoseconds`, by which the clocks are ahead of the host's. */
  time_offsets: string[];
  /** Seconds. */
  boottime: number;
  /** `SERIAL NAME` of the session keyring. */
  keyring: string;
  sysctls: Record<string, string>;
  /** `c 1:3 666 0:0`: kind, numbers, mode, owner. */
  devices: Record<string, string>;
}

/** Reads what the guest printed. */
export function parseReport(stdout: string): Report {
  return JSON.parse(stdout) as Report;
}
