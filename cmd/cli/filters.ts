/**
 * `--filter KIND=VALUE`: what is asked of the daemon, and what of its answers.
 *
 * @module
 */

import { UsageError } from "./parse.ts";

/** What a filter may ask of the daemon. */
interface AnyQuery {
  readonly labels?: Readonly<Record<string, string>>;
}

/** What each kind of filter asks for: a part of the request, or a test of each answer. */
export type Filters<Query, Row> = Readonly<
  Record<string, (value: string) => Query | ((row: Row) => boolean)>
>;

/**
 * What `texts` ask for. Of the same kind any one is enough, but all labels count; of several
 * kinds, all count.
 *
 * @throws {UsageError} for one that is none of `filters`.
 */
export function filtered<Query extends AnyQuery, Row>(
  filters: Filters<Query, Row>,
  texts: readonly string[],
): { query: Query; fits: (row: Row) => boolean } {
  let query = {} as Query;
  const tests = new Map<string, ((row: Row) => boolean)[]>();
  for (const text of texts) {
    const end = text.indexOf("=");
    const kind = text.slice(0, Math.max(end, 0));
    if (end < 1 || !Object.hasOwn(filters, kind)) {
      throw new UsageError(
        `Cannot use "${text}" for --filter`,
        `Write KIND=VALUE, where KIND is one of ${Object.keys(filters).join(", ")}`,
      );
    }
    const asked = filters[kind](text.slice(end + 1));
    if (typeof asked === "function") tests.set(kind, [...tests.get(kind) ?? [], asked]);
    else query = { ...query, ...asked, labels: { ...query.labels, ...asked.labels } };
  }
  const fits = (row: Row) => [...tests.values()].every((any) => any.some((test) => test(row)));
  return { query, fits };
}

/** The filter of labels: `NAME`, whatever its value, or `NAME=VALUE`. */
export function labelFilter(value: string): { labels: Record<string, string> } {
  const [name, ...rest] = value.split("=");
  return { labels: { [name]: rest.join("=") } };
}
