/**
 * What helps against a command that could not be run.
 *
 * @module
 */

import { commandStatus } from "../../ffi/kernel.ts";

/** What to do about `error`; undefined if it is about something else than a command. */
export function commandHint(error: unknown): string | undefined {
  switch (commandStatus(error)) {
    case 127:
      return "Look for it in the image; the interpreter or loader that it names may be what is missing";
    case 126:
      return "It has to be an executable file of this machine's architecture";
    default:
      return undefined;
  }
}
