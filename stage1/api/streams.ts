/**
 * Exec, Enter and Attach: processes that a caller talks to.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Exit } from "../../stage2/server.ts";
import { attachTo, type Conversation, converse } from "../containers/conversations.ts";
import type { Manager } from "../containers/manager.ts";
import { readLog } from "../containers/logs.ts";
import { shellOf } from "../containers/shell.ts";
import type { Source } from "../containers/streams.ts";
import { parseFurtherSpec } from "../containers/validate.ts";
import { signalOf } from "./containers.ts";
import type {
  AttachRequest,
  EnterRequest,
  ExecRequest,
  ExecSettings,
  TerminalSize,
} from "./kurma.gen.ts";
import { exitStatus } from "./messages.ts";

/** How long what a process wrote may still come after its end: others may have its streams. */
const drainMs = 1_000;

/** One piece of what a process says. */
type Piece =
  | { readonly case: "output"; readonly value: Uint8Array }
  | { readonly case: "errorOutput"; readonly value: Uint8Array }
  | { readonly case: "exited"; readonly value: ReturnType<typeof exitMessage> };

/** Runs a command with its input and output. */
export async function* execute(
  manager: Manager,
  requests: AsyncIterable<ExecRequest>,
  signal: AbortSignal,
) {
  const { first, rest } = await opened(requests);
  if (first?.message.case !== "start") throw noStart();
  const settings = first.message.value;
  const container = manager.get(settings.container);
  if (settings.command.length === 0) {
    throw new KurmaError("invalid", `Cannot run a command in "${container.name}": none is named`, {
      fix: "Name a program and its arguments",
    });
  }
  using process = await converse(manager.host, container, {
    ...furtherOf(settings),
    args: settings.command,
    openInput: settings.openInput,
    detached: settings.detach,
  });
  manager.tellExec(container, settings.command[0]);
  yield { message: { case: "started" as const, value: { pid: process.pid } } };
  if (settings.detach && !settings.openInput) return;
  const hear = async () => {
    await hearAll(process, rest);
    await process.closeInput();
  };
  for await (const message of talk(process, hear, signal, !settings.detach)) yield { message };
}

/** Opens a shell on a terminal. */
export async function* enter(
  manager: Manager,
  requests: AsyncIterable<EnterRequest>,
  signal: AbortSignal,
) {
  const { first, rest } = await opened(requests);
  if (first?.message.case !== "start") throw noStart();
  const settings = first.message.value;
  const container = manager.get(settings.container);
  const further = { ...furtherOf(settings), terminal: true };
  const shell = await shellOf(manager.host, container, settings.user);
  using process = await converse(manager.host, container, { ...further, args: shell });
  manager.tellExec(container, shell[0]);
  yield { message: { case: "started" as const, value: { pid: process.pid } } };
  const hear = async () => {
    await hearAll(process, rest);
    await process.input?.write(new Uint8Array([4])); // What a terminal takes for the end.
  };
  for await (const message of talk(process, hear, signal, true)) {
    if (message.case === "exited") yield { message };
    // A terminal has one output.
    if (message.case === "output") {
      yield { message: { case: "output" as const, value: message.value } };
    }
  }
}

/** Connects to the first process of a container. */
export async function* attach(
  manager: Manager,
  requests: AsyncIterable<AttachRequest>,
  signal: AbortSignal,
) {
  const { first, rest } = await opened(requests);
  if (first?.message.case !== "start") throw noStart();
  const settings = first.message.value;
  const container = manager.get(settings.container);
  using process = await attachTo(manager.host, container, settings.input);
  const terminal = container.spec.terminal ?? false;
  yield { message: { case: "attached" as const, value: { terminal } } };
  if (settings.terminalSize && settings.terminalSize.rows > 0 && terminal) {
    await process.resize(sizeOf(settings.terminalSize));
  }
  if (settings.tail > 0) {
    const folder = manager.logFolder(container.id);
    for await (const records of readLog(folder, { tail: settings.tail })) {
      for (const { stream, text, partial } of records) {
        const value = partial ? text : new Uint8Array([...text, 10]);
        const kind = stream === "stdout" ? "output" as const : "errorOutput" as const;
        yield { message: { case: kind, value } };
      }
    }
  }
  const hear = () => hearAll(process, rest);
  for await (const message of talk(process, hear, signal, false)) yield { message };
}

