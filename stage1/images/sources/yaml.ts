/**
 * The YAML library, behind a module that is imported when there is YAML to read. Imported
 * by name here, because bundled as CommonJS it would give `import()` no names.
 *
 * @module
 */

import { parse } from "yaml";

/**
 * Reads one YAML 1.2 document; an empty one is an empty mapping.
 *
 * @throws {Error} Its message's first line says what is wrong and where.
 */
export function parseYaml(text: string): unknown {
  return parse(text) ?? {};
}
