/**
 * Errors as the API tells them: every {@linkcode KurmaError} has one gRPC status and carries
 * its code, its causes and what to do.
 *
 * @module
 */

import { Code, ConnectError } from "@connectrpc/connect";
import { KurmaError, outcomes } from "../../ffi/errors.ts";
import { commandStatus } from "../../ffi/kernel.ts";
import { ClientGone } from "./http2/exchange.ts";
import { ErrorDetailSchema } from "./kurma.gen.ts";

/** How many causes are told. */
const maxCauses = 8;

/**
 * The error that a client gets.
 *
 * @param onBug Told of what no code of Kurma's names: a mistake of ours.
 */
export function apiError(error: unknown, onBug: (error: unknown) => void): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof ClientGone) return new ConnectError(error.message, Code.Canceled);
  if (error instanceof KurmaError) {
    return detailed(error, outcomes[error.code].grpc, error.code, error.fix);
  }
  onBug(error);
  const fix = "This is a bug in Kurma; please report it, with what kurmad has logged";
  return detailed(
    error instanceof Error ? error : new Error(String(error)),
    Code.Internal,
    "bug",
    fix,
  );
}

function detailed(error: Error, grpc: Code, code: string, fix = ""): ConnectError {
  const causes: string[] = [];
  for (let each = error.cause; each instanceof Error && causes.length < maxCauses;) {
    causes.push(each.message);
    each = each.cause;
  }
  const value = {
    ...{ code, message: error.message, causes, fix },
    commandStatus: commandStatus(error) ?? 0,
  };
  const details = [{ desc: ErrorDetailSchema, value }];
  return new ConnectError(error.message, grpc, undefined, details, error);
}
