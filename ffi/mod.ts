/**
 * The door to the kernel: the only module that loads native code of ours. Below it is Zig;
 * above it are plain values and {@linkcode KernelError}, never a pointer or a number.
 *
 * The library travels inside the executable and reaches dlopen(3) through a sealed
 * memory file: no file is written that somebody could swap, and none is left behind.
 *
 * @module
 */

import staticProgram from "../build/native/kurma-stage3" with { type: "bytes" };
import library from "../build/native/libkurma.so" with { type: "bytes" };
import {
  errnoNames,
  Failure,
  Failure_step,
  Inside_access,
  Kernel_feature,
  Memory_kind,
  Stream_readiness,
  symbols,
  Terminal,
} from "./abi.gen.ts";
import { type Kernel, KernelError } from "./kernel.ts";

/** The C library makes the memory file that the rest is loaded from. */
const libc = Deno.dlopen("libc.so.6", {
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
});

/** The symbols of the native library, as functions. */
type Native = Deno.DynamicLibrary<typeof symbols>["symbols"];

const native = open(library);
// In tests and tools nobody waits for a start, and what a test opens it is to close.
if (!Deno.build.standalone) loadAll();

/**
 * The native library, opened from memory. Each symbol is made when it is first called: the
 * runtime compiles code for it, which takes half a millisecond, and most processes need few.
 *
 * @see memfd_create(2), "File sealing"
 */
function open(bytes: Uint8Array): Native {
  const cloexecAndSealing = 0x0003;
  const addSeals = 1033;
  const allSeals = 0x000f;
  const { memfd_create, fcntl } = libc.symbols;
  // Stays open, as symbols are looked up in it.
  const fd = memfd_create(cString("libkurma.so"), cloexecAndSealing);
  if (fd < 0) throw new KernelError("memfd", "ENOMEM", "libkurma.so");
  const path = `/proc/self/fd/${fd}`;
  Deno.writeFileSync(path, bytes, { create: false });
  fcntl(fd, addSeals, allSeals);
  const made = {};
  for (const [name, symbol] of Object.entries(symbols)) {
    Object.defineProperty(made, name, {
      configurable: true,
      get() {
        const value = Deno.dlopen(path, { [name]: symbol }).symbols[name];
        Object.defineProperty(made, name, { value });
        return value;
      },
    });
  }
  return made as Native;
}

/**
 * Makes all symbols now. For a process that lives long: later there may be no descriptor left
 * to open the library by.
 */
export function loadAll(): void {
  for (const name of Object.keys(symbols) as (keyof Native)[]) void native[name];
}

