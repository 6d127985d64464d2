/**
 * `kurmad config`, and what kurmad's command line says about settings.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { KurmaError } from "../ffi/errors.ts";
import {
  type Configuration,
  flagName,
  loadConfiguration,
  paths,
  type Sources,
} from "../stage1/config/load.ts";

/** What a command line of kurmad says. */
export interface CommandLine extends Pick<Sources, "file" | "flags"> {
  readonly help: boolean;
  /** What is no flag: empty to serve, `config check` and the like. */
  readonly words: readonly string[];
}

/** Booleans may stand without a value. */
const switches = new Set(
  [...paths].filter(([, { fallback }]) => typeof fallback === "boolean")
    .map(([path]) => flagName(path)),
);

/**
 * Reads kurmad's arguments: `--config FILE`, a flag for each setting, and words. The
 * original's `-configFile FILE` is `--config FILE`.
 *
 * @throws {KurmaError} `invalid`: an unknown flag, or one without its value.
 */
export function readCommandLine(args: readonly string[]): CommandLine {
  const given = args.map((arg) => arg.replace(/^--?configFile(?==|$)/, "--config"));
  const names = new Map([...paths.keys()].map((path) => [flagName(path), path]));
  const strings = [...names.keys(), "config"].filter((name) => !switches.has(name));
  const { tokens } = parseArgs({
    args: given,
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: {
      ...Object.fromEntries(strings.map((name) => [name, { type: "string" as const }])),
      help: { type: "boolean", short: "h" },
    },
  });
  const words: string[] = [];
  const flags = new Map<string, string>();
  let file: string | undefined;
  let help = false;
  for (const token of tokens) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind !== "option") continue;
    const path = names.get(token.name);
    const value = token.value ?? (switches.has(token.name) ? "true" : undefined);
    if (token.name === "help") help = true;
    else if (token.name !== "config" && path === undefined) {
      throw new KurmaError("invalid", `Unknown flag "${token.rawName}"`, {
        fix: "See kurmad --help",
      });
    } else if (value === undefined) {
      throw new KurmaError("invalid", `Flag ${token.rawName} needs a value`, {
        fix: `Write ${token.rawName}=VALUE`,
      });
    } else if (path === undefined) file = value;
    else flags.set(path, value);
  }
  return { file, flags, help, words };
}

/** The settings that a command line and the environment come to. */
export async function configure(
  { file, flags }: CommandLine,
  environment: Readonly<Record<string, string>>,
): Promise<Configuration> {
  return await loadConfiguration({ ...(file === undefined ? {} : { file }), flags, environment });
}

/**
 * `kurmad config check [FILE]` and `kurmad config example`.
 *
 * @returns What to print.
 * @throws {KurmaError} `invalid`: what is wrong with the settings, or with the words.
 */
export async function configCommand(
  line: CommandLine,
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  const [, verb, file, ...more] = line.words;
  if (verb === "example" && file === undefined) {
    const { exampleText } = await import("../stage1/config/text.ts");
    return exampleText();
  }
  if (verb === "check" && more.length === 0) {
    const { checkedText } = await import("../stage1/config/text.ts");
    return checkedText(await configure(file === undefined ? line : { ...line, file }, environment));
  }
  throw new KurmaError("invalid", `Unknown command "${line.words.join(" ")}"`, {
    fix: "Write kurmad config check [FILE], or kurmad config example",
  });
}

/** What `kurmad --help` says. */
export async function helpText(): Promise<string> {
  const { overridesText } = await import("../stage1/config/text.ts");
  return [
    "The daemon: images, containers, API",
    "",
    "Usage: kurmad [--config FILE] [--SETTING=VALUE …]",
    "       kurmad config check [FILE]",
    "       kurmad config example",
    "",
    "Settings, by flag and by variable; docs/configuration.md explains them:",
    overridesText(),
  ].join("\n");
}
