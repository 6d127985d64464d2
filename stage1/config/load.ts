/**
 * kurmad's settings from a file, the environment and flags, in this order: the later
 * one counts.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { quote } from "../images/sources/digest.ts";
import { isObject, type JsonObject } from "../images/sources/json.ts";
import { readTrusted } from "../images/trust/files.ts";
import { absent, accepts, check, object, type Schema } from "../schema.ts";
import { initialPods, type NamedPod } from "./initial_pods.ts";
import { isSetting, type Section, type Setting, type Settings, settings } from "./settings.ts";

/** Where the file is if nobody names one. */
export const defaultFile = "/etc/kurma/kurmad.yml";

const maxBytes = 1024 * 1024;

/** What kurmad is to do. */
export interface Configuration {
  readonly settings: Settings;
  /** The directories that are not set, filled in. */
  readonly directories: Directories;
  /** What is to be there when kurmad has started. */
  readonly pods: readonly NamedPod[];
  /** What the administrator should know although nothing is wrong: a line each. */
  readonly notes: readonly string[];
  /** The file that was read; undefined if there was none. */
  readonly file: string | undefined;
}

export interface Directories {
  readonly state: string;
  readonly containers: string;
  readonly images: string;
  readonly volumes: string;
}

/** Where settings come from. */
export interface Sources {
  /** A file that has to be there; left out, {@linkcode defaultFile} if it is there. */
  readonly file?: string;
  /** Variables, of which those that begin with `KURMAD_` are read. */
  readonly environment?: Readonly<Record<string, string>>;
  /** By path, as in `log.level`: as text, as it stood on the command line. */
  readonly flags?: ReadonlyMap<string, string>;
}

/**
 * Reads and checks all settings.
 *
 * @throws {KurmaError} `invalid`: the fields that are wrong are named; `missing`: no such
 * file; `denied`: others may write the file.
 */
export async function loadConfiguration(sources: Sources): Promise<Configuration> {
  const { file, text } = await readFile(sources.file);
  const what = file === undefined ? "the settings" : quote(file);
  let document: JsonObject = {};
  if (text !== undefined) {
    const { parseMapping } = await import("../images/sources/yaml.ts");
    const wrong = (why: string) => new KurmaError("invalid", `Cannot read ${what}: ${why}`);
    document = parseMapping(text, wrong);
  }
  for (const [name, value] of Object.entries(sources.environment ?? {})) {
    if (!name.startsWith(prefix)) continue;
    const path = [...paths.keys()].find((path) => variableName(path) === name);
    if (path === undefined) {
      throw new KurmaError("invalid", `Cannot use the variable ${quote(name)}: no such setting`, {
        fix: `Setting log.level, for example, is the variable ${variableName("log.level")}`,
      });
    }
    document = put(document, path.split("."), await scalar(path, value));
  }
  for (const [path, value] of sources.flags ?? []) {
    document = put(document, path.split("."), await scalar(path, value));
  }
  return { ...checkSettings(document, what), file };
}

/**
 * Checks a whole document of settings.
 *
 * @param what Names it in messages.
 * @throws {KurmaError} `invalid`.
 */
export function checkSettings(document: unknown, what: string): Omit<Configuration, "file"> {
  const written = check(schema, document, what) as JsonObject;
  const checked = filled(settings, written) as Settings; // The table has the type of each.
  const state = checked.stateDirectory;
  return {
    settings: checked,
    directories: {
      state,
      containers: checked.podsDirectory || `${state}/containers`,
      images: checked.imagesDirectory || state,
      volumes: checked.volumesDirectory || `${state}/volumes`,
    },
    pods: initialPods(checked.initialPods, what),
    notes: notes(document),
  };
}

/** What differs: settings that take effect now, and those that wait for a restart. */
export function differences(before: Settings, after: Settings): { now: string[]; later: string[] } {
  const now: string[] = [];
  const later: string[] = [];
  for (const [path, setting] of paths) {
    if (JSON.stringify(at(before, path)) === JSON.stringify(at(after, path))) continue;
    (setting.reloads ? now : later).push(path);
  }
  return { now, later };
}

/** All settings by their paths, as in `log.level`. */
export const paths: ReadonlyMap<string, Setting<unknown>> = new Map(walk(settings, ""));

function* walk(section: Section, before: string): Iterable<[string, Setting<unknown>]> {
  for (const [name, entry] of Object.entries(section)) {
    if (isSetting(entry)) yield [before + name, entry];
    else yield* walk(entry, `${before}${name}.`);
  }
}

const prefix = "KURMAD_";

/** The variable of a setting: `KURMAD_LOG_LEVEL`. */
export function variableName(path: string): string {
  return prefix + words(path).join("_").toUpperCase();
}

/** The flag of a setting, without hyphens in front: `log-level`. */
export function flagName(path: string): string {
  return words(path).join("-").toLowerCase();
}

function words(path: string): string[] {
  return path.split(".").flatMap((name) => name.split(/(?=[A-Z])/));
}

const schema = schemaOf(settings);

/** What may be written: as much of it as one likes. */
function schemaOf(section: Section): Schema<object> {
  const fields = Object.entries(section).map(([name, entry]) => {
    return [name, absent(isSetting(entry) ? entry.schema : schemaOf(entry))] as const;
  });
  return object(Object.fromEntries(fields) as never);
}

/** What is written, and the defaults of what is not. */
function filled(section: Section, written: JsonObject): object {
  return Object.fromEntries(
    Object.entries(section).map(([name, entry]) => {
      const value = written[name];
      if (isSetting(entry)) return [name, value ?? entry.fallback];
      return [name, filled(entry, isObject(value) ? value : {})];
    }),
  );
}

/** Settings that are there and do nothing. */
function notes(document: unknown): string[] {
  if (!isObject(document)) return [];
  return [...paths].flatMap(([path, { obsolete }]) =>
    obsolete !== undefined && Object.hasOwn(document, path)
      ? [`Setting ${path} does nothing: ${obsolete}`]
      : []
  );
}

async function readFile(named: string | undefined) {
  const bytes = await readTrusted(named ?? defaultFile, maxBytes);
  if (bytes !== undefined) {
    return { file: named ?? defaultFile, text: new TextDecoder().decode(bytes) };
  }
  if (named === undefined) return { file: undefined, text: undefined };
  throw new KurmaError("missing", `Cannot read ${quote(named)}: no such file`, {
    fix: `Write one: kurmad config example >${named}`,
  });
}

/** Text as it is where the setting takes text, else what YAML makes of it. */
async function scalar(path: string, value: string): Promise<unknown> {
  const setting = paths.get(path);
  if (setting === undefined || accepts(setting.schema, value)) return value;
  const { parseMapping } = await import("../images/sources/yaml.ts");
  const wrong = (why: string) =>
    new KurmaError("invalid", `Cannot use ${quote(value)} for ${path}: ${why}`);
  return parseMapping(`value: ${value}`, wrong).value;
}

function put(document: JsonObject, [name, ...rest]: readonly string[], value: unknown): JsonObject {
  if (rest.length === 0) return { ...document, [name]: value };
  const inner = document[name];
  return { ...document, [name]: put(isObject(inner) ? inner : {}, rest, value) };
}

function at(values: object, path: string): unknown {
  return path.split(".").reduce<unknown>(
    (value, name) => isObject(value) ? value[name] : undefined,
    values,
  );
}
