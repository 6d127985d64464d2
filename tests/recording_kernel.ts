/**
 * A kernel for tests without root: it writes down what it is asked, and answers what
 * the test wants.
 *
 * @module
 */

import { KernelError } from "../ffi/kernel.ts";
import type {
  Accepted,
  Access,
  Descriptor,
  Kernel,
  MemoryKind,
  Packet,
  Patience,
  PeerSocket,
  Readiness,
  Spawn,
} from "../ffi/kernel.ts";

/** What a {@linkcode RecordingKernel} answers. */
export interface Answers {
  /** The exit status that every `wait` settles with; default 0. */
  status?: number;
  /**
   * Called by `send` with the memory files it passes on and those passed on by `spawn`,
   * to do what the child would.
   */
  sent?(files: readonly Uint8Array[], spawned: readonly Uint8Array[]): void;
  /** Calls that fail, by name, with this errno. */
  failing?: Partial<Record<keyof Kernel, string>>;
}

/** Only `remove` does what it says: folders that a test made are real. */
export class RecordingKernel implements Kernel {
  /** Each call as `name argument …`, in order. */
  readonly log: string[] = [];
  readonly #answers: Answers;
  /** Memory files by descriptor. */
  readonly #memory = new Map<Descriptor, Uint8Array>();
  #next = 100;
  #inherited: readonly Descriptor[] = [];

  constructor(answers: Answers = {}) {
    this.#answers = answers;
  }

  memfd(name: string, bytes: Uint8Array, kind: MemoryKind): Descriptor {
    this.#note("memfd", name, kind);
    this.#memory.set(this.#next, bytes);
    return this.#next++;
  }

  contents(file: Descriptor): Uint8Array {
    const bytes = this.#memory.get(file);
    if (bytes === undefined) throw new KernelError("open", "EBADF", `descriptor ${file}`);
    return bytes;
  }

  spawn(request: Spawn): number {
    this.#note("spawn", ...request.args, ...Object.keys(request.env));
    this.#inherited = request.descriptors;
    return 4242;
  }

  wait(pid: number): Promise<number> {
    this.#note("wait", pid);
    return Promise.resolve(this.#answers.status ?? 0);
  }

  signal(pid: number, signal: number): void {
    this.#note("signal", pid, signal);
  }

  become(program: Descriptor, args: readonly string[]): never {
    this.#note("become", program, ...args);
    throw new Error("A recording kernel becomes nothing");
  }

  remove(path: string): void {
    this.#note("remove", path);
    try {
      Deno.removeSync(path, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  attributes(path: string): [string, Uint8Array][] {
    this.#note("attributes", path);
    return [];
  }

  pair(): [Descriptor, Descriptor] {
    this.#note("pair");
    return [this.#next++, this.#next++];
  }

  listen(path: string): Descriptor {
    this.#note("listen", path);
    return this.#next++;
  }

  connect(path: string): Descriptor {
    this.#note("connect", path);
    return this.#next++;
  }

  send(socket: Descriptor, packet: Uint8Array, descriptors: readonly Descriptor[] = []): void {
    this.#note("send", socket, `${packet.length} bytes`, `${descriptors.length} descriptors`);
    this.#answers.sent?.(descriptors.map((descriptor) => this.contents(descriptor)), this.#files());
  }

  sendFile(
    socket: Descriptor,
    packet: Uint8Array,
    bytes: Uint8Array,
    descriptors: readonly Descriptor[] = [],
  ): void {
    const counts = [`${packet.length} bytes`, `${descriptors.length} descriptors`];
    this.#note("sendFile", socket, ...counts);
    const files = descriptors.map((descriptor) => this.contents(descriptor));
    this.#answers.sent?.([bytes, ...files], this.#files());
  }

  accept(socket: Descriptor): Promise<Accepted> {
    this.#note("accept", socket);
    return Promise.resolve({ descriptor: this.#next++, pid: 1, uid: 0, gid: 0 });
  }

  datagram(path: string, bytes: Uint8Array): void {
    this.#note("datagram", path, new TextDecoder().decode(bytes));
  }

  receive(socket: Descriptor, size: number): Promise<Packet | null> {
    this.#note("receive", socket, size);
    return Promise.resolve(null);
  }

  peers(path: string, options: { all: boolean }): PeerSocket[] {
    this.#note("peers", path, options);
    return [];
  }

  keepAlive(ports: { local: number; remote: number }, patience: Patience): void {
    this.#note("keepAlive", ports.local, ports.remote, patience.idle);
  }

  hangUp(socket: Descriptor): void {
    this.#note("hangUp", socket);
  }

  endOutput(socket: Descriptor): void {
    this.#note("endOutput", socket);
  }

  pipe(): [Descriptor, Descriptor] {
    this.#note("pipe");
    return [this.#next++, this.#next++];
  }

  duplicate(file: Descriptor): Descriptor {
    this.#note("duplicate", file);
    return this.#next++;
  }

  pollSet(): Descriptor {
    this.#note("pollSet");
    return this.#next++;
  }

  watch(set: Descriptor, file: Descriptor, readiness: Readiness): void {
    this.#note("watch", set, file, readiness);
  }

  unwatch(set: Descriptor, file: Descriptor): void {
    this.#note("unwatch", set, file);
  }

  ready(set: Descriptor): Promise<Descriptor> {
    this.#note("ready", set);
    return Promise.withResolvers<Descriptor>().promise;
  }

  read(file: Descriptor): number {
    this.#note("read", file);
    return 0;
  }

  write(file: Descriptor, bytes: Uint8Array): number {
    this.#note("write", file, bytes.length);
    return bytes.length;
  }

  openRoot(pid: number): Descriptor {
    this.#note("openRoot", pid);
    return this.#next++;
  }

  openIn(root: Descriptor, path: string, access: Access): Descriptor {
    this.#note("openIn", root, path, access);
    return this.#next++;
  }

  makeFolder(dir: Descriptor, name: string): void {
    this.#note("makeFolder", dir, name);
  }

  makeLink(dir: Descriptor, name: string, target: string): void {
    this.#note("makeLink", dir, name, target);
  }

  limitFolder(path: string, project: number, bytes: number): void {
    this.#note("limitFolder", path, project, bytes);
  }

  linkFile(dir: Descriptor, name: string, file: Descriptor): void {
    this.#note("linkFile", dir, name, file);
  }

  removeIn(dir: Descriptor, name: string): void {
    this.#note("removeIn", dir, name);
  }

  readLink(file: Descriptor): string {
    this.#note("readLink", file);
    return "";
  }

  makeRaw(file: Descriptor): Uint8Array {
    this.#note("makeRaw", file);
    return new Uint8Array();
  }

  restoreTerminal(file: Descriptor): void {
    this.#note("restoreTerminal", file);
  }

  close(descriptor: Descriptor): void {
    this.#note("close", descriptor);
    this.#memory.delete(descriptor);
  }

  releaseCode(): void {
    this.#note("releaseCode");
  }

  /** The memory files among what was passed on by `spawn`. */
  #files(): Uint8Array[] {
    return this.#inherited.flatMap((descriptor) => this.#memory.get(descriptor) ?? []);
  }

  #note(name: keyof Kernel, ...args: readonly unknown[]): void {
    this.log.push([name, ...args].join(" "));
    const errno = this.#answers.failing?.[name];
    if (errno === undefined) return;
    const step = name === "memfd" ? "memfd" : name === "spawn" ? "spawn" : "socket";
    throw new KernelError(step, errno, String(args[0]));
  }
}
