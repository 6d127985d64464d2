/**
 * The command line: finds the command in the table, runs it, prints what it says.
 *
 * @module
 */

import { KurmaError } from "../ffi/errors.ts";
import { type Entry, type Flags, isGroup, type Printed, writtenOut } from "./cli/command.ts";
import { called, common, entryOf } from "./cli/commands.ts";
import { absolute } from "./cli/context.ts";
import { boolean } from "./cli/flags.ts";
import { chosen, isAlone } from "./cli/host.ts";
import { interpret, read, type Split, withoutFlags } from "./cli/parse.ts";
import { printableLines } from "./cli/printable.ts";
import { commonInstead, shortcuts } from "./cli/words.ts";
import { paintFor, switchOff } from "./colour.ts";
import { complain, print, report } from "./print.ts";
import { versionText } from "./version.ts";

/** The status of a command line that cannot be carried out. */
const usageStatus = 2;

/** Runs one command line and returns its exit status. */
export async function main(args: readonly string[]): Promise<number> {
  let failure: number | undefined;
  try {
    const terminal = Deno.stdout.isTerminal();
    // A terminal that does not know its width says 0.
    const columns = (terminal && Deno.consoleSize().columns) || 80;
    const { path, entry, words, occurrences } = await walk(args);
    if (occurrences.has("version")) return print(versionText());
    if (occurrences.has("help")) return print(await helpOn(Deno.stdout, path, columns));
    if (entry === undefined || isGroup(entry)) {
      complain(await helpOn(Deno.stderr, path, columns));
      return usageStatus;
    }

    failure = entry.failure;
    const name = typed(path);
    const line = await parted(
      name,
      { ...common, ...entry.flags },
      words,
      entry.passthrough,
      { ...commonInstead, ...entry.instead },
    );
    if (line.occurrences.has("help")) return print(await helpOn(Deno.stdout, path, columns));
    if (line.occurrences.has("no-color")) switchOff();
    const env = Deno.env.toObject();
    const given = new Map([...occurrences, ...line.occurrences]);
    const { root, config, "no-daemon": _, ...daemon } = read(name, common, given, env);
    const input = interpret(name, entry, line, env);
    const result = await entry.run(
      {
        root: absolute(root),
        config: absolute(config),
        ...chosen(given, daemon),
        alone: isAlone(given, env),
        env,
        terminal,
        columns,
        paint: paintFor(Deno.stdout),
      },
      input.args,
      input.flags,
    );
    if (typeof result === "number") return result;
    const { text, status = 0, safe = false }: Printed = typeof result === "string"
      ? { text: result }
      : result;
    return (text === "" ? 0 : print(terminal && !safe ? printableLines(text) : text)) || status;
  } catch (error) {
    const { explain } = await import("./cli/failure.ts");
    const { cause, fix, status } = explain(error);
    report(cause, fix);
    if (failure === undefined) return status;
    // Where the status belongs to a command, shells have one for a command that cannot be run.
    return error instanceof KurmaError ? error.commandStatus ?? failure : failure;
  }
}

/** Help about what `path` calls, as `stream` shows it. */
async function helpOn(
  stream: { isTerminal(): boolean },
  path: readonly string[],
  columns: number,
): Promise<string> {
  const { helpFor } = await import("./cli/help.ts");
  return await helpFor(path, columns, paintFor(stream));
}

/** How far the words of a command line lead through the table. */
interface Walk {
  /** The words that were followed. */
  path: readonly string[];
  /** What they call; undefined if there are none. */
  entry: Entry | undefined;
  /** The words that are left for it. */
  words: readonly string[];
  /** The flags that stood in front of them. */
  occurrences: Split["occurrences"];
}

/** Follows `words` as far as they name groups and a command. */
async function walk(words: readonly string[]): Promise<Walk> {
  const path: string[] = [];
  const occurrences = new Map<string, readonly string[]>();
  let entry: Entry | undefined;
  while (entry === undefined || isGroup(entry)) {
    const flags: Flags = entry === undefined
      ? { ...common, version: boolean("Show the version", { short: "v" }) }
      : common;
    const level = await parted(typed(path), flags, words, true, commonInstead);
    for (const [flag, values] of level.occurrences) occurrences.set(flag, values);
    if (occurrences.has("no-color")) switchOff();
    const [word, ...rest] = writtenOut(entry ?? { shortcuts }, level.positionals);
    if (word === undefined || occurrences.has("help") || occurrences.has("version")) break;
    entry = entry === undefined ? await called(word) : await entryOf(path, entry, word);
    path.push(word.toLowerCase());
    words = rest;
  }
  return { path, entry, words, occurrences };
}

/** What split() comes to, which is loaded for lines that have flags. */
async function parted(
  path: string,
  flags: Flags,
  words: readonly string[],
  leading?: boolean,
  instead?: Readonly<Record<string, string>>,
): Promise<Split> {
  const plain = withoutFlags(words, leading);
  if (plain) return plain;
  const { split } = await import("./cli/split.ts");
  return split(path, flags, words, leading, instead);
}

/** The words that call an entry, as one would type them. */
function typed(path: readonly string[]): string {
  return ["kurma", ...path].join(" ");
}
