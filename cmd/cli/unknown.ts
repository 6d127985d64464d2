/**
 * What to say to words that call nothing.
 *
 * @module
 */

import { roleOf } from "../personalities.ts";
import { closest } from "./closest.ts";
import { type Entry, isGroup } from "./command.ts";
import { UsageError } from "./parse.ts";
import { roles } from "./surface.ts";

/** The error of `word`, which calls nothing in `entry`, which the words of `path` call. */
export function unknown(path: readonly string[], entry: Entry, word: string): UsageError {
  if (path.length === 0 && roleOf(word)) {
    return new UsageError(
      `"${word}" is a role of this program, and no flag stands before it`,
      `Write kurma ${word} first, and then its own flags; see kurma ${word} --help`,
    );
  }
  const known = isGroup(entry) ? Object.keys(entry.commands) : [];
  const meant = closest(
    word,
    path.length > 0 ? known : [...known, ...roles().map(([role]) => role)],
  );
  const before = ["kurma", ...path].join(" ");
  const { elsewhere = {} } = isGroup(entry) ? entry : {};
  return new UsageError(
    `Unknown command "${[...path, word].join(" ")}"`,
    Object.hasOwn(elsewhere, word)
      ? elsewhere[word]
      : meant
      ? `Did you mean ${before} ${meant}?`
      : `See ${before} --help`,
  );
}
