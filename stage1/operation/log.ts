/**
 * The daemon's log: lines with a level, in a queue, on their way to stderr, a file or
 * syslog. Nobody waits for a reader that does not read: what the queue does not hold is
 * lost, and the log says how much.
 *
 * @module
 */

import type { Settings } from "../config/settings.ts";
import { type Format, formatters, type Level, levels, type Line } from "./log_format.ts";
import type { Sink } from "./log_sinks.ts";

export type { Level } from "./log_format.ts";

/** More to know about a line, by name. */
export type Fields = Readonly<Record<string, unknown>>;

/** Lines that wait for their reader. */
const maxWaiting = 1_000;

/** What a log is like. */
export interface LogOptions {
  readonly level: Level;
  readonly format: Format;
  readonly sink: Sink;
}

/** Takes lines and passes on those that are important enough. */
export class Log {
  #options: LogOptions;
  readonly #waiting: Line[] = [];
  #lost = 0;
  #writing: Promise<void> | undefined;
  readonly #now: () => Date;

  constructor(options: LogOptions, now: () => Date = () => new Date()) {
    this.#options = options;
    this.#now = now;
  }

  /** Writes a line, soon. The message is one line; fields say about what. */
  readonly write = (level: Level, message: string, fields: Fields = {}): void => {
    if (levels.indexOf(level) < levels.indexOf(this.#options.level)) return;
    if (this.#waiting.length >= maxWaiting) {
      this.#lost++;
      return;
    }
    this.#waiting.push({ time: this.#now(), level, message, fields });
    this.#writing ??= this.#pump();
  };

  /** From now on it is like this; what waits goes where it was meant to go. */
  async change(options: LogOptions): Promise<void> {
    await this.flush();
    const { sink } = this.#options;
    this.#options = options;
    if (sink !== options.sink) await sink.close();
  }

  /** Settles when everything that waits is written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.flush();
    await this.#options.sink.close();
  }

  async #pump(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines = this.#waiting.splice(0);
      if (this.#lost > 0) {
        const message = `Lost ${this.#lost} lines: the log's reader is slow`;
        lines.push({ time: this.#now(), level: "warn", message, fields: {} });
        this.#lost = 0;
      }
      const { sink, format } = this.#options;
      const texts = lines.map((line) => ({ level: line.level, text: formatters[format](line) }));
      // A log that cannot be written has nowhere to say so, and is no reason to stop.
      await sink.write(texts).catch(() => this.#lost += lines.length);
    }
    this.#writing = undefined;
  }
}

/** The format that settings mean, for a sink that may be a terminal. */
export function formatOf({ log }: Settings, isTerminal: boolean): Format {
  if (log.format === "json") return "json";
  const colour = log.colour === "always" || (log.colour === "auto" && isTerminal);
  return colour ? "colour" : "text";
}

/** The level that settings mean. */
export function levelOf({ debug, log }: Settings): Level {
  return debug ? "debug" : log.level;
}
