/**
 * The errors of a client: what kurmad tells, and what becomes of the way to it.
 *
 * @module
 */

import { type Code, KurmaError, outcomes } from "../../ffi/errors.ts";

/** A connection that broke. */
export function wentAway(host: string, cause: unknown): KurmaError {
  return new KurmaError("unavailable", `Cannot ask kurmad at "${host}": it went away`, {
    cause,
    fix: "Try again; what was logged there says why",
  });
}

/** Why kurmad cannot be reached at its socket. */
export function unreachable(socket: string, cause: unknown): KurmaError {
  if (cause instanceof Deno.errors.PermissionDenied) {
    return new KurmaError("denied", `Cannot reach kurmad at "${socket}": EACCES`, {
      cause,
      fix: "Run it as root, or become a member of the group kurma",
    });
  }
  return new KurmaError("unavailable", `Cannot reach kurmad at "${socket}"`, {
    cause,
    fix:
      "Start it as root, with kurma daemon or systemctl start kurmad, or name its socket with -H",
  });
}

/** The words of Connect for a status, and the code of ours that fits it best. */
const codes: Record<string, Code> = {
  invalid_argument: "invalid",
  not_found: "missing",
  failed_precondition: "state",
  permission_denied: "denied",
  unauthenticated: "denied",
};

/**
 * The error that kurmad told.
 *
 * @param answer Connect's JSON of an error.
 * @param otherwise The message if it is none.
 */
export function errorOf(answer: unknown, otherwise: string): KurmaError {
  const { code, message = otherwise, details } = fieldsOf(answer);
  const detail = Array.isArray(details)
    ? details.map(fieldsOf).find(({ type }) => type === "kurma.v1.ErrorDetail")
    : undefined;
  const { code: own, causes, fix, commandStatus } = fieldsOf(detail?.debug);
  const known = typeof own === "string" && Object.hasOwn(outcomes, own)
    ? own as Code
    : codes[String(code)] ?? "unavailable";
  return new KurmaError(known, String(message), {
    cause: Array.isArray(causes) ? causeOf(causes.map(String)) : undefined,
    ...(typeof fix === "string" && fix !== "" ? { fix } : {}),
    ...(typeof commandStatus === "number" && commandStatus !== 0 ? { commandStatus } : {}),
  });
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? value as Record<string, unknown> : {};
}

function causeOf([message, ...rest]: readonly string[]): Error | undefined {
  return message === undefined ? undefined : new Error(message, { cause: causeOf(rest) });
}
