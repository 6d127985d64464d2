/**
 * What an error looks like to whoever typed the command.
 *
 * @module
 */

import { KurmaError, outcomes } from "../../ffi/errors.ts";
import { printable } from "./printable.ts";

/** An error in the words and the number that the command line ends with. */
export interface Failure {
  /** One line, the chain of causes included. */
  cause: string;
  /** What to do about it, where something would help. */
  fix?: string;
  /** The exit status. */
  status: number;
}

/** The status of an error that is a bug of Kurma's. */
const bug = 1;

/** Says what happened and what helps. The text of `error` may come from outside and is escaped. */
export function explain(error: unknown): Failure {
  const cause = printable(chain(error));
  if (error instanceof KurmaError) {
    const { fix, code } = error;
    return { cause, ...(fix ? { fix: printable(fix) } : {}), status: outcomes[code].exit };
  }
  const trace = error instanceof Error ? error.stack ?? "" : "";
  const where = trace.split("\n").find((line) => line.startsWith("    at "))?.trim() ?? "nowhere";
  return { cause, fix: `This is a bug in Kurma; please report it, with "${where}"`, status: bug };
}

/** The message of `error` and of what caused it, on one line. */
function chain(error: unknown): string {
  const messages: string[] = [];
  for (let each = error; each instanceof Error && messages.length < 5; each = each.cause) {
    const message = named(each);
    if (!messages.at(-1)?.includes(message)) messages.push(message);
  }
  return messages.join(": ") || String(error);
}

/** The message of `error`, with the name of an errno where the runtime has its text and number. */
function named(error: Error): string {
  const code = "code" in error ? String(error.code) : "";
  return /^E[A-Z0-9]+$/.test(code)
    ? error.message.replace(/[A-Z][^:,()]* \(os error \d+\)/, code)
    : error.message;
}
