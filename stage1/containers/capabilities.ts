/**
 * Capabilities by name, and the set that a container gets.
 *
 * @module
 * @see capabilities(7); docs/decisions/012-default-capabilities.md
 */

import type { CapabilitySpec } from "./spec.ts";

/** In the kernel's order, without `CAP_`. */
const words = [
  ...["CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID"],
  ...["SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN"],
  ...["NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE"],
  ...["SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME"],
  ...["SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"],
  ...["MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ"],
  ...["PERFMON", "BPF", "CHECKPOINT_RESTORE"],
];

/** All that Linux has, as in `CAP_CHOWN`. */
export const allCapabilities: readonly string[] = words.map((word) => `CAP_${word}`);

/**
 * What root in a container may do unless told otherwise: what services need to drop to
 * their user and to own their files, and nothing that reaches the machine. No MKNOD
 * (devices come from the plan only) and no NET_RAW (it forges packets).
 */
export const defaultCapabilities: readonly string[] = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
];

/** `CAP_NET_ADMIN` for that, `net_admin` and the like; `ALL`; undefined for what Linux lacks. */
export function capabilityName(text: string): string | undefined {
  const upper = text.toUpperCase();
  if (upper === "ALL") return upper;
  const name = upper.startsWith("CAP_") ? upper : `CAP_${upper}`;
  return allCapabilities.includes(name) ? name : undefined;
}

/** `usual`, less what is dropped, and what is added; in the kernel's order. */
export function capabilitySet(
  { add = [], drop = [] }: CapabilitySpec,
  usual: readonly string[] = defaultCapabilities,
): readonly string[] {
  const base = add.includes("ALL") ? allCapabilities : drop.includes("ALL") ? [] : usual;
  const set = new Set([...base.filter((name) => !drop.includes(name)), ...add]);
  return allCapabilities.filter((name) => set.has(name));
}

/** What this process may pass on: its bounding set. */
export function ownCapabilities(): readonly string[] {
  const [, digits = "0"] = /^CapBnd:\s*([0-9a-f]+)$/m.exec(
    Deno.readTextFileSync("/proc/self/status"),
  ) ?? [];
  const set = BigInt(`0x${digits}`);
  return allCapabilities.filter((_name, bit) => (set >> BigInt(bit)) & 1n);
}
