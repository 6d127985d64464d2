/**
 * The framing of stage3's text RPC, as {@link ./protocol.md} has it: arrays of strings
 * to request bytes, and replies to values. No I/O.
 *
 * @module
 */

import { KurmaError } from "../ffi/errors.ts";

/** What a request may take, counted as the server counts it. */
const budget = 1024 * 1024;

/** The longest name of a process, in bytes. */
const maxName = 100;

/** What the server says in reply. */
export const replies = {
  ok: "REQUEST OK\n",
  malformed: "PROTOCOL ERROR\n",
  failed: "INTERNAL ERROR\n",
  end: "END\n",
} as const;

/** A process to start in a container. */
export interface StartRequest {
  /** At most 100 bytes, no line feed. Without one, STATUS and WAIT do not see the process. */
  name?: string;
  /** The program, with its arguments behind it. */
  command: readonly string[];
  /** Its working directory; without one, the server's. */
  directory?: string;
  /** Its whole environment. */
  env?: Readonly<Record<string, string>>;
  /** File in the container for what it prints; made if missing, never truncated. */
  stdout: string;
  stderr: string;
  /** Name or number, as the container's /etc/passwd and /etc/group have them. */
  user: string;
  group: string;
}

/** A program that becomes PID 1 in place of the server. */
export type ExecRequest = Pick<StartRequest, "command" | "env" | "stdout" | "stderr">;

/** The requests, by command, as arrays of strings. */
export const requests = {
  start: (request: StartRequest): string[][] => {
    const name = request.name ?? "";
    if (new TextEncoder().encode(name).length > maxName || name.includes("\n")) {
      throw new KurmaError("invalid", `Cannot start "${printable(name)}": bad name`, {
        fix: `Use a name of at most ${maxName} bytes without line feeds`,
      });
    }
    return [
      name === "" ? ["START"] : ["START", name],
      command(request),
      [request.directory ?? ""],
      variables(request),
      [required("stdout", request.stdout), required("stderr", request.stderr)],
      [required("user", request.user), required("group", request.group)],
    ];
  },
  exec: (request: ExecRequest): string[][] => [
    ["EXEC"],
    command(request),
    variables(request),
    [required("stdout", request.stdout), required("stderr", request.stderr)],
  ],
  chroot: (directory: string, privileged: boolean): string[][] => [
    ["CHROOT", required("directory", directory), String(privileged)],
  ],
  setHostname: (name: string): string[][] => [["SETHOSTNAME", required("host name", name)]],
  status: (): string[][] => [["STATUS"]],
  wait: (): string[][] => [["WAIT"]],
} as const;

/**
 * The bytes of a request.
 *
 * @throws {KurmaError} `invalid` if a string has a NUL, which would cut it short, or if
 *   all of it is more than the server takes.
 */
export function encodeRequest(arrays: readonly (readonly string[])[]): Uint8Array<ArrayBuffer> {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [encoder.encode(`1\n${arrays.length}\n`)];
  let charged = 8 * (arrays.length + 1);
  for (const strings of arrays) {
    parts.push(encoder.encode(`${strings.length}\n`));
    charged += 8 * (strings.length + 1);
    for (const text of strings) {
      if (text.includes("\0")) {
        throw new KurmaError("invalid", `Cannot send "${printable(text)}": it has a NUL`);
      }
      const bytes = encoder.encode(text);
      parts.push(encoder.encode(`${bytes.length}\n`), bytes);
      charged += bytes.length + 1;
    }
  }
  if (charged > budget) {
    throw new KurmaError("invalid", `Cannot send a request of ${charged} bytes`, {
      fix: `Shorten arguments and environment to ${budget} bytes in all`,
    });
  }
  return concat(parts);
}

/**
 * The state of each named process (`running`, `exited(CODE)`, `signaled(NUMBER)`,
 * `unknown`) by name, the newest first. Of several with one name, the newest counts.
 *
 * @returns undefined if `reply` is no reply to STATUS.
 */
export function parseStatus(reply: string): Map<string, string> | undefined {
  if (!reply.startsWith(replies.ok) || !reply.endsWith("\n" + replies.end)) return undefined;
  const lines = reply.split("\n").slice(1, -2);
  if (lines.length % 2 !== 0) return undefined;
  const states = new Map<string, string>();
  for (let index = 0; index < lines.length; index += 2) {
    if (!states.has(lines[index])) states.set(lines[index], lines[index + 1]);
  }
  return states;
}

/** Joins `parts`. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function command({ command }: ExecRequest): string[] {
  required("command", command[0] ?? "");
  // The server takes an empty string for the end of its array.
  if (command.includes("")) {
    throw new KurmaError("invalid", `Cannot run "${printable(command[0])}": an argument is empty`, {
      fix: "Start it through a shell that passes the empty argument",
    });
  }
  return [...command];
}

function variables({ env = {} }: ExecRequest): string[] {
  return Object.entries(env).map(([name, value]) => {
    if (name === "" || name.includes("=")) {
      throw new KurmaError("invalid", `Cannot set the variable "${printable(name)}": bad name`);
    }
    return `${name}=${value}`;
  });
}

/** The server would take an empty string for one that is missing. */
function required(what: string, text: string): string {
  if (text === "") throw new KurmaError("invalid", `Cannot send an empty ${what}`);
  return text;
}

/** Safe to show on a terminal. */
function printable(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}
