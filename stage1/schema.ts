/**
 * What outside data has to look like: the words that schemas are written in, and the
 * one way to check a value against them. It loads the library, so whoever starts fast
 * imports it when there is something to check.
 *
 * @module
 */

import * as v from "valibot";
import { KurmaError } from "../ffi/errors.ts";
import { quote } from "./images/sources/digest.ts";

/** A schema of `T`. */
export type Schema<T> = v.GenericSchema<unknown, T>;

/** What is wrong with one field. */
export interface FieldProblem {
  /** Where it is, as in `apps[1].mounts[0].target`; empty for the whole. */
  readonly path: string;
  /** What is wrong, as in `expected an absolute path, not "srv"`. */
  readonly problem: string;
}

/** Data from outside with fields that cannot be used: all of them are named. */
export class InvalidFields extends KurmaError {
  /** @param what What was read, as in `the container`. */
  constructor(what: string, readonly fields: readonly FieldProblem[], fix?: string) {
    const [{ path, problem }] = fields;
    const more = fields.length > 1 ? ` (and ${fields.length - 1} more)` : "";
    super("invalid", `Cannot use ${what}: ${path ? `${path}: ` : ""}${problem}${more}`, { fix });
  }
}

/** More problems than this help nobody. */
const maxProblems = 32;

/**
 * `value` as the schema takes it.
 *
 * @param what Names it in messages, as in `the container`.
 * @throws {InvalidFields}
 */
export function check<T>(schema: Schema<T>, value: unknown, what: string): T {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  throw new InvalidFields(
    what,
    result.issues.slice(0, maxProblems).map((issue) => ({
      path: pathText(issue.path ?? []),
      problem: problemOf(issue),
    })),
  );
}

/** `mounts[2].target` */
function pathText(path: readonly { readonly key: unknown }[]): string {
  return path.map(({ key }, at) => {
    if (typeof key === "number") return `[${key}]`;
    const name = String(key);
    if (/^[A-Za-z_][\w-]*$/.test(name)) return at === 0 ? name : `.${name}`;
    return `[${quote(name)}]`;
  }).join("");
}

/** A message that begins with "expected" wants to be followed by what there was. */
function problemOf({ message, input }: v.BaseIssue<unknown>): string {
  if (!message.startsWith("expected ")) return message;
  return `${message}, not ${shown(input)}`;
}

function shown(value: unknown): string {
  if (typeof value === "string") return quote(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  return value === undefined ? "nothing" : String(value);
}

/** The fields of `T`, each with its schema: the compiler misses none. */
type Fields<T> = { readonly [Name in keyof T]-?: Schema<T[Name]> };

/** An object with these fields and no others. */
export function object<T extends object>(fields: Fields<T>): Schema<T> {
  // Without a prototype, or a field called "constructor" would count as known.
  const entries = Object.assign(Object.create(null), fields) as Record<string, Schema<unknown>>;
  const known = Object.keys(entries).join(", ");
  return v.strictObject(entries, (issue) => {
    if (issue.expected === "never") return `unknown field; there are ${known}`;
    return issue.path ? "is missing" : "expected an object";
  }) as unknown as Schema<T>; // `Fields` ties each schema to the type of its field.
}

/** A field that may be left out. */
export function optional<T>(schema: Schema<T>): Schema<T | undefined> {
  return v.optional(schema);
}

/** As {@linkcode optional}, where `null` means the same, as JSON of other programs has it. */
export function absent<T>(schema: Schema<T>): Schema<T | undefined> {
  return v.pipe(v.nullish(schema), v.transform((value) => value ?? undefined));
}

/** Anything at all: what reads it later checks it. */
export const unchecked: Schema<unknown> = v.unknown();

/** A schema with one more condition on what it takes. */
export function where<T>(
  schema: Schema<T>,
  condition: (value: T) => boolean,
  expected: string,
): Schema<T> {
  return v.pipe(schema, v.check(condition, `expected ${expected}`));
}

/**
 * A schema with a rule that looks at several fields and names the one that is wrong.
 *
 * @param rule Yields the path within the value, and what is wrong there.
 */
export function consistent<T>(
  schema: Schema<T>,
  rule: (value: T) => Iterable<readonly [path: readonly (string | number)[], problem: string]>,
): Schema<T> {
  return v.pipe(
    schema,
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      for (const [path, message] of rule(dataset.value)) {
        addIssue({ message, path: pathItems(dataset.value, path) });
      }
    }),
  );
}

