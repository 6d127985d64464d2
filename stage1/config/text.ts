/**
 * What people read about the settings: an example to start from, and the reference.
 *
 * @module
 */

import { stringify } from "yaml";
import { durationText, sizeText } from "../units.ts";
import { type Configuration, defaultFile, flagName, paths, variableName } from "./load.ts";
import { isSetting, type Section, type Setting, type Settings, settings } from "./settings.ts";

/** A file with every setting, each with what it is for; all but comments is commented out. */
export function exampleText(): string {
  const head = [
    `Settings of kurmad: ${defaultFile}, or the file that --config names.`,
    "A line without the # in front takes effect. What is given here are the defaults, or",
    "an example where the default is nothing.",
  ].map((line) => `# ${line}`);
  return [...head, "", ...exampleOf(settings, 0)].join("\n");
}

function exampleOf(section: Section, depth: number): string[] {
  const indent = "  ".repeat(depth);
  return Object.entries(section).flatMap(([name, entry]) => {
    if (!isSetting(entry)) {
      return [`${indent}#${name}:`, ...exampleOf(entry, depth + 1), ""];
    }
    if (entry.obsolete !== undefined) return [];
    const yaml = stringify({ [name]: shownValue(name, entry) }, { lineWidth: 90 }).trimEnd();
    const lines = yaml.split("\n").map((line) => `${indent}#${line}`);
    const help = wrapped(entry.help, 88 - indent.length).map((line) => `${indent}# ${line}`);
    return depth === 0 ? [...help, ...lines, ""] : [...help, ...lines];
  });
}

/** The reference, as Markdown. */
export function referenceText(): string {
  const rows = [...paths].map(([path, setting]) => {
    const { help, reloads, obsolete } = setting;
    const value = obsolete === undefined ? defaultText(path, setting) : "";
    const says = obsolete === undefined ? help : `${help} Does nothing: ${obsolete}.`;
    return `| \`${path}\` | ${value} | ${reloads ? "yes" : ""} | ${says} |`;
  });
  return [
    "| setting | default | SIGHUP | what it is for |",
    "| --- | --- | --- | --- |",
    ...rows,
  ].join("\n");
}

/** What there is to say of settings that are in order: notes, then from where they are. */
export function checkedText({ file, notes, pods }: Configuration): string {
  const subject = file === undefined ? "There is no file; the defaults are" : `${file} is`;
  return [...notes, `${subject} in order: ${pods.length} initial pods`].join("\n");
}

/** All settings with their values, as one would write them: sections in sections. */
export function effective(values: Settings): object {
  return effectiveOf(settings, values, "");
}

type Tree = Readonly<Record<string, unknown>>;

function effectiveOf(section: Section, values: Tree, before: string): Tree {
  const entries = Object.entries(section).flatMap(([name, entry]) => {
    if (!isSetting(entry)) {
      return [[name, effectiveOf(entry, values[name] as Tree, `${before}${name}.`)]];
    }
    return entry.obsolete === undefined ? [[name, readable(before + name, values[name])]] : [];
  });
  return Object.fromEntries(entries);
}

/** Each setting's flag and variable, for the help. */
export function overridesText(): string {
  const rows = [...paths].filter(([, { obsolete }]) => obsolete === undefined)
    .map(([path]) => [`--${flagName(path)}=VALUE`, variableName(path)]);
  const width = Math.max(...rows.map(([flag]) => flag.length));
  return rows.map(([flag, variable]) => `  ${flag.padEnd(width)}  ${variable}`).join("\n");
}

function shownValue(path: string, { example, fallback }: Setting<unknown>): unknown {
  return example ?? readable(path, fallback);
}

function defaultText(path: string, { fallback }: Setting<unknown>): string {
  const value = readable(path, fallback);
  if (value === "" || (Array.isArray(value) && value.length === 0)) return "";
  return `\`${typeof value === "object" ? JSON.stringify(value) : value}\``;
}

/** Times, sizes and permissions as one would write them. */
function readable(path: string, value: unknown): unknown {
  if (typeof value !== "number") return value;
  if (/(?:Size|Bytes)$/.test(path)) return sizeText(value);
  if (/Limit$/.test(path)) return durationText(value);
  return /Permissions$/.test(path) ? `0o${value.toString(8)}` : value;
}

function wrapped(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines[lines.length - 1];
    if (line !== "" && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines;
}