/** What a caller says to a process; not every call has all of it. */
type Heard =
  | { readonly case: "input"; readonly value: Uint8Array }
  | { readonly case: "closeInput"; readonly value: boolean }
  | { readonly case: "resize"; readonly value: TerminalSize }
  | { readonly case: "signal"; readonly value: string }
  | { readonly case: "start"; readonly value: unknown }
  | { readonly case: undefined; readonly value?: undefined };

/** Passes on what the caller says; who has nothing more to say may go on listening. */
export async function hearAll(
  process: Conversation,
  requests: AsyncIterable<{ readonly message: Heard }>,
): Promise<void> {
  for await (const { message } of requests) {
    switch (message.case) {
      case "input":
        await process.input?.write(message.value);
        break;
      case "closeInput":
        await process.closeInput();
        break;
      case "resize":
        await process.resize(sizeOf(message.value));
        break;
      case "signal":
        await process.signal(signalOf(message.value));
    }
  }
}

/**
 * What a process says until it ends. Meanwhile `hear` passes on what the caller says.
 *
 * @param ends Whether it is killed when the caller goes away.
 */
export async function* talk(
  process: Conversation,
  hear: () => Promise<void>,
  signal: AbortSignal,
  ends: boolean,
): AsyncGenerator<Piece, void, undefined> {
  let exit: Exit | undefined;
  let timer: number | undefined;
  const away = Promise.withResolvers<void>();
  const gone = () => {
    process[Symbol.dispose]();
    away.resolve();
  };
  signal.addEventListener("abort", gone, { once: true });
  if (signal.aborted) gone();
  // A caller that is cut off is the end of the call as well; what it said until then counts.
  const hearing = hear().catch((error) => {
    if (error instanceof KurmaError) throw error;
  });
  const over = process.ended.then((ended) => {
    exit = ended;
    timer = setTimeout(() => process[Symbol.dispose](), drainMs);
  });
  over.catch(() => {}); // Heard below, after all that it printed.
  try {
    yield* merged({ output: process.output, errorOutput: process.errorOutput });
    await Promise.race([over, hearing.then(() => over), away.promise]);
    if (exit !== undefined) yield { case: "exited", value: exitMessage(exit) };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", gone);
    if (exit === undefined && ends) await process.signal(9);
  }
}

/** Pieces of both as they come; one that is not taken holds up its source. */
async function* merged(
  sources: Readonly<Partial<Record<"output" | "errorOutput", Source>>>,
): AsyncGenerator<Piece, void, undefined> {
  const names = ["output", "errorOutput"] as const;
  const iterators = names.flatMap((name) => {
    const source = sources[name];
    return source ? [{ name, iterator: source[Symbol.asyncIterator]() }] : [];
  });
  const next = ({ name, iterator }: typeof iterators[number]) =>
    iterator.next().then((result) => ({ name, iterator, result }));
  const waiting = new Map(iterators.map((each) => [each.name, next(each)]));
  while (waiting.size > 0) {
    const { name, iterator, result } = await Promise.race(waiting.values());
    if (result.done) {
      waiting.delete(name);
      continue;
    }
    yield { case: name, value: result.value };
    waiting.set(name, next({ name, iterator }));
  }
}

/** The first request, and those after it. */
export async function opened<Request>(
  requests: AsyncIterable<Request>,
): Promise<{ first: Request | undefined; rest: AsyncIterable<Request> }> {
  const iterator = requests[Symbol.asyncIterator]();
  const { done, value } = await iterator.next();
  return { first: done ? undefined : value, rest: { [Symbol.asyncIterator]: () => iterator } };
}

function furtherOf(
  { env, workingDir, user, terminalSize, ...more }:
    & Pick<ExecSettings, "env" | "workingDir" | "user" | "terminalSize">
    & Partial<Pick<ExecSettings, "terminal">>,
) {
  return {
    ...parseFurtherSpec({ env, workingDir, user }, "the request"),
    terminal: more.terminal ?? false,
    ...(terminalSize && terminalSize.rows > 0
      ? { consoleSize: { height: terminalSize.rows, width: terminalSize.columns } }
      : {}),
  };
}

export function sizeOf({ rows, columns }: TerminalSize): { rows: number; columns: number } {
  return { rows: Math.min(rows, 65_535), columns: Math.min(columns, 65_535) };
}

function exitMessage({ status, oom, endedAt }: Exit) {
  return exitStatus(
    { code: status, ...(status > 128 ? { signal: status - 128 } : {}), oom },
    endedAt,
  );
}

export function noStart(): KurmaError {
  return new KurmaError("invalid", "Cannot begin: the first message is not `start`", {
    fix: "Send the settings first, and only once",
  });
}
