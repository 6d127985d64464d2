/**
 * The YAML library, behind a module that is imported when there is YAML to read. Imported
 * by name here, because bundled as CommonJS it would give `import()` no names.
 *
 * @module
 */

import { parseDocument } from "yaml";
import { isObject, type JsonObject } from "./json.ts";

/**
 * Reads one YAML 1.2 document that is a mapping; an empty one is an empty mapping. What
 * the library would only warn of, such as a tag that nobody knows, is wrong here.
 *
 * @param wrong Makes the error to throw, of one line that says what is wrong and where.
 */
export function parseMapping(text: string, wrong: (why: string) => Error): JsonObject {
  let document: unknown;
  try {
    const parsed = parseDocument(text);
    const [problem] = [...parsed.errors, ...parsed.warnings];
    if (problem !== undefined) throw problem;
    document = parsed.toJS() ?? {};
  } catch (cause) {
    throw wrong(cause instanceof Error ? cause.message.split("\n")[0] : "it is not YAML");
  }
  if (!isObject(document)) throw wrong("it is not a mapping");
  return document;
}
