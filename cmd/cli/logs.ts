/**
 * `kurma logs` and `kurma events`: what was written and what happened, and what comes.
 *
 * @module
 */

import type { DescMessage } from "@bufbuild/protobuf";
import type { Event, LogLine } from "../../stage1/api/kurma.gen.ts";
import { pass, print } from "../print.ts";
import { command } from "./command.ts";
import { boolean, choice, list, string } from "./flags.ts";
import { moment, momentText, timestamp } from "./moments.ts";
import { UsageError } from "./parse.ts";
import { printable, printableLines } from "./printable.ts";
import { streaming } from "./streaming.ts";

/** The numbers that the API has for them, without its descriptions, which load slowly. */
const streamNumbers = { all: 0, stdout: 1, stderr: 2 } as const;

/** The flag of commands that print one thing after the other. */
const eachOutput = choice("How to show each: json is a line of JSON", ["text", "json"], {
  short: "o",
  placeholder: "FORM",
});

/** What writes a message as a line of JSON, in which bytes are in base 64. */
async function jsonOf(schema: "LogLineSchema" | "EventSchema") {
  const [{ toJsonString }, schemas] = await Promise.all([
    import("@bufbuild/protobuf"),
    import("../../stage1/api/kurma.gen.ts"),
  ]);
  return (message: LogLine | Event) => toJsonString<DescMessage>(schemas[schema], message);
}

export const logs = command({
  summary: "Show what a container wrote",
  details: [
    "Oldest first, over rotated files as if they were one; what went to standard error goes there. On " +
    "a terminal, escape sequences are shown and not obeyed.",
  ],
  args: ["container"],
  flags: {
    follow: boolean("What comes as well, until it ends", { short: "f" }),
    tail: string("Only so many of the last lines; all is the default", {
      short: "n",
      placeholder: "COUNT",
    }),
    since: moment("Only from then on"),
    until: moment("Only up to then"),
    timestamps: boolean("When each line came, in front of it", { short: "t" }),
    stream: choice("Which of its outputs", ["all", "stdout", "stderr"]),
    output: eachOutput,
  },
  instead: { "--details": "kurma show has the labels" },
  examples: [
    ["kurma logs web", "Everything that is kept"],
    ["kurma logs --follow --tail 20 web", "The end of it, and what comes"],
    ["kurma logs --since 10m --timestamps web", "Of the last ten minutes, with the time"],
    ["kurma logs -o json web | jq -r '.text | @base64d'", "For a script; text is any bytes"],
  ],
  async run(context, { container }, { follow, tail, since, until, timestamps, stream, output }) {
    const request = {
      container,
      follow,
      timestamps,
      stream: streamNumbers[stream],
      ...(tail === undefined || tail === "all" ? {} : { tail: countOf(tail) }),
      ...(since === undefined ? {} : { since: timestamp(since) }),
      ...(until === undefined ? {} : { until: timestamp(until) }),
    };
    return await streaming(context, async (api) => {
      const json = output === "json" ? await jsonOf("LogLineSchema") : undefined;
      for await (const { lines } of api.containers.logs(request)) {
        for (const line of lines) {
          if (json !== undefined) {
            const status = print(json(line));
            if (status !== 0) return status;
            continue;
          }
          const to = line.stream === streamNumbers.stderr ? "stderr" : "stdout";
          const terminal = to === "stdout" ? context.terminal : Deno.stderr.isTerminal();
          const status = pass(bytesOf(line, terminal), to);
          if (status !== 0) return status;
        }
      }
      return 0;
    });
  },
});

function countOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`Cannot use "${text}" for --tail`, "It takes a number of lines, or all");
}

/** A line as it is written; `partial` lines go on in the next one. */
function bytesOf({ time, text, partial }: LogLine, terminal: boolean): Uint8Array {
  const shown = terminal
    ? new TextEncoder().encode(printableLines(new TextDecoder().decode(text)))
    : text;
  const before = new TextEncoder().encode(time === undefined ? "" : `${momentText(time)} `);
  const bytes = new Uint8Array(before.length + shown.length + (partial ? 0 : 1));
  bytes.set(before);
  bytes.set(shown, before.length);
  if (!partial) bytes[bytes.length - 1] = 10;
  return bytes;
}

/** What events are about, by the API's number. */
const subjects = ["", "container", "pod", "image", "volume", "daemon"];

export const events = command({
  summary: "Show what happens: containers that start and end, images that come and go",
  details: [
    "Goes on until it is interrupted, or until --until. As text, a line has the time, what it happened " +
    "to, what happened, its name, and more about it. A filter is KIND=VALUE: type " +
    `(${
      subjects.slice(1).join(", ")
    }), event (start, exit, ...), name (or id). Filters of the same ` +
    "kind widen what is shown.",
  ],
  args: [],
  flags: {
    since: moment("Earlier ones from then on as well"),
    until: moment("Ends then; with a past moment, only earlier ones are shown"),
    filter: list("Only those that it fits", { short: "f", placeholder: "KIND=VALUE" }),
    output: eachOutput,
  },
  instead: { "--format": "Write --output json, and use jq" },
  examples: [
    ["kurma events", "From now on"],
    ["kurma events --since 1h --until 0s --filter event=exit", "What ended in the last hour"],
    ["kurma events -o json --filter name=web | jq --unbuffered .action", "For a script"],
  ],
  async run(context, _args, { since, until, filter, output }) {
    const request = {
      ...filtered(filter),
      ...(since === undefined ? {} : { since: timestamp(since) }),
      ...(until === undefined ? {} : { until: timestamp(until) }),
    };
    return await streaming(context, async (api) => {
      const json = output === "json" ? await jsonOf("EventSchema") : undefined;
      for await (const { event } of api.events.watch(request)) {
        if (event === undefined) continue;
        const status = print(json === undefined ? eventText(event) : json(event));
        if (status !== 0) return status;
      }
      return 0;
    });
  },
});

function filtered(texts: readonly string[]) {
  const asked = { subjects: [] as number[], actions: [] as string[], references: [] as string[] };
  for (const text of texts) {
    const [kind, ...rest] = text.split("=");
    const value = rest.join("=");
    const subject = subjects.indexOf(value);
    if (value !== "" && kind === "type" && subject > 0) asked.subjects.push(subject);
    else if (value !== "" && kind === "event") asked.actions.push(value);
    else if (value !== "" && (kind === "name" || kind === "container")) {
      asked.references.push(value);
    } else {
      throw new UsageError(
        `Cannot use "${text}" for --filter`,
        `Write type=WORD (${subjects.slice(1).join(", ")}), event=WORD or name=NAME`,
      );
    }
  }
  return asked;
}

/** `2030-01-31T12:00:00.000000000Z container exit web code=0 image=busybox` */
function eventText({ time, subject, action, name, id, exit, attributes }: Event): string {
  const more = [
    ...exit === undefined ? [] : [["code", String(exit.code)]],
    ...Object.entries(attributes),
  ].map(([key, value]) => `${key}=${value}`);
  const when = time === undefined ? "-" : momentText(time);
  return printable([when, subjects[subject] ?? subject, action, name || id, ...more].join(" "));
}
