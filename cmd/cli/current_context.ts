/**
 * Which of a user's contexts is in use: what each command asks that goes to a daemon. What they
 * are is in {@link ./contexts.ts}, for who has any.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { files } from "./builtin.ts";

/** The variables that say where a user keeps his configuration. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The folder that a user's contexts are kept in; undefined if he has none. */
export function contextsFolder({ XDG_CONFIG_HOME, HOME }: Environment): string | undefined {
  // The specification has it that a relative path says nothing.
  const config = XDG_CONFIG_HOME?.startsWith("/") ? XDG_CONFIG_HOME : HOME && `${HOME}/.config`;
  return config ? `${config}/kurma` : undefined;
}

/** The context in use; undefined for this machine's daemon. */
export function currentContext(folder: string | undefined): string | undefined {
  const path = `${folder}/current-context`;
  if (folder === undefined || isMissing(path)) return undefined;
  try {
    return Deno.readTextFileSync(path).trim() || undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new KurmaError("denied", `Cannot read "${path}"`, {
      cause: error,
      fix: "Make it readable for you, or name a daemon with -H",
    });
  }
}

/** Whether there is nothing, which an error would say too; but to make one takes 0.5 ms. */
function isMissing(path: string): boolean {
  const { existsSync } = files();
  let there = path;
  while (!existsSync(there)) there = there.slice(0, there.lastIndexOf("/")) || "/";
  // In a folder that may not be looked into, nobody knows.
  return there !== path && existsSync(`${there}/.`);
}
