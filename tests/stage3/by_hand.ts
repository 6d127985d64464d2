/**
 * stage3 started by hand as PID 1 of namespaces of its own, on a root that is a copy
 * of the machine's to write to and forget.
 *
 * @module
 */

import { isDeepStrictEqual } from "node:util";
import { assertEquals } from "../assert.ts";
import { binary, Running, type Scratch } from "../harness.ts";
import { until } from "../stage2/served.ts";
import { Stage3Client } from "../../stage3/client.ts";

/** Makes the root and becomes stage3; `$1` is the test's folder, `$2` the binary. */
const script = `
  set -e
  mount --make-rprivate /
  mkdir "$1/root"
  mount -t tmpfs scratch "$1/root"
  mkdir "$1/root/upper" "$1/root/work" "$1/root/merged"
  mount -t overlay overlay -o lowerdir=/,upperdir="$1/root/upper",workdir="$1/root/work" "$1/root/merged"
  cd "$1/root/merged"
  mount -t proc proc proc
  mount --rbind /dev dev
  mount -t tmpfs tmp tmp
  mkdir -p ".$1" srv/c1
  mount --bind "$1" ".$1"
  touch kurma
  mount --bind "$2" kurma
  mount -t tmpfs c1 srv/c1
  rm -f sbin/init
  printf '#!/bin/sh\\nexec sleep 1000\\n' >sbin/init
  chmod 755 sbin/init
  ulimit -n 4096
  mkdir old
  pivot_root . old
  umount --lazy old
  exec env -i INITD_INTERCEPT=1 INITD_SOCKET="$1/socket" $3 /kurma
`;

/** A stage3 that runs; disposing kills it and all that it started. */
export class ByHand implements AsyncDisposable {
  readonly client: Stage3Client;
  /** Its socket. */
  readonly path: string;

  private constructor(readonly process: Running, readonly pid: number, path: string) {
    this.path = path;
    this.client = new Stage3Client(path);
  }

  /** @param variable One more variable of its environment, `NAME=value`. */
  static async start({ dir }: Pick<Scratch, "dir">, variable = ""): Promise<ByHand> {
    const process = new Running([
      ...["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child"],
      ...["sh", "-c", script, "sh", dir, binary, variable],
    ], { limitMs: 300_000 });
    await process.says(/Starting initd\./);
    const [pid] = children(process.pid);
    return new ByHand(process, pid, `${dir}/socket`);
  }

  /** A connection to its socket; waits while more than its backlog of 10 do. */
  async connect(): Promise<Deno.UnixConn> {
    while (true) {
      try {
        return await Deno.connect({ transport: "unix", path: this.path });
      } catch (error) {
        if (!(error instanceof Deno.errors.WouldBlock)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
  }

  /** Sends `bytes` as they are; the reply, or undefined if none came within `patienceMs`. */
  async ask(bytes: Uint8Array, patienceMs = 5_000): Promise<string | undefined> {
    const connection = await this.connect();
    let open = true;
    const close = () => {
      if (open) connection.close();
      open = false;
    };
    const timer = setTimeout(close, patienceMs);
    const decoder = new TextDecoder();
    let reply = "";
    try {
      for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
      const buffer = new Uint8Array(64 * 1024);
      for (let read; (read = await connection.read(buffer)) !== null;) {
        reply += decoder.decode(buffer.subarray(0, read), { stream: true });
      }
    } catch (error) {
      // Our own close ends the read; a refusal may come before all is sent.
      const expected = !open || error instanceof Deno.errors.BrokenPipe;
      if (!expected) throw error;
    } finally {
      clearTimeout(timer);
      close();
    }
    return reply === "" ? undefined : reply;
  }

  /** The pid, outside, of the process of this stage3 whose command line is `args`. */
  async child(args: readonly string[]): Promise<number> {
    const line = args.join(" ");
    return await until(
      `a child that runs ${line}`,
      () => children(this.pid).find((pid) => commandLine(pid).join(" ") === line),
    );
  }

  /** Waits until it has as many children. */
  async has(amount: number): Promise<void> {
    await until(`${amount} children`, () => children(this.pid).length === amount || undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    let ended = false;
    this.process.output.then(() => ended = true);
    await Promise.resolve();
    if (!ended) this.process.signal("SIGKILL");
    await this.process.output;
  }
}

/** The children of a process, as proc(5) lists them. */
export function children(pid: number): number[] {
  const text = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`);
  return text.split(" ").filter((word) => word !== "").map(Number);
}

export function commandLine(pid: number): string[] {
  return Deno.readTextFileSync(`/proc/${pid}/cmdline`).split("\0").slice(0, -1);
}

/** The environment a program was executed with. */
export function environment(pid: number): string[] {
  return Deno.readTextFileSync(`/proc/${pid}/environ`).split("\0").slice(0, -1);
}

/** What each descriptor of a process is, by number. */
export function descriptors(pid: number): Record<string, string> {
  const found: Record<string, string> = {};
  for (const { name } of Deno.readDirSync(`/proc/${pid}/fd`)) {
    try {
      found[name] = Deno.readLinkSync(`/proc/${pid}/fd/${name}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error; // It was closed meanwhile.
    }
  }
  return found;
}

/** That these and no others stay open, once a program has loaded its libraries. */
export async function assertOpen(pid: number, expected: Record<string, string>): Promise<void> {
  const isSo = () => isDeepStrictEqual(descriptors(pid), expected) || undefined;
  await until(`the descriptors of ${pid}`, isSo).catch(() => {});
  assertEquals(descriptors(pid), expected);
}

/** A field of /proc/PID/status. */
export function statusField(pid: number, name: string): string | undefined {
  const text = Deno.readTextFileSync(`/proc/${pid}/status`);
  return new RegExp(`^${name}:[ \\t]*(.*)$`, "m").exec(text)?.[1].trimEnd();
}