/** The kernel of this machine. See {@linkcode Kernel} for what each call takes and throws. */
export const kernel: Kernel = {
  memfd(name, bytes, kind) {
    return checked(name, (failure) =>
      native.kurma_memfd(
        cString(name),
        bytes as Uint8Array<ArrayBuffer>,
        BigInt(bytes.length),
        Memory_kind.indexOf(kind),
        failure,
      ));
  },

  contents(file) {
    return Deno.readFileSync(`/proc/self/fd/${file}`);
  },

  spawn({ args, env, descriptors }) {
    const argv = cStrings(args);
    const variables = environment(env);
    const program = kernel.memfd("kurma", staticProgram, "program");
    try {
      return checked(args[0] ?? "kurma", (failure) =>
        native.kurma_spawn(
          program,
          argv,
          args.length,
          cStrings(variables),
          variables.length,
          Int32Array.from(descriptors),
          descriptors.length,
          failure,
        ));
    } finally {
      kernel.close(program);
    }
  },

  wait(pid) {
    return native.kurma_wait(pid);
  },

  signal(pid, signal) {
    checked(String(pid), (failure) => native.kurma_signal(pid, signal, failure));
  },

  become(program, args, env): never {
    const variables = environment(env);
    checked(args[0] ?? "kurma", (failure) =>
      native.kurma_become(
        program,
        cStrings(args),
        args.length,
        cStrings(variables),
        variables.length,
        failure,
      ));
    throw new Error("execveat(2) returned");
  },

  remove(path) {
    checked(path, (failure) => native.kurma_remove(cString(path), failure));
  },

  limitFolder(path, project, bytes) {
    checked(
      path,
      (failure) => native.kurma_limit_folder(cString(path), project, BigInt(bytes), failure),
    );
  },

  attributes(path) {
    const data = attributeSpace ??= new Uint8Array(256 * 1024);
    const length = checked(
      path,
      (failure) => native.kurma_attributes(cString(path), data, BigInt(data.length), failure),
    );
    const found: [string, Uint8Array][] = [];
    for (let at = 0; at < length;) {
      const end = data.indexOf(0, at);
      const start = end + 1 + 4;
      const size = new DataView(data.buffer, end + 1).getUint32(0, true);
      found.push([
        new TextDecoder().decode(data.subarray(at, end)),
        data.slice(start, start + size),
      ]);
      at = start + size;
    }
    return found.sort(([a], [b]) => a < b ? -1 : 1);
  },

  pair() {
    const fds = new Int32Array(2);
    checked("socketpair", (failure) => native.kurma_pair(fds, failure));
    return [fds[0], fds[1]];
  },

  listen(path) {
    return checked(path, (failure) => native.kurma_listen(cString(path), failure));
  },

  connect(path) {
    return checked(path, (failure) => native.kurma_connect(cString(path), failure));
  },

  send(socket, packet, descriptors = []) {
    const bytes = packet as Uint8Array<ArrayBuffer>;
    const fds = Int32Array.from(descriptors);
    checked(
      `descriptor ${socket}`,
      (failure) => native.kurma_send(socket, bytes, BigInt(bytes.length), fds, fds.length, failure),
    );
  },

  sendFile(socket, packet, bytes, descriptors = []) {
    const [head, text] = [packet, bytes] as Uint8Array<ArrayBuffer>[];
    const [headLength, textLength] = [BigInt(head.length), BigInt(text.length)];
    const fds = Int32Array.from(descriptors);
    checked(
      `descriptor ${socket}`,
      (failure) =>
        native.kurma_send_file(
          ...[socket, head, headLength, text, textLength, fds, fds.length, failure] as const,
        ),
    );
  },

  async accept(socket) {
    await native.kurma_readable(socket);
    const who = new Uint32Array(3);
    const descriptor = checked(
      `descriptor ${socket}`,
      (failure) => native.kurma_accept(socket, who, failure),
    );
    const [pid, uid, gid] = who;
    return { descriptor, pid, uid, gid };
  },

  datagram(path, bytes) {
    const data = bytes as Uint8Array<ArrayBuffer>;
    checked(
      path,
      (failure) => native.kurma_datagram(cString(path), data, BigInt(data.length), failure),
    );
  },

  async receive(socket, size) {
    // Only the wait is on a pool thread: it takes numbers, and no memory of ours.
    await native.kurma_readable(socket);
    const bytes = new Uint8Array(size);
    const fds = new Int32Array(6);
    const length = checked(
      `descriptor ${socket}`,
      (failure) => native.kurma_receive(socket, bytes, BigInt(size), fds, failure),
    );
    if (length === 0) return null;
    return { bytes: bytes.subarray(0, length), descriptors: [...fds].filter((fd) => fd >= 0) };
  },

  peers(path, { all }) {
    let numbers = new BigUint64Array(64 * 4);
    const look = () =>
      checked(
        "/proc/self/fd",
        (failure) =>
          native.kurma_peers(cString(path), Number(all), numbers, numbers.length / 4, failure),
      );
    let count = look();
    while (count * 4 > numbers.length) {
      numbers = new BigUint64Array(count * 4);
      count = look();
    }
    return Array.from({ length: count }, (_, index) => {
      const [cookie, pid, uid, gid] = numbers.subarray(index * 4, index * 4 + 4);
      return { cookie, pid: Number(pid), uid: Number(uid), gid: Number(gid) };
    });
  },

  keepAlive({ local, remote }, { idle, interval, count }) {
    checked(
      `the connection from port ${local} to ${remote}`,
      (failure) => native.kurma_keep_alive(local, remote, idle, interval, count, failure),
    );
  },

  hangUp(socket) {
    native.kurma_hang_up(socket);
  },

  endOutput(socket) {
    native.kurma_end_output(socket);
  },

  pipe() {
    const fds = new Int32Array(2);
    checked("pipe", (failure) => native.kurma_pipe(fds, failure));
    return [fds[0], fds[1]];
  },

  duplicate(file) {
    return checked(`descriptor ${file}`, (failure) => native.kurma_duplicate(file, failure));
  },

  pollSet() {
    return checked("epoll", (failure) => native.kurma_epoll(failure));
  },

  watch(set, file, readiness) {
    const wanted = Stream_readiness.indexOf(readiness);
    checked(
      `descriptor ${file}`,
      (failure) => native.kurma_watch(set, file, wanted, failure),
    );
  },

  unwatch(set, file) {
    native.kurma_unwatch(set, file);
  },

  ready(set) {
    return native.kurma_ready(set);
  },

  read(file, bytes) {
    const buffer = bytes as Uint8Array<ArrayBuffer>;
    return checked(
      `descriptor ${file}`,
      (failure) => native.kurma_read(file, buffer, BigInt(buffer.length), failure),
    );
  },

  write(file, bytes) {
    const buffer = bytes as Uint8Array<ArrayBuffer>;
    return checked(
      `descriptor ${file}`,
      (failure) => native.kurma_write(file, buffer, BigInt(buffer.length), failure),
    );
  },

  openRoot(pid) {
    return checked(`root of ${pid}`, (failure) => native.kurma_open_root(pid, failure));
  },

  openIn(root, path, access, { mode, uid, gid } = { mode: 0, uid: 0, gid: 0 }) {
    const how = Inside_access.indexOf(access);
    return checked(
      path,
      (failure) => native.kurma_open_in(root, cString(path), how, mode, uid, gid, failure),
    );
  },

  makeFolder(dir, name, { mode, uid, gid }) {
    checked(
      name,
      (failure) => native.kurma_make_folder(dir, cString(name), mode, uid, gid, failure),
    );
  },

  makeLink(dir, name, target, { uid, gid }) {
    checked(
      name,
      (failure) => native.kurma_make_link(dir, cString(name), cString(target), uid, gid, failure),
    );
  },

  linkFile(dir, name, file) {
    checked(name, (failure) => native.kurma_link_file(dir, cString(name), file, failure));
  },

  removeIn(dir, name) {
    checked(name, (failure) => native.kurma_remove_in(dir, cString(name), failure));
  },

  readLink(file) {
    const target = new Uint8Array(4096);
    const length = checked(
      `descriptor ${file}`,
      (failure) => native.kurma_read_link(file, target, BigInt(target.length), failure),
    );
    return new TextDecoder().decode(target.subarray(0, length));
  },

  makeRaw(file) {
    const before = new Uint8Array(Terminal.size);
    checked(`descriptor ${file}`, (failure) => native.kurma_make_raw(file, before, failure));
    return before;
  },

  restoreTerminal(file, before) {
    const settings = before as Uint8Array<ArrayBuffer>;
    checked(
      `descriptor ${file}`,
      (failure) => native.kurma_restore_terminal(file, settings, failure),
    );
  },

  close(descriptor) {
    native.kurma_close(descriptor);
  },

  releaseCode() {
    checked("/proc/self/maps", (failure) => native.kurma_release_code(failure));
  },
};

