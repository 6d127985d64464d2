/**
 * One command for many: what fails does not keep the others from their turn.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { report } from "../print.ts";
import { explain } from "./failure.ts";

/**
 * Does `act` to each of `references`, one after the other; what fails is told and does not
 * keep the others from their turn.
 *
 * @returns What `act` came to, and the status of the first failure.
 */
export async function toEach<Done>(
  references: readonly string[],
  act: (reference: string) => Promise<Done>,
): Promise<{ done: Done[]; status: number }> {
  const done: Done[] = [];
  let status = 0;
  for (const reference of references) {
    try {
      done.push(await act(reference));
    } catch (error) {
      const failure = explain(error);
      report(failure.cause, failure.fix);
      status ||= failure.status;
      if (error instanceof KurmaError && error.code === "unavailable") break;
    }
  }
  return { done, status };
}
