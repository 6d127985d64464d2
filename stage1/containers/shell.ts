/**
 * Which shell a user of a container has, by the container's own /etc/passwd.
 *
 * @module
 * @see passwd(5)
 */

import { KurmaError } from "../../ffi/errors.ts";
import { KernelError } from "../../ffi/kernel.ts";
import type { Inside } from "./copy.ts";
import type { Host } from "./host.ts";
import { withRoot } from "./inside.ts";
import { meaningOf } from "./planning.ts";
import type { Container } from "./record.ts";

/** A line of /etc/passwd. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly shell: string;
}

/** Larger than any real one. */
const maxPasswd = 1024 * 1024;

/**
 * The account of `user[:group]`: a name or a number.
 *
 * @returns Undefined if there is none.
 */
export function findAccount(passwd: string, user: string): Account | undefined {
  const [wanted] = user.split(":");
  const accounts = passwd.split("\n").flatMap((line): Account[] => {
    const [name, , uid, gid, , , shell = ""] = line.split(":");
    if (!/^[0-9]{1,10}$/.test(uid ?? "") || !/^[0-9]{1,10}$/.test(gid ?? "")) return [];
    return [{ name, uid: Number(uid), gid: Number(gid), shell }];
  });
  return accounts.find(({ name }) => name === wanted) ??
    accounts.find(({ uid }) => String(uid) === wanted);
}

/**
 * The shell of a user, or /bin/sh.
 *
 * @throws {KurmaError} `missing`: the container has no shell.
 */
export function shellOf(
  host: Host,
  container: Container,
  user = meaningOf(host, container).user,
): Promise<string[]> {
  return withRoot(host, container, (inside) => {
    const account = findAccount(read(inside, "/etc/passwd"), user);
    for (const shell of [account?.shell ?? "", "/bin/sh"]) {
      if (shell.startsWith("/") && isThere(inside, shell)) return Promise.resolve([shell]);
    }
    throw new KurmaError("missing", `Cannot enter "${container.name}": it has no shell`, {
      fix: "Run a program that it has",
    });
  });
}

/** Who a user of a container is in numbers; root's if its passwd does not know. */
export function ownerOf(inside: Inside, user: string): { uid: number; gid: number } {
  const account = findAccount(read(inside, "/etc/passwd"), user);
  const [first, second] = user.split(":");
  const uid = account?.uid ?? (/^[0-9]{1,9}$/.test(first) ? Number(first) : 0);
  const gid = /^[0-9]{1,9}$/.test(second ?? "") ? Number(second) : account?.gid ?? uid;
  return { uid, gid };
}

function isThere({ kernel, root }: Inside, path: string): boolean {
  try {
    kernel.close(kernel.openIn(root, path, "place"));
    return true;
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** The beginning of a plain file of the container; empty if there is none. */
function read({ kernel, root }: Inside, path: string): string {
  let place: number;
  try {
    place = kernel.openIn(root, path, "place");
  } catch (error) {
    if (error instanceof KernelError) return "";
    throw error;
  }
  try {
    if (!Deno.statSync(`/proc/self/fd/${place}`).isFile) return "";
    using file = Deno.openSync(`/proc/self/fd/${place}`);
    const bytes = new Uint8Array(maxPasswd);
    const length = file.readSync(bytes) ?? 0;
    return new TextDecoder().decode(bytes.subarray(0, length));
  } finally {
    kernel.close(place);
  }
}