/** A system call, or what one can be asked for. */
export type Feature = typeof Kernel_feature[number];

/** All that {@linkcode missing} can be asked about. */
export const features: readonly Feature[] = Kernel_feature;

/**
 * Why this process cannot have a feature of the kernel, as an errno by name: `ENOSYS` if the
 * kernel lacks it, `EPERM` if somebody keeps it from us. Undefined if it is there. Asking
 * changes nothing.
 */
export function missing(feature: Feature): string | undefined {
  const errno = native.kurma_missing(Kernel_feature.indexOf(feature));
  return errno === 0 ? undefined : errnoNames[errno] ?? `errno ${errno}`;
}

/** For attributes of one file at a time, made when the first are read: asked for thousands of them. */
let attributeSpace: Uint8Array<ArrayBuffer> | undefined;

/** Runs a native call that answers -1 on failure, and turns its failure into an error. */
function checked(subject: string, call: (failure: Uint8Array<ArrayBuffer>) => number): number {
  const failure = new Uint8Array(Failure.size);
  const result = call(failure);
  if (result >= 0) return result;
  const view = new DataView(failure.buffer);
  const errno = view.getUint16(Failure.errno, true);
  const step = Failure_step[view.getUint16(Failure.step, true)];
  throw new KernelError(step, errnoNames[errno] ?? `errno ${errno}`, subject);
}

/** `NAME=value` for each variable. */
function environment(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return cStrings([text]);
}

/** UTF-8 strings, each ended by NUL, one behind the other. */
function cStrings(texts: readonly string[]): Uint8Array<ArrayBuffer> {
  const hasNul = texts.find((text) => text.includes("\0"));
  if (hasNul !== undefined) {
    throw new TypeError(`Cannot pass ${JSON.stringify(hasNul)}: it has a NUL`);
  }
  return new TextEncoder().encode(texts.map((text) => text + "\0").join(""));
}
