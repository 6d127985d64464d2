/**
 * Commands that do one thing to each of the containers, pods or volumes that they are given,
 * and say so once it is done.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { ApiClient } from "../../stage1/api/client.ts";
import { type Command, command, type Example, type Flags, type FlagValues } from "./command.ts";
import { toEach } from "./each.ts";
import { boolean } from "./flags.ts";
import { daemon } from "./host.ts";
import { structured, textOutput } from "./output.ts";

type Output = "text" | "json" | "yaml";

/** What was done to one. */
export interface Done {
  /** What to print. Default: what it was called by. */
  readonly text?: string;
  /** What the daemon answered. */
  readonly answer?: object;
}

/**
 * A command that takes several things of one kind.
 *
 * As text it prints a line for each, what it was called by; as JSON a list of objects with
 * that as their `reference`, and what the daemon answered. What fails is told and keeps none
 * of the others from their turn.
 *
 * @param kind The name of the argument.
 * @param act Does it; undefined if there was nothing to do it to.
 */
export function moving<F extends Flags>(
  kind: "container" | "pod" | "volume",
  spec: {
    summary: string;
    aliases?: readonly string[];
    details?: readonly string[];
    flags: F;
    instead?: Readonly<Record<string, string>>;
    examples: readonly Example[];
  },
  act: (api: ApiClient, reference: string, flags: FlagValues<F>) => Promise<Done | undefined>,
): Command {
  type Given = FlagValues<F>;
  const flags: Flags = { ...spec.flags, output: textOutput };
  return command({
    ...spec,
    flags,
    args: [`${kind}+`],
    async run(context, args, values) {
      const { output } = values as { output: Output };
      const api = await daemon(context);
      const { done, status } = await toEach(
        args[kind],
        async (reference) => ({ reference, done: await act(api, reference, values as Given) }),
      );
      const told = done.flatMap(({ reference, done }) => done ? [{ reference, ...done }] : []);
      const text = output === "text"
        ? told.map(({ reference, text }) => text ?? reference).join("\n")
        : await structured(told.map(({ reference, answer }) => ({ reference, ...answer })), output);
      return { text, status };
    },
  });
}

/** The flag of commands that remove. */
export function force(summary: string) {
  return boolean(`${summary}; one that is not there is passed over`, { short: "f" });
}

/** What `remove` did; undefined if there was nothing to remove and that is well. */
export async function removed(
  isForced: boolean,
  remove: () => Promise<object>,
): Promise<Done | undefined> {
  try {
    return { answer: await remove() };
  } catch (error) {
    if (isForced && error instanceof KurmaError && error.code === "missing") return undefined;
    throw error;
  }
}
