/**
 * Where the log goes.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Kernel, KernelError } from "../../ffi/kernel.ts";
import type { Level } from "./log_format.ts";

/** A line on its way. */
export interface SinkLine {
  readonly level: Level;
  readonly text: string;
}

/** Takes lines for good. */
export interface Sink {
  /** Whether people look at it. */
  readonly isTerminal: boolean;
  /** Settles when they are where they belong. */
  write(lines: readonly SinkLine[]): Promise<void>;
  close(): Promise<void>;
}

/** Standard error. */
export function stderrSink(): Sink {
  return {
    isTerminal: Deno.stderr.isTerminal(),
    async write(lines) {
      let bytes = encode(lines);
      while (bytes.length > 0) bytes = bytes.subarray(await Deno.stderr.write(bytes));
    },
    close: () => Promise.resolve(),
  };
}

/** A file that is renamed when it is full. */
export interface FileOptions {
  /** Absolute; its folder is there. */
  readonly path: string;
  /** Bytes; 0: it is never renamed. */
  readonly maxSize: number;
  /** Files in all: `path`, `path.1`, … */
  readonly maxFiles: number;
}

/**
 * A file, added to, readable for root's group.
 *
 * @throws {KurmaError} `state`: it cannot be opened.
 */
export function fileSink({ path, maxSize, maxFiles }: FileOptions): Sink {
  let file = openFile(path);
  let size = file.statSync().size;
  const rotate = async () => {
    file.close();
    for (let at = maxFiles - 1; at > 0; at--) {
      await renameIfThere(at === 1 ? path : `${path}.${at - 1}`, `${path}.${at}`);
    }
    if (maxFiles === 1) await Deno.truncate(path);
    file = openFile(path);
    size = 0;
  };
  return {
    isTerminal: false,
    async write(lines) {
      let bytes = encode(lines);
      if (maxSize > 0 && size > 0 && size + bytes.length > maxSize) await rotate();
      size += bytes.length;
      while (bytes.length > 0) bytes = bytes.subarray(await file.write(bytes));
    },
    close() {
      file.close();
      return Promise.resolve();
    },
  };
}

function openFile(path: string): Deno.FsFile {
  try {
    return Deno.openSync(path, { append: true, create: true, mode: 0o640 });
  } catch (cause) {
    throw new KurmaError("state", `Cannot write the log to "${path}"`, {
      cause,
      fix: "Create its folder, or name another file",
    });
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await Deno.rename(from, to);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** RFC 5424, section 6.2.1: the facility of daemons, and severities. */
const facility = 3;
const severities: Readonly<Record<Level, number>> = { debug: 7, info: 6, warn: 4, error: 3 };

/**
 * The syslog daemon of the machine, in the form that they all read. RFC 3164, section 4
 *
 * @param path Its socket: `/dev/log`.
 */
export function syslogSink(kernel: Pick<Kernel, "datagram">, path = "/dev/log"): Sink {
  return {
    isTerminal: false,
    write(lines) {
      for (const { level, text } of lines) {
        const head = `<${facility * 8 + severities[level]}>kurmad[${Deno.pid}]: `;
        try {
          kernel.datagram(path, new TextEncoder().encode(head + text));
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
          return Promise.reject(error); // The log counts what is lost.
        }
      }
      return Promise.resolve();
    },
    close: () => Promise.resolve(),
  };
}

function encode(lines: readonly SinkLine[]): Uint8Array {
  return new TextEncoder().encode(lines.map(({ text }) => `${text}\n`).join(""));
}
