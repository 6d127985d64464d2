/**
 * Manual pages, written from the table.
 *
 * @module
 */

import { type Command, type Entry, type Flags, isGroup, usage } from "./command.ts";
import { flagText } from "./help.ts";

import { statuses } from "./statuses.ts";

/** The first line of each page, by which it is known as ours. */
export const mark = '.\\" Written by kurma install --man.';

/** A page of section 1. */
export interface Page {
  /** `kurma-image-list.1` */
  readonly file: string;
  /** What man(7) macros make of it. */
  readonly text: string;
}

/** The pages of everything below `entry` that people call. */
export function manPages(
  entry: Entry,
  common: Flags,
  version: string,
  path: readonly string[] = ["kurma"],
): Page[] {
  if (!isGroup(entry)) {
    return entry.hidden ? [] : [page(path, entry, version, commandSections(path, entry, common))];
  }
  const words = Object.entries(entry.commands).filter(([, each]) => isGroup(each) || !each.hidden);
  const sections = [
    ...section("SYNOPSIS", [`.B ${escaped(path.join(" "))}`, "[FLAG...] COMMAND [ARGUMENT...]"]),
    ...section(
      "COMMANDS",
      words.flatMap(([word, { summary }]) => item(bold(word), summary)),
    ),
    ...flagSection("OPTIONS OF EVERY COMMAND", common),
    ...exampleSection(entry),
    ...path.length > 1 ? [] : [
      ...section(
        "ENVIRONMENT",
        variables(common).flatMap(([name, text]) => item(bold(name), text)),
      ),
      ...section("EXIT STATUS", statuses.flatMap(([status, text]) => item(bold(status), text))),
    ],
    ...section("SEE ALSO", [words.map(([word]) => `.BR ${named([...path, word])} (1)`).join("\n")]),
  ];
  return [
    page(path, entry, version, sections),
    ...words.flatMap(([word, each]) => manPages(each, common, version, [...path, word])),
  ];
}

function page(
  path: readonly string[],
  { summary }: Entry,
  version: string,
  sections: string[],
): Page {
  const title = named(path);
  return {
    file: `${path.join("-")}.1`,
    text: [
      mark,
      `.TH ${title.toUpperCase()} 1 "" "Kurma ${escaped(version)}" "Kurma"`,
      ".SH NAME",
      `${title} \\- ${escaped(summary)}`,
      ...sections,
      "",
    ].join("\n"),
  };
}

function commandSections(path: readonly string[], command: Command, common: Flags): string[] {
  const name = path.join(" ");
  const rest = usage(name, command).slice(`Usage: ${name}`.length).trim();
  return [
    ...section("SYNOPSIS", [`.B ${escaped(name)}`, ...(rest ? [escaped(rest)] : [])]),
    ...section(
      "DESCRIPTION",
      [
        ...command.aliases ? [`Also called ${command.aliases.join(", ")}.`] : [],
        ...command.details ?? [],
      ].flatMap((text) => [".PP", escaped(text)]),
    ),
    ...flagSection("OPTIONS", command.flags),
    ...flagSection("OPTIONS OF EVERY COMMAND", common),
    ...exampleSection(command),
    ...section("SEE ALSO", [`.BR ${named(path.slice(0, -1))} (1)`]),
  ];
}

function flagSection(heading: string, flags: Flags): string[] {
  return section(
    heading,
    Object.entries(flags).flatMap(([name, flag]) => {
      const { short, placeholder } = flag;
      const names = [...(short ? [`-${short}`] : []), `--${name}`].map(bold).join(", ");
      const value = placeholder ? ` \\fI${escaped(placeholder)}\\fR` : "";
      return item(names + value, flagText(flag));
    }),
  );
}

/** What the environment may say to every command. */
function variables(common: Flags): (readonly [name: string, text: string])[] {
  return [
    ...Object.values(common).flatMap(({ variable, summary }) =>
      variable === undefined ? [] : [[variable, summary] as const]
    ),
    ["NO_COLOR", "If it is not empty: write without colours, also on a terminal"],
    ["CLICOLOR_FORCE, FORCE_COLOR", "If one is neither empty nor 0: colours in a pipe as well"],
  ];
}

function exampleSection({ examples }: Entry): string[] {
  return section("EXAMPLES", examples.flatMap(([line, effect]) => item(bold(line), effect)));
}

function section(heading: string, lines: readonly string[]): string[] {
  return lines.length > 0 ? [`.SH ${heading}`, ...lines] : [];
}

/** A tagged paragraph; `tag` is markup already. */
function item(tag: string, text: string): string[] {
  return [".TP", tag, escaped(text)];
}

function bold(text: string): string {
  return `\\fB${escaped(text)}\\fR`;
}

/** `kurma\-image\-list` */
function named(path: readonly string[]): string {
  return escaped(path.join("-"));
}

/** Text in which roff sees no command, no quotes that turn, and hyphens that can be copied. */
function escaped(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replaceAll("'", "\\(aq")
    .replaceAll("`", "\\(ga").replaceAll('"', "\\(dq").replace(/^\./, "\\&.");
}
