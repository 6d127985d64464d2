/**
 * The record of how containers ended, as stage2 leaves it on disk (stage2/exits.zig):
 * for when stage2 is not there to be asked.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { ExitRecord, ExitRecord_kind } from "../ffi/abi.gen.ts";
import { textAt } from "./report.ts";

/** How a container ended. */
export interface Exit {
  /** Counts up from 1; what was acknowledged is never told again. */
  sequence: number;
  id: string;
  /** The main process as the host numbered it. */
  pid: number;
  /** Its exit status, or 128 + the signal. */
  status: number;
  /** The signal that ended it; null if it exited. */
  signal: number | null;
  /** Whether the kernel killed a process of it for want of memory. */
  oom: boolean;
  /** Milliseconds since 1970. */
  timeMs: number;
}

/**
 * Reads the content of a record file, oldest first, up to the first record that is
 * not whole: what follows it was never confirmed.
 *
 * @param after Leave out what has this number or a lower one. Default 0: all.
 */
export function readExits(file: Uint8Array, after = 0): Exit[] {
  const exits: Exit[] = [];
  let last: number | undefined;
  for (let at = 0; at + ExitRecord.size <= file.length; at += ExitRecord.size) {
    const bytes = file.subarray(at, at + ExitRecord.size);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const kind = ExitRecord_kind[bytes[ExitRecord.kind]];
    const sequence = Number(view.getBigUint64(ExitRecord.sequence, true));
    const follows = last === undefined
      ? kind === "base" || (kind === "exit" && sequence > 0)
      : kind === "exit" && sequence === last + 1;
    if (!follows || !isWhole(view, bytes)) break;
    last = sequence;
    if (kind === "exit" && sequence > after) exits.push(exit(view, sequence));
  }
  return exits;
}

function isWhole(view: DataView, bytes: Uint8Array): boolean {
  return view.getUint32(ExitRecord.crc, true) === crc32(bytes.subarray(ExitRecord.kind)) &&
    bytes[ExitRecord.id_len] <= ExitRecord.size - ExitRecord.id_bytes;
}

function exit(view: DataView, sequence: number): Exit {
  const signal = view.getUint8(ExitRecord.signal);
  return {
    sequence,
    id: textAt(view, ExitRecord.id_bytes, view.getUint8(ExitRecord.id_len)),
    pid: view.getInt32(ExitRecord.pid, true),
    status: view.getUint32(ExitRecord.status, true),
    signal: signal === 0 ? null : signal,
    oom: view.getUint8(ExitRecord.oom) === 1,
    timeMs: Number(view.getBigInt64(ExitRecord.time_ns, true) / 1_000_000n),
  };
}
