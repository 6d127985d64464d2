/**
 * Help, written from the table.
 *
 * @module
 */

import { type Paint, unpainted } from "../colour.ts";
import { roleHelp, roleOf } from "../personalities.ts";
import {
  type Command,
  type Entry,
  type Example,
  type Flags,
  type Group,
  isGroup,
  usage,
  writtenOut,
} from "./command.ts";
import { called, common as commonFlags, entryOf } from "./commands.ts";
import type { Flag } from "./flags.ts";
import { roles, top } from "./surface.ts";
import { shortcuts } from "./words.ts";

/** Text is written for no less and no more than this, however wide the terminal is. */
const width = { least: 40, most: 100 };

/** Names stand in a column of their own, unless they would take more than this. */
const widestName = 28;

/**
 * Help about what `words` call: a command, a group, a role of the program, or all of it.
 *
 * @throws {UsageError} if nothing is called so.
 */
export async function helpFor(
  words: readonly string[],
  columns: number,
  paint: Paint = unpainted,
): Promise<string> {
  const role = words.length === 1 ? roleOf(words[0]) : undefined;
  if (role && roles().some(([word]) => word === words[0])) return roleHelp(role);
  const written = writtenOut({ shortcuts }, words);
  const [first, ...rest] = written;
  let entry: Entry = first === undefined ? await top() : await called(first);
  for (const [index, word] of rest.entries()) {
    entry = await entryOf(written.slice(0, index + 1), entry, word);
  }
  const path = ["kurma", ...written].join(" ").toLowerCase();
  return isGroup(entry)
    ? groupHelp(path, entry, first === undefined ? roles() : [], commonFlags, columns, paint)
    : commandHelp(path, entry, commonFlags, columns, paint);
}

/** What `kurma COMMAND --help` says. `common` are the flags that every command has. */
export function commandHelp(
  path: string,
  command: Command,
  common: Flags,
  columns: number,
  paint: Paint = unpainted,
): string {
  const { flags } = command;
  return page([
    filled(command.summary, columns),
    headed(usage(path, command), paint),
    command.aliases ? `Also called ${command.aliases.join(", ")}.` : "",
    ...(command.details ?? []).map((paragraph) => filled(paragraph, columns)),
    headed(table("Flags", flagRows(flags), columns), paint),
    headed(table("Flags of every command", flagRows(common), columns), paint),
    headed(examples(command.examples, columns), paint),
  ]);
}

/** What `kurma --help` and `kurma image --help` say. */
export function groupHelp(
  path: string,
  group: Group,
  roles: readonly (readonly [string, string])[],
  common: Flags,
  columns: number,
  paint: Paint = unpainted,
): string {
  const rows = Object.entries(group.commands)
    .filter(([, entry]) => isGroup(entry) || !entry.hidden)
    .map(([word, { summary }]) => [word, summary] as const);
  return page([
    filled(group.summary, columns),
    headed(`Usage: ${path} [FLAG...] COMMAND [ARGUMENT...]`, paint),
    headed(table("Commands", rows, columns), paint),
    headed(filled(shortcutsText(group), columns), paint),
    headed(table("Other roles of this program", roles, columns), paint),
    headed(table("Flags of every command", flagRows(common), columns), paint),
    headed(examples(group.examples, columns), paint),
    filled(`More about one: ${path} COMMAND --help`, columns),
  ]);
}

/** The words of other tools that work here, but for those whose place alone they take. */
function shortcutsText({ shortcuts = {} }: Group): string {
  const words = Object.entries(shortcuts).filter(([, words]) => words.length > 0)
    .map(([word, words]) => `${word} (${words.join(" ")})`);
  return words.length === 0 ? "" : `Also: ${words.join(", ")}.`;
}

/** `text` with what stands before its first colon in bold. */
function headed(text: string, paint: Paint): string {
  const end = text.indexOf(":") + 1;
  return paint(text.slice(0, end), "bold") + text.slice(end);
}

function page(parts: readonly string[]): string {
  return parts.filter((part) => part !== "").join("\n\n");
}

function flagRows(flags: Flags): [string, string][] {
  return Object.entries(flags).map(([name, flag]) => [flagName(name, flag), flagText(flag)]);
}

function flagName(name: string, { short, placeholder }: Flag<unknown>): string {
  const letter = short ? `-${short}, ` : "    ";
  return `${letter}--${name}${placeholder === undefined ? "" : ` ${placeholder}`}`;
}

/** What a flag is for, with what there is to know about its values. */
export function flagText({ summary, choices, repeated, variable, absent }: Flag<unknown>): string {
  const notes = [
    choices && choices.join(", "),
    repeated && "repeatable",
    variable && `$${variable}`,
    absent,
  ].filter((note) => note);
  return notes.length > 0 ? `${summary} (${notes.join("; ")})` : summary;
}

/** A heading over rows of a name and what it means, the meanings in one column. */
function table(
  heading: string,
  rows: readonly (readonly [string, string])[],
  columns: number,
): string {
  if (rows.length === 0) return "";
  const names = rows.map(([name]) => name.length).filter((length) => length <= widestName);
  const indent = 2 + Math.max(0, ...names) + 2;
  const lines = rows.flatMap(([name, text]) => {
    const [first, ...rest] = wrap(text, columns, indent);
    const below = rest.map((line) => " ".repeat(indent) + line);
    const fits = name.length + 4 <= indent;
    return fits
      ? [`  ${name}`.padEnd(indent) + first, ...below]
      : [`  ${name}`, " ".repeat(indent) + first, ...below];
  });
  return [`${heading}:`, ...lines].join("\n");
}

function examples(list: readonly Example[], columns: number): string {
  if (list.length === 0) return "";
  const lines = list.flatMap(([line, effect]) => [
    `  ${line}`,
    ...wrap(effect, columns, 6).map((part) => " ".repeat(6) + part),
  ]);
  return ["Examples:", ...lines].join("\n");
}

function filled(text: string, columns: number): string {
  return wrap(text, columns, 0).join("\n");
}

/** `text` in lines that fit beside `indent` columns; a longer word has a line of its own. */
export function wrap(text: string, columns: number, indent: number): string[] {
  const room = Math.min(Math.max(columns, width.least), width.most) - indent;
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > room) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
