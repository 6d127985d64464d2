/**
 * Finds what the words of a command line call.
 *
 * @module
 */

import { type Commands, type Entry, entryCalled, isGroup } from "./command.ts";
import { boolean, setting, string } from "./flags.ts";
import { list } from "./list.ts";

/** Flags that stand anywhere on the line: before the command or after it. */
export const common = {
  root: setting("Where images and containers are kept", {
    placeholder: "DIR",
    variable: "KURMA_ROOT",
    fallback: "/var/lib/kurma",
  }),
  config: setting("Where hosts.yaml, policy.yaml and trust are", {
    placeholder: "DIR",
    variable: "KURMA_CONFIG",
    fallback: "/etc/kurma",
  }),
  host: string("Where the daemon is: PATH of its socket, tcp://HOST, ssh://USER@HOST, or HOST", {
    short: "H",
    placeholder: "HOST",
    variable: "KURMA_HOST",
  }),
  context: string("The context that says so, with a certificate; see kurma context", {
    placeholder: "CONTEXT",
    variable: "KURMA_CONTEXT",
  }),
  "no-daemon": boolean("Do without the daemon what can be done without: run, image"),
  "no-color": boolean("Write without colours, as with NO_COLOR=1 in the environment"),
  help: boolean("Show this help", { short: "h" }),
};

/**
 * The commonest commands, which come with what all of them load. The table of the others is in
 * {@link ./surface.ts}: it takes longer to read than a file takes to load.
 */
export const commonest: Commands = { list };

/**
 * What a word after `kurma` calls, by its name or by an alias, in letters of any case.
 *
 * @throws {UsageError} with the word that was probably meant, if there is none.
 */
export async function called(written: string): Promise<Entry> {
  const word = written.toLowerCase();
  if (Object.hasOwn(commonest, word)) return commonest[word];
  const { commands, top } = await import("./surface.ts");
  return Object.hasOwn(commands, word)
    ? await commands[word]()
    : await entryOf([], await top(), written);
}

/**
 * What `word` calls in `entry`, which the words of `path` call.
 *
 * @throws {UsageError} with the word that was probably meant, if there is none.
 */
export async function entryOf(
  path: readonly string[],
  entry: Entry,
  word: string,
): Promise<Entry> {
  const found = isGroup(entry) ? entryCalled(entry, word) : undefined;
  if (found) return found;
  const { unknown } = await import("./unknown.ts");
  throw unknown(path, entry, word);
}
