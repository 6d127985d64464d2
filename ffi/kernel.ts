/**
 * What Kurma asks of the kernel from TypeScript, as an interface: the real one is
 * behind {@link ./mod.ts}, a recording one stands in for it in tests without root.
 *
 * @module
 */

import type { Failure_step, Inside_access, Memory_kind, Stream_readiness } from "./abi.gen.ts";
import { KurmaError } from "./errors.ts";

/** The operation that a native failure stopped at. */
export type Step = typeof Failure_step[number];

/** A system call that failed. */
export class KernelError extends KurmaError {
  /**
   * @param step What was being done.
   * @param errno The kernel's answer by name, for example `EPERM`.
   * @param subject What it was done to: a path, a name, a pid.
   */
  constructor(readonly step: Step, readonly errno: string, readonly subject: string) {
    super(
      errno === "EPERM" || errno === "EACCES" ? "denied" : "kernel",
      `Cannot ${step.replaceAll("_", " ")} "${subject}": ${errno}`,
      errno === "EPERM" && Deno.uid() !== 0 ? { fix: "Run it as root" } : {},
    );
  }
}

/** Whether a failure is the kernel's, and its answer one of these: `isErrno(error, "ENOENT")`. */
export function isErrno(error: unknown, ...errnos: readonly string[]): boolean {
  return error instanceof KernelError && errnos.includes(error.errno);
}

/**
 * What a shell says of a command that cannot be executed: 127 if it is not there, 126
 * otherwise.
 *
 * @param error What came of a start; its causes count too.
 * @returns undefined for all other failures.
 */
export function commandStatus(error: unknown): 126 | 127 | undefined {
  for (let each = error; each instanceof Error; each = each.cause) {
    if (!(each instanceof KernelError) || each.step !== "exec") continue;
    return each.errno === "ENOENT" || each.errno === "ENOTDIR" ? 127 : 126;
  }
  return undefined;
}

/** A descriptor number of this process; whoever got it from the kernel closes it. */
export type Descriptor = number;

/** What a memory file is for. */
export type MemoryKind = typeof Memory_kind[number];

/** How a file inside a container is opened. */
export type Access = typeof Inside_access[number];

/** What a descriptor is waited for. */
export type Readiness = typeof Stream_readiness[number];

/** What a new file is to have. */
export interface Made {
  /** Permissions, as far as the umask lets them. */
  readonly mode: number;
  /** As the host numbers them. */
  readonly uid: number;
  readonly gid: number;
}

/** A process to start: the static program that we carry, under an intercept. */
export interface Spawn {
  /** argv, with the name it is called by in front. */
  args: readonly string[];
  /** The whole environment; nothing is inherited. */
  env: Readonly<Record<string, string>>;
  /** Become the child's descriptors 3, 4, … in this order; 0 to 2 are shared. */
  descriptors: readonly Descriptor[];
}

/** What one packet brought. */
export interface Packet {
  bytes: Uint8Array;
  descriptors: Descriptor[];
}

/** A connection that somebody made to a unix stream socket of this process. */
export interface PeerSocket {
  /** Never another socket's while the machine runs. socket(7), SO_COOKIE */
  cookie: bigint;
  /** Who called connect(2), as our own namespaces number them. unix(7), SO_PEERCRED */
  pid: number;
  uid: number;
  gid: number;
}

/** When the other end of a connection is taken for gone: after all of it. tcp(7) */
export interface Patience {
  /** Silence before it is asked for the first time, in seconds. */
  readonly idle: number;
  /** From one question to the next, in seconds. */
  readonly interval: number;
  /** Questions. */
  readonly count: number;
}

/** A connection that was accepted, and who made it. */
export interface Accepted {
  /** Non-blocking; the caller's. */
  descriptor: Descriptor;
  pid: number;
  uid: number;
  gid: number;
}

