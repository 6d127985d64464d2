/**
 * What every command may rely on, whatever its own flags are.
 *
 * @module
 */

import type { Paint } from "../colour.ts";
import { paths } from "./builtin.ts";

/** The surroundings of one command line. */
export interface Context {
  /** The state folder, an absolute path: `--root`, or KURMA_ROOT, or /var/lib/kurma. */
  readonly root: string;
  /** The configuration folder, absolute: `--config`, or KURMA_CONFIG, or /etc/kurma. */
  readonly config: string;
  /** Where kurmad is, as `-H` or KURMA_HOST names it; undefined if neither does. */
  readonly host: string | undefined;
  /** The context that `--context` or KURMA_CONTEXT names, unless a host comes before it. */
  readonly context: string | undefined;
  /** Whether what needs no daemon is done without one, whoever answers. */
  readonly alone: boolean;
  /** The environment of the process. */
  readonly env: Readonly<Record<string, string>>;
  /** Whether people read standard output, on a terminal. */
  readonly terminal: boolean;
  /** How standard output is painted. */
  readonly paint: Paint;
  /** The width to write for: the terminal's, or 80. */
  readonly columns: number;
}

/** `path` seen from the folder of this process. */
export function absolute(path: string): string {
  const isPlain = path.startsWith("/") && !path.endsWith("/") && !path.includes("//") &&
    !path.includes("/.");
  return isPlain ? path : paths().resolve(path);
}
