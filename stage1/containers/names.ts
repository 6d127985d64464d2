/**
 * Names and ids of containers, pods and volumes: what they may be, and how one that a
 * user writes is found, the same everywhere.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";

/** Names become folders, hostnames and cgroups: nothing else is let in. */
const namePattern = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/;

/** Fewer digits of an id say too little; images have the same rule. */
const minDigits = 4;

/** What is found by a name or an id. */
export interface Named {
  readonly id: string;
  readonly name: string;
}

/** A kind of thing, as messages call it. */
export type Kind = "container" | "pod" | "volume";

/** A new id: 32 random hexadecimal digits, a version 4 UUID without its hyphens. */
export function newId(): string {
  return crypto.randomUUID().replaceAll("-", "");
}

/**
 * Lets a name through that can be one.
 *
 * @throws {KurmaError} `invalid`.
 */
export function checkName(kind: Kind, name: string): string {
  if (namePattern.test(name)) return name;
  throw new KurmaError("invalid", `Cannot name a ${kind} ${shown(name)}`, {
    fix: "Use letters, digits, _ . - after a first letter or digit, 128 at most",
  });
}

/**
 * The one that `text` means: a whole id (a UUID's hyphens do not matter), a name, or the
 * first digits of an id, four at least. A name goes before digits.
 *
 * @throws {KurmaError} `missing`: there is none; `invalid`: it may be several.
 */
export function findNamed<Value extends Named>(
  kind: Kind,
  all: Iterable<Value>,
  text: string,
): Value {
  const values = [...all];
  const id = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)
    ? text.replaceAll("-", "")
    : text;
  const exact = values.find((value) => value.id === id) ??
    values.find((value) => value.name === text);
  if (exact !== undefined) return exact;
  const found = /^[0-9a-f]+$/.test(text) && text.length >= minDigits
    ? values.filter((value) => value.id.startsWith(text))
    : [];
  if (found.length === 1) return found[0];
  if (found.length === 0) {
    throw new KurmaError("missing", `Cannot find ${kind} ${shown(text)}: there is none`, {
      fix: "List what there is; a name, an id or its first four digits will do",
    });
  }
  const candidates = found.slice(0, 10).map(({ name }) => name).join(", ");
  throw new KurmaError(
    "invalid",
    `Cannot choose a ${kind} by ${shown(text)}: it may be ${candidates}`,
    { fix: "Write more digits of the id, or the name" },
  );
}

/** A name in a message: quoted, and not longer than a name may be. */
function shown(name: string): string {
  return JSON.stringify(name.length > 140 ? `${name.slice(0, 128)}…` : name);
}
