/**
 * appc's event handlers: commands of a container that come before its own and after it.
 *
 * Before: the container is made, its own command waits, and the handler is a further process
 * in it. After: nothing of the run is left but what it wrote, so the handler is the command
 * of a short run of its own, which outlives kurmad as all runs do.
 *
 * @module
 * @see appc spec 0.8.11, ace.md, "Event handlers"; docs/decisions/094-event-handlers.md
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Stage2 } from "../../stage2/server.ts";
import type { Plan } from "../../stage2/spec.ts";
import { capture } from "./captured.ts";
import { ensureHolder } from "./holder.ts";
import { type Host, oneLine, runName } from "./host.ts";
import { meaningOf, planFor } from "./planning.ts";
import type { Container } from "./record.ts";
import { defaults } from "./spec.ts";
import { forget, ignoringGone, newWorkFolder } from "./runs.ts";

/** The word in the name of the run that is a post-stop handler. */
export const afterwards = "post-stop";

/** What stage2 calls the run of the post-stop handler. */
export function afterwardsName(container: Container): string {
  return runName(container, `${container.status.run}.${afterwards}`);
}

/**
 * Runs the pre-start handler of a container that is made and waits to be started.
 *
 * @throws {KurmaError} It cannot be run, takes too long, or ends with another status than 0.
 */
export async function runPreStart(
  host: Host,
  container: Container,
  command: readonly string[],
): Promise<void> {
  const { limitMs } = meaningOf(host, container).eventHandlers;
  const ran = await capture(host, container, { args: command }, limitMs)
    .catch((error) => {
      // As text: the container's command is not what cannot be run.
      throw failed(command, new Error(oneLine(error)));
    });
  const problem = problemOf(ran.code, limitMs);
  tell(host, container, "pre-start", ran.code, problem);
  if (problem === undefined) return;
  const said = ran.output.trim();
  throw failed(command, new Error(said === "" ? problem : `${problem}: ${lastLine(said)}`));
}

/**
 * Runs the post-stop handler of a container whose run is cleared up, if it is due. One that
 * a kurmad before this one began, or another stage2, is waited for. That it failed is told
 * and keeps nothing.
 */
export async function runPostStop(host: Host, container: Container): Promise<void> {
  if (!container.status.postStop) return;
  await host.supervisor.ask((stage2) => runOn(host, stage2, container));
}

async function runOn(host: Host, stage2: Stage2, container: Container): Promise<void> {
  const name = afterwardsName(container);
  const live = host.live.of(container);
  const { promise, resolve } = live.afterwards = Promise.withResolvers<number>();
  promise.catch(() => {}); // It may be lost before it is waited for.
  const limitMs = live.meant?.eventHandlers.limitMs ?? defaults.handlerLimitMs;
  let timer: number | undefined;
  let code: number | undefined;
  let problem: string | undefined;
  try {
    const there = (await stage2.list()).find(({ id }) => id === name);
    if (there?.state === "stopped") resolve(there.exit?.status ?? 0);
    else if (there?.state !== "running") {
      await forget(stage2, name, true);
      await begin(host, stage2, container);
    }
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), limitMs);
    });
    code = await Promise.race([promise, late]);
    problem = problemOf(code, limitMs);
  } catch (error) {
    if (stage2.isClosed) throw error; // It is still due.
    problem = oneLine(error);
  } finally {
    clearTimeout(timer);
    live.afterwards = undefined;
  }
  await forget(stage2, name);
  if (problem !== undefined) {
    host.log("warn", `The post-stop handler of "${container.name}" has failed`, { cause: problem });
  }
  try {
    host.state.change(() => {
      host.state.updateStatus(container, { postStop: undefined });
      tell(host, container, afterwards, code, problem);
    });
  } catch (error) {
    // Another kurmad would run it again; this one knows better.
    host.log("error", `Cannot write down that the post-stop handler of "${container.name}" ran`, {
      cause: oneLine(error),
    });
  }
}

/** Says that whoever waits for the end of the container's handler will not hear of it. */
export function loseHandler(host: Host, container: Container): void {
  host.live.of(container).afterwards?.reject(
    new KurmaError("unavailable", "Cannot hear of the post-stop handler: stage2 is gone"),
  );
}

/** Ends a post-stop handler that runs. */
export async function cutPostStop(host: Host, container: Container): Promise<void> {
  if (!container.status.postStop) return;
  const name = afterwardsName(container);
  await ignoringGone(host.supervisor.ask((stage2) => stage2.kill(name)));
}

async function begin(host: Host, stage2: Stage2, container: Container): Promise<void> {
  const { postStop } = meaningOf(host, container).eventHandlers;
  if (postStop === undefined) return;
  newWorkFolder(host, container);
  const pod = host.state.pods.get(container.pod ?? "");
  if (pod) await ensureHolder(host, pod);
  await stage2.run(planOf(planFor(host, container), afterwardsName(container), postStop), null);
}

/** The plan of a run that differs in its command only; what it prints goes to the same log. */
function planOf({ kurma, config }: Plan, id: string, args: readonly string[]): Plan {
  const { rpc: _rpc, stdin: _stdin, ...envelope } = kurma;
  const { consoleSize: _size, ...process } = config.process;
  return {
    kurma: { ...envelope, id },
    config: { ...config, process: { ...process, terminal: false, args } },
  };
}

function problemOf(code: number | undefined, limitMs: number): string | undefined {
  if (code === undefined) return `it took longer than ${limitMs / 1000} s`;
  return code === 0 ? undefined : `it ended with status ${code}`;
}

function failed(command: readonly string[], cause: unknown): KurmaError {
  return new KurmaError("state", `Cannot run the pre-start handler "${command[0]}"`, {
    cause,
    fix: "Mend what it does, or make the container without it",
  });
}

/** The last line of what it printed says best what went wrong. */
function lastLine(output: string): string {
  return output.slice(output.lastIndexOf("\n") + 1);
}

function tell(
  host: Host,
  { id, name }: Container,
  handler: string,
  code: number | undefined,
  reason: string | undefined,
): void {
  const attributes = {
    handler,
    ...(code === undefined ? {} : { code: String(code) }),
    ...(reason === undefined ? {} : { reason }),
  };
  host.state.tell({ kind: "container", id, name, action: "handler", attributes });
}
