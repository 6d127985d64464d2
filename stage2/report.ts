/**
 * Native failures as they come in packets and reports, turned into errors.
 *
 * @module
 */

import { errnoNames, Failure, Failure_step } from "../ffi/abi.gen.ts";
import { KernelError } from "../ffi/kernel.ts";

/** The error of a failure that lies at `offset`. */
export function kernelError(view: DataView, offset: number, subject: string): KernelError {
  const errno = view.getUint16(offset + Failure.errno, true);
  const step = Failure_step[view.getUint16(offset + Failure.step, true)];
  return new KernelError(step, errnoNames[errno] ?? `errno ${errno}`, subject);
}

/** The text of `length` bytes at `offset`. */
export function textAt(view: DataView, offset: number, length: number): string {
  return new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + offset, length));
}