/** The kernel as stage1 sees it. All methods but {@linkcode Kernel.wait} block briefly. */
export interface Kernel {
  /**
   * A memory file, sealed unless it is `shared`.
   *
   * @param kind `program` may be executed; `shared` can be written by who has its descriptor.
   * @throws {KernelError} `step` is `memfd`.
   * @see memfd_create(2)
   */
  memfd(name: string, bytes: Uint8Array, kind: MemoryKind): Descriptor;
  /** What a memory file holds now. */
  contents(file: Descriptor): Uint8Array;
  /**
   * Starts the static program in a session of its own: what it becomes, without V8.
   *
   * @returns Its pid.
   * @throws {KernelError} `step` is `spawn`; nothing was started.
   */
  spawn(request: Spawn): number;
  /** The exit status of a child started with `spawn`: 0 to 255, 128 + n after signal n. */
  wait(pid: number): Promise<number>;
  /**
   * Sends a signal to a child that {@linkcode Kernel.wait} has not settled for.
   *
   * @throws {KernelError} `step` is `signal`.
   */
  signal(pid: number, signal: number): void;
  /**
   * Makes this process the program behind `program`; V8 is gone afterwards.
   *
   * @throws {KernelError} `step` is `exec`.
   */
  become(
    program: Descriptor,
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ): never;
  /**
   * Removes a file or a folder with all it holds; one that is gone already is success.
   *
   * @throws {KernelError} `step` is `remove`, or `umount` if something is mounted there.
   */
  remove(path: string): void;
  /**
   * Limits what a folder and all that is made in it from now on may take on the disk.
   *
   * @param project The number that the file system counts it by; no other folder's.
   * @param bytes 0 lifts the limit.
   * @throws {KernelError} `step` is `quota`: the file system has no quotas of projects, or
   * none that it holds to; nothing has changed.
   * @see quotactl(2)
   */
  limitFolder(path: string, project: number, bytes: number): void;
  /**
   * The extended attributes of a file, sorted by name; a symlink is not followed.
   *
   * @throws {KernelError} `step` is `read_attributes`.
   * @see xattr(7)
   */
  attributes(path: string): [name: string, value: Uint8Array][];
  /**
   * Two sequenced-packet sockets, connected to each other.
   *
   * @throws {KernelError} `step` is `socket`.
   */
  pair(): [Descriptor, Descriptor];
  /**
   * A sequenced-packet socket that listens at `path`, for its owner alone.
   *
   * @param path At most 107 bytes of UTF-8; nothing may be there.
   * @throws {KernelError} `step` is `socket`.
   */
  listen(path: string): Descriptor;
  /**
   * A sequenced-packet socket connected to the one that listens at `path`.
   *
   * @throws {KernelError} `step` is `socket`: ECONNREFUSED or ENOENT if nobody listens.
   */
  connect(path: string): Descriptor;
  /**
   * Sends one packet with copies of up to six descriptors.
   *
   * @throws {KernelError} `step` is `socket`; nothing was sent.
   */
  send(socket: Descriptor, packet: Uint8Array, descriptors?: readonly Descriptor[]): void;
  /**
   * Sends one packet with a sealed memory file of these bytes, and behind it copies of up to
   * five descriptors.
   *
   * @throws {KernelError} `step` is `memfd` or `socket`; nothing was sent.
   */
  sendFile(
    socket: Descriptor,
    packet: Uint8Array,
    bytes: Uint8Array,
    descriptors?: readonly Descriptor[],
  ): void;
  /**
   * Sends one datagram to the unix socket at `path`, and waits for nothing.
   *
   * @param path At most 107 bytes of UTF-8; one that begins with `@` is an abstract name.
   * @throws {KernelError} `step` is `socket`: EAGAIN if its reader is slow; nothing was sent.
   */
  datagram(path: string, bytes: Uint8Array): void;
  /**
   * Waits for the next packet, at most `size` bytes of it.
   *
   * @returns The packet and the descriptors it carried, which are the caller's; null when
   * the other end is closed.
   * @throws {KernelError} `step` is `socket`.
   */
  receive(socket: Descriptor, size: number): Promise<Packet | null>;
  /**
   * Waits for the next connection of a unix stream socket that listens.
   *
   * @throws {KernelError} `step` is `socket`: EAGAIN if it went away again.
   */
  accept(socket: Descriptor): Promise<Accepted>;
  /**
   * Who is connected to the unix stream socket of this process that listens at `path`.
   *
   * @param options Whether it has to be `all` who are. Otherwise some may be left out that have
   *   been connected for long, and looking is fast and takes no descriptor.
   * @throws {KernelError} `step` is `open`: looking at all takes a descriptor.
   */
  peers(path: string, options: { all: boolean }): PeerSocket[];
  /**
   * Has the kernel find out whether the other end of a TCP connection of this process is still
   * there, and break the connection if it is not: what waits for it then fails with ETIMEDOUT.
   * One that is broken already is left to tell so to whoever uses it.
   *
   * @param ports Those of its two ends.
   * @throws {KernelError} `step` is `open` or `socket`.
   */
  keepAlive(ports: { local: number; remote: number }, patience: Patience): void;
  /** A pipe: the end to read from, then the one to write to. */
  pipe(): [Descriptor, Descriptor];
  /** One more descriptor of the same file. */
  duplicate(file: Descriptor): Descriptor;
  /** An empty set of descriptors to wait for. epoll(7) */
  pollSet(): Descriptor;
  /**
   * Has {@linkcode Kernel.ready} tell once when `file` is ready, and makes it non-blocking.
   *
   * @throws {KernelError} `step` is `open`.
   */
  watch(set: Descriptor, file: Descriptor, readiness: Readiness): void;
  /** Takes a descriptor out of a set, before it is closed. */
  unwatch(set: Descriptor, file: Descriptor): void;
  /** Waits until a descriptor of the set is ready; that one. */
  ready(set: Descriptor): Promise<Descriptor>;
  /**
   * Reads what is there into `bytes`.
   *
   * @returns How many bytes; 0 at the end.
   * @throws {KernelError} `step` is `read`: EAGAIN if there is nothing yet.
   */
  read(file: Descriptor, bytes: Uint8Array): number;
  /** Writes what there is room for; `step` is `write`: EAGAIN if there is none. */
  write(file: Descriptor, bytes: Uint8Array): number;
  /** Ends a connection: a `receive` that waits on it ends with null, and whoever called it closes. */
  hangUp(socket: Descriptor): void;
  /** Ends what is sent on a connection; the other end may still send. One that is over stays so. */
  endOutput(socket: Descriptor): void;
  /**
   * The root of a process, as a descriptor that paths are resolved from.
   *
   * @throws {KernelError} `step` is `open`: ENOENT if there is no such process.
   */
  openRoot(pid: number): Descriptor;
  /**
   * Opens `path` as seen from `root`: `..` and absolute links stay inside, the links of
   * procfs are refused. openat2(2), RESOLVE_IN_ROOT
   *
   * @param access `place`: to be looked at; `place_itself`: likewise, but not behind a link
   * at the end; `new_file`: made and opened for writing.
   * @param made Of a new file.
   * @throws {KernelError} `step` is `open`.
   */
  openIn(root: Descriptor, path: string, access: Access, made?: Made): Descriptor;
  /**
   * Makes a folder in the folder `dir`.
   *
   * @param name One part of a path.
   * @throws {KernelError} `step` is `mkdir`.
   */
  makeFolder(dir: Descriptor, name: string, made: Made): void;
  /** Makes a symbolic link in `dir`; as {@linkcode Kernel.makeFolder}, but `step` is `write`. */
  makeLink(dir: Descriptor, name: string, target: string, made: Made): void;
  /** Gives an open file one more name in `dir`; throws as {@linkcode Kernel.makeLink}. */
  linkFile(dir: Descriptor, name: string, file: Descriptor): void;
  /** Removes a file or a folder with all it holds from `dir`; `step` is `remove`. */
  removeIn(dir: Descriptor, name: string): void;
  /** Where a symbolic link leads that was opened itself; `step` is `read`. */
  readLink(file: Descriptor): string;
  /**
   * Makes a terminal raw: every byte goes through as it is, in both directions. A process in
   * the background is stopped until it comes to the fore.
   *
   * @returns How it was, for {@linkcode Kernel.restoreTerminal}.
   * @throws {KernelError} `step` is `terminal`: ENOTTY if it is none.
   * @see cfmakeraw(3)
   */
  makeRaw(file: Descriptor): Uint8Array;
  /**
   * Gives a terminal back as {@linkcode Kernel.makeRaw} found it.
   *
   * @throws {KernelError} `step` is `terminal`: EIO if it has been closed.
   */
  restoreTerminal(file: Descriptor, before: Uint8Array): void;
  /** Closes a descriptor. */
  close(descriptor: Descriptor): void;
  /**
   * Gives back the memory of this program's code. What is used again comes back from the
   * kernel's cache of the file.
   *
   * @see madvise(2), MADV_DONTNEED
   */
  releaseCode(): void;
}
