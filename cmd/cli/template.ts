/**
 * `--format`: a line of one's own for each row, as users of docker write it.
 *
 * @module
 */

import { UsageError } from "./parse.ts";

/** What stands between the braces: a path of fields, as JSON if it is asked for. */
const action = /^(json\s+)?(\.[\w.]*)$/;

/**
 * `value` as `template` says: `{{.name}}` is a field, `{{.settings.labels.app}}` one further
 * down, `{{json .}}` all of it. Fields are those of `--output json`, in any case; one that is
 * not there is empty. `\t` and `\n` are a tab and a line end.
 *
 * @throws {UsageError} for what is none of these.
 */
export function filledIn(template: string, value: unknown): string {
  return template.replaceAll(/\\([tn])/g, (_, letter) => letter === "t" ? "\t" : "\n")
    .replaceAll(/\{\{(.*?)\}\}/g, (whole, inner: string) => {
      const [, json, path] = action.exec(inner.trim()) ?? [];
      if (path === undefined) {
        throw new UsageError(
          `Cannot use "${whole}" for --format`,
          "It takes {{.field}}, {{.field.field}} and {{json .field}}; for more, use --output json and jq",
        );
      }
      const found = path.split(".").filter((name) => name !== "").reduce(field, value);
      if (json !== undefined) return JSON.stringify(found ?? null);
      if (found === undefined) return "";
      return typeof found === "object" ? JSON.stringify(found) : String(found);
    });
}

/** The field that `name` means: as it is written if there is one, otherwise in any case. */
function field(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(value);
  const lower = name.toLowerCase();
  return (entries.find(([key]) => key === name) ??
    entries.find(([key]) => key.toLowerCase() === lower))?.[1];
}
