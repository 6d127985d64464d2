/**
 * `kurma doctor`: what on this machine is in Kurma's way, and how to mend it.
 *
 * @module
 */

import type { Paint, Style } from "../colour.ts";
import { defaultSocket } from "../../stage1/api/socket.ts";
import { endpointName } from "../../stage1/api/endpoint.ts";
import { version } from "../version.ts";
import type { State, Told } from "../../stage1/doctor/checks.ts";
import { command, type Printed } from "./command.ts";
import type { Context } from "./context.ts";
import { boolean, choice } from "./flags.ts";
import { wrap } from "./help.ts";
import { endpoint } from "./host.ts";
import { structured } from "./output.ts";
import { UsageError } from "./parse.ts";
import { printable } from "./printable.ts";
import { type Column, table } from "./table.ts";

/** The status of a machine on which something has to be mended. */
const badStatus = 4;

export const doctor = command({
  summary: "Look at this machine for what is in Kurma's way, and say how to mend it",
  details: [
    "Looks at the kernel, namespaces, cgroups, user ids, the state folder, limits, the clock, the " +
    "daemon and its socket, and at what dead containers left. It needs no daemon, and changes " +
    "nothing without --fix. As root it sees more.",
    "Each finding is ok, a note (something does not work that not everybody needs), or bad. The " +
    `status is ${badStatus} if one is bad, else 0.`,
  ],
  args: [],
  flags: {
    fix: boolean("Remove what dead containers left; nothing that may be in use"),
    output: choice("How to show it", ["text", "table", "json", "yaml"], {
      short: "o",
      placeholder: "FORM",
    }),
  },
  instead: { "--dry-run": "Nothing is changed without --fix; leave it out" },
  examples: [
    ["kurma doctor", "All findings, with what to do about them"],
    ["kurma doctor --fix", "Remove leftovers, then look again"],
    [
      "kurma doctor -o json | jq -r '.[] | select(.state == \"bad\").fix'",
      "What to do, for a script",
    ],
  ],
  async run(context, _args, { fix, output }): Promise<Printed> {
    const { root } = context;
    const socket = await socketOf(context);
    const [{ gather }, { examine }] = await Promise.all([
      import("../../stage1/doctor/gather.ts"),
      import("../../stage1/doctor/checks.ts"),
    ]);
    const mended = fix ? await mend(root) : [];
    const { kurma, commit } = version();
    const facts = await gather({ root, socket, version: `${kurma} (${commit})` });
    const told = [...mended, ...examine(facts)];
    const status = told.some(({ state }) => state === "bad") ? badStatus : 0;
    return { ...await shown(told, output, context), status };
  },
});

/**
 * The socket of this machine's daemon.
 *
 * @throws {UsageError} if another machine's is named.
 */
async function socketOf(context: Context): Promise<string> {
  const named = await endpoint(context);
  if (named === undefined) return defaultSocket;
  if (named.kind === "unix") return named.path;
  throw new UsageError(
    `Cannot look at "${endpointName(named)}": a doctor sees the machine that it is on`,
    "Run kurma doctor there, or name a socket of this machine with -H",
  );
}

/** Removes what is dead, and tells of each thing. */
async function mend(root: string): Promise<Told[]> {
  const { kernel } = await import("../../ffi/mod.ts");
  const { clear } = await import("../../stage1/doctor/leftovers.ts");
  const told: Told[] = [];
  await clear(kernel, root, (path, failure) => {
    told.push(
      failure === undefined
        ? { check: "fix", state: "ok", finding: `Removed "${path}"` }
        : { check: "fix", state: "note", finding: failure.message, ...fixOf(failure) },
    );
  });
  return told;
}

function fixOf({ fix }: { fix: string | undefined }): { fix?: string } {
  return fix === undefined ? {} : { fix };
}

const styles: Readonly<Record<State, Style>> = { ok: "green", note: "yellow", bad: "red" };

const columns: readonly Column<Told>[] = [
  { title: "STATE", text: ({ state }) => state, style: ({ state }) => styles[state] },
  { title: "CHECK", text: ({ check }) => check },
  { title: "FINDING", text: ({ finding }) => finding, shrinks: true },
  { title: "FIX", text: ({ fix = "" }) => fix, shrinks: true },
];

async function shown(
  told: readonly Told[],
  form: "text" | "table" | "json" | "yaml",
  context: Context,
): Promise<Printed> {
  if (form === "json" || form === "yaml") return { text: await structured(told, form) };
  if (form === "table") return { text: await table(told, columns, context), safe: true };
  const { terminal, columns: room, paint } = context;
  const lines = told.map((each) => paragraph(each, terminal ? room : undefined, paint));
  return { text: lines.join("\n"), safe: true };
}

/**
 * A finding as people read it: what is so, below it what that means, and what to do.
 *
 * @param room The width to fill; without it no line is broken.
 */
export function paragraph(
  { state, check, finding, meaning, fix }: Told,
  room: number | undefined,
  paint: Paint,
): string {
  const head = `${state.padEnd(4)}  ${check.padEnd(10)}  `;
  const rest = [meaning, fix].filter((text) => text !== undefined);
  const texts = state === "ok" ? [finding] : [finding, ...rest];
  const lines = texts.map(printable)
    .flatMap((text) => room === undefined ? [text] : wrap(text, room, head.length));
  const [first, ...others] = lines;
  const start = paint(state, styles[state]) + head.slice(state.length);
  return [start + first, ...others.map((line) => " ".repeat(head.length) + line)].join("\n");
}