function pathItems(value: unknown, keys: readonly (string | number)[]) {
  return keys.map((key) => ({
    type: "unknown" as const,
    origin: "value" as const,
    input: value,
    key,
    value,
  })) as unknown as [v.UnknownPathItem, ...v.UnknownPathItem[]];
}

/** Text of at most `max` characters without NUL. */
export function text(max: number, expected = `text of at most ${max} characters`): Schema<string> {
  return v.pipe(
    v.string(`expected ${expected}`),
    v.check((value) => value.length <= max && !value.includes("\0"), `expected ${expected}`),
  );
}

/** Text that matches `pattern` as a whole. */
export function pattern(pattern: RegExp, expected: string): Schema<string> {
  return v.pipe(
    v.string(`expected ${expected}`),
    v.check((value) => value.length <= 4096 && pattern.test(value), `expected ${expected}`),
  );
}

/** As {@linkcode pattern} for what may be a secret of `max` characters: no message repeats it. */
export function secret(pattern: RegExp, max: number, expected: string): Schema<string> {
  return v.pipe(
    v.string(`is not ${expected}`),
    v.check((value) => value.length <= max && pattern.test(value), `is not ${expected}`),
  );
}

/** One of a few words. */
export function word<const Word extends string>(...words: readonly Word[]): Schema<Word> {
  return v.picklist(words, `expected ${list(words)}`);
}

/** A whole number from `min` to `max`. */
export function integer(min: number, max: number, unit = ""): Schema<number> {
  const expected = `expected a whole number${unit && ` of ${unit}`} from ${min} to ${max}`;
  return v.pipe(
    v.number(expected),
    v.check((value) => Number.isSafeInteger(value) && value >= min && value <= max, expected),
  );
}

/** A number from `min` to `max`. */
export function number(min: number, max: number): Schema<number> {
  const expected = `expected a number from ${min} to ${max}`;
  return v.pipe(
    v.number(expected),
    v.check((value) => value >= min && value <= max, expected),
  );
}

export const boolean: Schema<boolean> = v.boolean("expected true or false");

/** At most `max` of these. */
export function listOf<T>(item: Schema<T>, max: number): Schema<readonly T[]> {
  return v.pipe(
    v.array(item, "expected a list"),
    v.maxLength(max, `expected at most ${max} items`),
  );
}

/** At most `max` values by name. */
export function mapOf<T>(
  name: Schema<string>,
  value: Schema<T>,
  max: number,
): Schema<Readonly<Record<string, T>>> {
  // Not v.record: it passes over entries called "constructor" or "prototype" silently.
  return v.pipe(
    v.custom<Record<string, unknown>>(
      (input) => typeof input === "object" && input !== null && !Array.isArray(input),
      "expected an object",
    ),
    v.transform((input) => Object.entries(input)),
    v.maxLength(max, `expected at most ${max} entries`),
    v.rawTransform<[string, unknown][], Record<string, T>>(({ dataset, addIssue, NEVER }) => {
      const entries: [string, T][] = [];
      let good = true;
      for (const [key, input] of dataset.value) {
        const pairs: [Schema<unknown>, unknown][] = [[name, key], [value, input]];
        for (const [schema, given] of pairs) {
          const result = v.safeParse(schema, given);
          if (result.success) continue;
          good = false;
          const [issue] = result.issues;
          const inside = (issue.path ?? []).map(({ key }) => key as string | number);
          addIssue({
            message: issue.message,
            input: issue.input,
            path: pathItems(given, [key, ...inside]),
          });
        }
        if (good) entries.push([key, v.parse(value, input)]);
      }
      return good ? Object.fromEntries(entries) : NEVER; // Any name is data, __proto__ too.
    }),
  );
}

