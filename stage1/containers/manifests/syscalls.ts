/**
 * appc's sets of system calls as seccomp profiles.
 *
 * @module
 * @see appc spec 0.8.11, ace.md, "os/linux/seccomp-remove-set" and "-retain-set"
 */

import { constants } from "node:os";
import type { SeccompAction, SeccompProfile } from "../spec.ts";

/** Without them no program starts, ends, or returns from a signal. */
const essential = [
  ...["execve", "exit", "exit_group", "rt_sigreturn", "sigreturn", "restart_syscall"],
];

/** What removing adds of its own: administration of the machine, which no app needs. */
const administration = [
  ...["acct", "add_key", "bpf", "clock_settime", "clock_settime64", "delete_module"],
  ...["finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "ioperm", "iopl"],
  ...["kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr"],
  ...["move_mount", "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open"],
  ...["personality", "pivot_root", "process_vm_readv", "process_vm_writev", "ptrace", "quotactl"],
  ...["reboot", "request_key", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount"],
  ...["umount2", "unshare", "uselib", "userfaultfd", "vm86", "vm86old"],
];

const name = /^[a-z_][a-z0-9_]{0,63}$/;

/** Everything but `set` is refused; undefined if `value` is no such set. */
export function retaining(value: unknown): SeccompProfile | "unconfined" | undefined {
  const read = parse(value);
  if (read === undefined) return undefined;
  if (read.wildcards.some((wildcard) => wildcard !== "all")) return undefined;
  if (read.wildcards.length > 0) return "unconfined";
  const names = [...new Set([...essential, ...read.names])];
  const { action, errnoRet } = refusal(read.errno);
  return {
    defaultAction: action,
    ...(errnoRet === undefined ? {} : { defaultErrnoRet: errnoRet }),
    syscalls: [{ names, action: "SCMP_ACT_ALLOW" }],
  };
}

/** `set` is refused, and what no app needs; undefined if `value` is no such set. */
export function removing(value: unknown): SeccompProfile | "default" | undefined {
  const read = parse(value);
  if (read === undefined) return undefined;
  if (read.wildcards.some((wildcard) => wildcard !== "empty")) return undefined;
  if (read.wildcards.length > 0) return "default";
  const own = new Set(read.names);
  return {
    defaultAction: "SCMP_ACT_ALLOW",
    syscalls: [
      { names: [...own], ...refusal(read.errno) },
      {
        names: administration.filter((call) => !own.has(call)),
        ...refusal(constants.errno.EPERM),
      },
    ],
  };
}

function refusal(errno: number | undefined): { action: SeccompAction; errnoRet?: number } {
  return errno === undefined
    ? { action: "SCMP_ACT_KILL_PROCESS" } // Ends with SIGSYS, as appc wants it.
    : { action: "SCMP_ACT_ERRNO", errnoRet: errno };
}

function parse(
  value: unknown,
): { names: string[]; wildcards: string[]; errno: number | undefined } | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { set, errno = "", ...rest } = value as Record<string, unknown>;
  if (!Array.isArray(set) || set.length === 0 || set.length > 1_024) return undefined;
  if (Object.keys(rest).length > 0 || typeof errno !== "string") return undefined;
  const number = errno === "" ? undefined : errnoNumber(errno);
  if (errno !== "" && number === undefined) return undefined;
  const names: string[] = [];
  const wildcards: string[] = [];
  for (const entry of set) {
    if (typeof entry !== "string") return undefined;
    const wildcard = /^@appc\.io\/(all|empty)$/.exec(entry)?.[1];
    if (wildcard !== undefined) wildcards.push(wildcard);
    else if (name.test(entry)) names.push(entry);
    else return undefined;
  }
  return { names, wildcards, errno: number };
}

/** By the kernel's name, such as EPERM. */
function errnoNumber(text: string): number | undefined {
  const numbers = { ...constants.errno, ENOTSUP: constants.errno.EOPNOTSUPP };
  return Object.hasOwn(numbers, text) ? numbers[text as keyof typeof numbers] : undefined;
}
