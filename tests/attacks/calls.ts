/**
 * Attacks with system calls: those that a filter is to refuse, and ways around it.
 *
 * @module
 */

import { type Attack, attacker, type Outcome, type Target, type Wish } from "./target.ts";

/** Runs the attacker with a verb; it has what it wants if it exits 0. */
async function verb(target: Target, words: readonly string[], wish: Partial<Wish> = {}) {
  const seen = await target.run({ run: [attacker, ...words], ...wish });
  return { got: seen.endsWith("\n0"), seen };
}

/** Datagram sockets of the local family and nothing else, but what a static program needs. */
const localOnly = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 1,
  architectures: ["SCMP_ARCH_X86_64"],
  syscalls: [
    {
      names: [
        ...["execve", "exit", "exit_group", "write", "arch_prctl", "prlimit64", "sigaltstack"],
        ...["rt_sigaction", "rt_sigprocmask", "mmap", "mprotect", "brk", "close", "readlink"],
      ],
      action: "SCMP_ACT_ALLOW",
    },
    {
      names: ["socket"],
      action: "SCMP_ACT_ALLOW",
      args: [
        { index: 0, value: 1, op: "SCMP_CMP_EQ" }, // AF_UNIX
        { index: 1, value: 2, op: "SCMP_CMP_EQ" }, // SOCK_DGRAM
      ],
    },
  ],
};

const inet = "2";
const vsock = "40";
const stream = "1";
const datagram = "2";
const keyctl32 = ["288", "1"]; // KEYCTL_JOIN_SESSION_KEYRING; for a 64-bit program 288 is accept4.

export const calls: readonly Attack[] = [
  {
    number: 43,
    what: "open a socket that meets one of a rule's two conditions",
    leftOut: ["conditions"],
    carryOut: (target) =>
      verb(target, ["socket", inet, datagram], {
        kurma: { seccomp: "none" },
        linux: { seccomp: localOnly },
      }),
    refused: /^EPERM\n1$/,
  },
  {
    number: 43,
    what: "open a socket of a family that the default profile does not have",
    leftOut: ["filter"],
    carryOut: (target) => verb(target, ["socket", vsock, stream]),
    refused: /^EAFNOSUPPORT\n1$/,
  },
  {
    number: 44,
    what: "make a 32-bit call whose number is another's for a 64-bit program",
    leftOut: ["architecture"],
    carryOut: (target) => verb(target, ["int80", ...keyctl32]),
    refused: /^159$/, // SIGSYS
  },
  {
    number: 45,
    what: "make a user namespace by clone3, whose flags no filter sees",
    leftOut: ["filter"],
    carryOut: (target) => verb(target, ["clone3-user"]),
    refused: /^ENOSYS\n1$/,
  },
  {
    number: 46,
    what: "reach the calls that exploits are made of",
    leftOut: ["filter"],
    carryOut: (target) => verb(target, ["reach"]),
    refused: /^reached 0 of \d+\n1$/,
  },
];

/** Calls with the x32 bit: no kernel we run on has them, so there is nothing to succeed. */
export async function x32(target: Target): Promise<Outcome> {
  return await verb(target, ["x32", "41"]); // socket
}
