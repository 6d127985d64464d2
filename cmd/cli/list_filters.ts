/**
 * The filters of `kurma list`.
 *
 * @module
 */

import type { MessageJsonType } from "@bufbuild/protobuf";
import type { ListContainersRequestSchema } from "../../stage1/api/kurma.gen.ts";
import { filtered, type Filters, labelFilter } from "./filters.ts";
import { type Container, stateOf, states } from "./list.ts";
import { UsageError } from "./parse.ts";

type Query = MessageJsonType<typeof ListContainersRequestSchema>;

/** The filter of states, in the words of {@linkcode statusOf}. */
export function statusFilter<Row extends { readonly state?: Container["state"] }>(
  value: string,
  paused: (row: Row) => boolean,
): (row: Row) => boolean {
  if (value === "paused") return paused;
  if (!states.includes(value)) {
    throw new UsageError(
      `Cannot use "status=${value}" for --filter`,
      `A status is one of ${[...states, "paused"].join(", ")}`,
    );
  }
  return (row) => stateOf(row) === value;
}

const filters: Filters<Query, Container> = {
  name: (value) => ({ name = "" }) => name.includes(value),
  id: (value) => ({ id = "" }) => id.startsWith(value),
  status: (value) => statusFilter(value, ({ paused }) => paused === true),
  label: labelFilter,
  image: (value) => ({ image: value }),
  ancestor: (value) => ({ image: value }),
  pod: (value) => ({ pod: value }),
};

/** What `texts` ask for, as {@linkcode filtered} tells. */
export function listFiltered(texts: readonly string[]) {
  return filtered(filters, texts);
}
