/**
 * Native failures as they come in packets and reports, turned into errors.
 *
 * @module
 */

import { errnoNames, Failure, Failure_step, limitKeys } from "../ffi/abi.gen.ts";
import { KernelError } from "../ffi/kernel.ts";

/** The error of a failure that lies at `offset`. What a limit failed of is in the failure itself. */
export function kernelError(view: DataView, offset: number, subject: string): KernelError {
  const errno = view.getUint16(offset + Failure.errno, true);
  const step = Failure_step[view.getUint16(offset + Failure.step, true)];
  const index = view.getUint32(offset + Failure.index, true);
  const what = step === "limit" ? limitName(index) : subject;
  return new KernelError(step, errnoNames[errno] ?? `errno ${errno}`, what);
}

/** `linux.resources.memory.swap`, or for the entry of a list `linux.resources.devices[2]`. */
function limitName(index: number): string {
  const key = limitKeys[index & 0xffff];
  const isList = /Device$|^hugepageLimits$|priorities$|^rdma$|^unified$|^devices$/.test(key);
  return `linux.resources.${key}${isList ? `[${index >>> 16}]` : ""}`;
}

/** The text of `length` bytes at `offset`. */
export function textAt(view: DataView, offset: number, length: number): string {
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + offset, length));
}
