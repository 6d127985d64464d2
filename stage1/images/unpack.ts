/**
 * Runs the unpacker (unpack/unpack.zig): an uncompressed tar stream goes in, a folder
 * comes out. The process that meets the archive's names has no other root than that
 * folder, few capabilities and a filter on its system calls.
 *
 * @module
 */

import { errnoNames } from "../../ffi/abi.gen.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { MemoryProgram } from "../../ffi/program.ts";
import bytes from "../../build/native/kurma-unpack" with { type: "bytes" };
import type { Chunk } from "./bytes.ts";
import type { Digest } from "./sources/digest.ts";
import { quote } from "./sources/digest.ts";

const program = new MemoryProgram("kurma-unpack", bytes);

/** What an archive may ask for; defaults and units are those of unpack/limits.zig. */
export interface UnpackLimits {
  readonly bytes?: number;
  readonly entries?: number;
  readonly depth?: number;
  readonly name?: number;
  readonly path?: number;
  readonly manifest?: number;
}

/** What came out of an archive. Everything is on disk. */
export interface Unpacked {
  /** Of the stream: sha256 for `oci`, sha512 for `aci`. */
  readonly digest: Digest;
  /** Length of the stream. */
  readonly bytes: number;
  readonly entries: number;
  /** Whether the archive had its end marker. */
  readonly complete: boolean;
  /** Device nodes and extended attributes that were left out. */
  readonly devices: number;
  readonly xattrs: number;
}

/**
 * Unpacks `stream` into `dir`/rootfs; an ACI's manifest into `dir`/manifest.
 *
 * @param dir An empty folder; what is in it after an error is the caller's to remove.
 * @param what Names the archive in messages.
 * @throws {KurmaError} `invalid`: the archive is damaged, hostile or over a limit;
 *   `kernel`: the host refused, for example `ENOSPC`; `denied`: not root.
 */
export async function unpack(
  stream: AsyncIterable<Chunk>,
  dir: string,
  what: string,
  format: "oci" | "aci",
  limits: UnpackLimits = {},
): Promise<Unpacked> {
  const algorithm = format === "oci" ? "sha256" : "sha512";
  const chosen = Object.entries(limits).map(([name, value]) => `${name}=${value}`);
  const child = new Deno.Command(`/proc/self/fd/${program.descriptor}`, {
    args: [format, algorithm, dir, ...chosen],
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const answer = child.output();
  const writer = child.stdin.getWriter();
  try {
    for await (const chunk of stream) await writer.write(chunk);
  } catch (error) {
    // It has refused and gone: its answer says why. Anything else is the source's error.
    if (!(error instanceof Deno.errors.BrokenPipe)) {
      await writer.abort().catch(() => undefined);
      await answer;
      throw error;
    }
  }
  await writer.close().catch(() => undefined); // Closed already where it has gone.
  const { success, signal, code, stdout } = await answer;
  if (!success) throw crashed(what, signal ?? `exit status ${code}`);
  const result = JSON.parse(new TextDecoder().decode(stdout)) as Unpacked | Refused;
  if ("refused" in result) throw refused(what, result);
  return result;
}

interface Refused {
  readonly refused: keyof typeof reasons | "system";
  readonly entry: string;
  readonly errno: number;
}

/** unpack/refusal.zig, `Reason`: what is wrong, and what to do. */
const reasons = {
  truncated: ["it ends too early", again()],
  damaged: ["a header is damaged", again()],
  escape: ["it names something outside itself", "Do not trust it"],
  long_name: ["a name is longer than 255 bytes", foreign()],
  long_path: ["a path is longer than 4095 bytes", foreign()],
  deep: ["its folders are nested too deep", raise("depth")],
  entries: ["it has too many entries", raise("entries")],
  bytes: ["it is too large", raise("bytes")],
  long_header: ["a header is too long", foreign()],
  pieces: ["a file has too many holes", foreign()],
  unknown_type: ["it has an entry of unknown type", foreign()],
  owner: ["a file's owner is no user", foreign()],
  whiteout: ["a whiteout hides nothing that has a name", foreign()],
  link_target: ["a hard link leads to nothing in it", foreign()],
  not_a_folder: ["a name leads through something that is no folder", "Do not trust it"],
  root: ["its root is no folder", foreign()],
  unexpected: ["an ACI has only a manifest and a rootfs", foreign()],
} as const;

function again(): string {
  return "Fetch or save the image again";
}

function foreign(): string {
  return "Save the image again with another tool: no image has this";
}

function raise(limit: string): string {
  return `Do not trust it; if you do, raise the ${limit} limit`;
}

function refused(what: string, { refused, entry, errno }: Refused): KurmaError {
  const at = entry === "" ? "" : ` (at ${quote(entry)})`;
  if (refused !== "system") {
    const [why, fix] = reasons[refused];
    return new KurmaError("invalid", `Cannot unpack ${what}: ${why}${at}`, { fix });
  }
  const name = errnoNames[errno] ?? `errno ${errno}`;
  const denied = name === "EPERM" || name === "EACCES";
  const fix = denied && Deno.uid() !== 0
    ? "Run it as root"
    : name === "ENOSPC" || name === "EDQUOT"
    ? "Free some space: `kurma image prune` removes what nothing uses"
    : undefined;
  return new KurmaError(
    denied ? "denied" : "kernel",
    `Cannot unpack ${what}: ${name}${at}`,
    fix ? { fix } : {},
  );
}

function crashed(what: string, how: string): KurmaError {
  return new KurmaError("kernel", `Cannot unpack ${what}: the unpacker ended with ${how}`);
}