/** Objects of several kinds; the field `key` tells which. */
export function kinds<T extends { readonly [K in Key]: string }, Key extends keyof T & string>(
  key: Key,
  variants: { readonly [Kind in T[Key]]: Schema<Extract<T, { readonly [K in Key]: Kind }>> },
): Schema<T> {
  const names = Object.keys(variants);
  const schemas = variants as unknown as Readonly<Record<string, Schema<T>>>;
  return v.lazy((input) => {
    const kind = typeof input === "object" && input !== null
      ? (input as Record<string, unknown>)[key]
      : undefined;
    if (typeof kind === "string" && Object.hasOwn(schemas, kind)) return schemas[kind];
    return v.looseObject(
      { [key]: word(...names) },
      (issue) => issue.path ? "is missing" : "expected an object",
    ) as unknown as Schema<T>; // It takes nothing: the kind is none of them.
  });
}

/** Either of two; `expected` says both. */
export function either<A, B>(a: Schema<A>, b: Schema<B>, expected: string): Schema<A | B> {
  return v.union([a, b], `expected ${expected}`);
}

/** Text of one kind, or an object of another. */
export function textOr<A extends string, B extends object>(
  text: Schema<A>,
  object: Schema<B>,
): Schema<A | B> {
  return v.lazy((input) => (typeof input === "string" ? text : object) as Schema<A | B>);
}

/** Whether the schema takes `value`. */
export function accepts(schema: Schema<unknown>, value: unknown): boolean {
  return v.is(schema, value);
}

/** The schema's values, changed. `change` throws nothing: what it cannot take, `schema` refuses. */
export function changed<A, B>(schema: Schema<A>, change: (value: A) => B): Schema<B> {
  return v.pipe(schema, v.transform(change));
}

/** A path of the host or of a container: absolute, without `..`, at most 4,095 bytes. */
export const absolutePath: Schema<string> = where(
  pattern(/^\/(?!(?:.*\/)?\.\.(?:\/|$))[^\0]*$/s, "an absolute path without .."),
  fitsPath,
  "a path of at most 4095 bytes",
);

/** A path below something: relative, without `..`. */
export const relativePath: Schema<string> = where(
  pattern(/^(?!\/)(?!(?:.*\/)?\.\.(?:\/|$))[^\0]+$/s, "a relative path without .."),
  fitsPath,
  "a path of at most 4095 bytes",
);

/** PATH_MAX, less the NUL. */
function fitsPath(path: string): boolean {
  return new TextEncoder().encode(path).length <= 4_095;
}

/** What containers, pods and volumes are called: a folder and a cgroup may be named so. */
export const name: Schema<string> = pattern(
  /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/,
  "a name of letters, digits, _ . - after a first letter or digit, at most 128",
);

/** @see RFC 1123, section 2.1; sethostname(2) for the length */
export const hostname: Schema<string> = pattern(
  /^(?=.{1,64}$)[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*$/,
  "a host name of at most 64 letters, digits, hyphens and dots",
);

/** Milliseconds: from none at all to a hundred days. */
export const milliseconds: Schema<number> = integer(0, 8_640_000_000, "milliseconds");

/** A number of bytes. */
export const bytes: Schema<number> = integer(0, Number.MAX_SAFE_INTEGER, "bytes");

function list(words: readonly string[]): string {
  const quoted = words.map((each) => `"${each}"`);
  return quoted.length === 1
    ? quoted[0]
    : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1) ?? ""}`;
}
