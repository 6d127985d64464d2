/**
 * Run: a container from its making to its end, for a caller who misses nothing of it.
 *
 * @module
 */

import { connectTo, type Conversation } from "../containers/conversations.ts";
import type { Manager } from "../containers/manager.ts";
import type { Container } from "../containers/record.ts";
import type { Restrictions } from "../containers/restrictions.ts";
import { pullPolicy, requireNoPod } from "./containers.ts";
import { progressMessage } from "./images.ts";
import type { CreateContainerRequest, RunContainerRequest } from "./kurma.gen.ts";
import { containerMessage } from "./messages.ts";
import { withProgress } from "./progress.ts";
import { containerSpec } from "./settings.ts";
import { hearAll, noStart, opened, talk } from "./streams.ts";

/** Whose call it is. */
interface Call {
  /** Aborted when he goes away. */
  readonly signal: AbortSignal;
  /** What he may not give to containers. */
  readonly restrictions: Restrictions | undefined;
}

/** Makes a container, attaches to it and starts it. */
export async function* run(
  manager: Manager,
  requests: AsyncIterable<RunContainerRequest>,
  call: Call,
) {
  const { first, rest } = await opened(requests);
  if (first?.message.case !== "start") throw noStart();
  const request = first.message.value;
  requireNoPod(request);
  const { images } = manager.host;
  const spec = containerSpec(request);
  const policy = pullPolicy(request.pull);
  const finding = withProgress(
    call.signal,
    (onProgress, signal) =>
      images.use(spec.image, policy, call.restrictions, { onProgress, signal }),
  );
  for await (const told of finding) {
    if ("progress" in told) {
      yield { message: { case: "progress" as const, value: progressMessage(told.progress) } };
      continue;
    }
    // Held until the container holds it: it is not looked for again.
    using _use = told.result;
    yield* running(manager, request, rest, call);
  }
}

async function* running(
  manager: Manager,
  request: CreateContainerRequest,
  rest: AsyncIterable<RunContainerRequest>,
  call: Call,
) {
  const { container, process } = await started(manager, request, call);
  using talking = process;
  yield { message: { case: "started" as const, value: containerMessage(manager, container) } };
  for await (const message of talk(talking, () => hearAll(talking, rest), call.signal, false)) {
    // Whoever hears of the end may use the name again.
    if (message.case === "exited" && container.spec.autoRemove) await manager.settled(container);
    yield { message };
  }
}

/** A new container that runs, and the conversation with it that began before it did. */
async function started(
  manager: Manager,
  request: CreateContainerRequest,
  { signal, restrictions }: Call,
): Promise<{ container: Container; process: Conversation }> {
  const spec = containerSpec(request);
  const input = spec.openStdin ?? false;
  let process: Conversation | undefined;
  const attach = async (container: Container) => {
    signal.throwIfAborted();
    process = await connectTo(manager.host, container, input);
  };
  try {
    const container = await manager.create(spec, {
      start: true,
      // It is there by now.
      pull: pullPolicy(request.pull) === "never" ? "never" : "missing",
      restrictions,
      whenMade: attach,
    });
    // Somebody else may have started it meanwhile, who knows why.
    process ??= await connectTo(manager.host, container, input);
    return { container, process };
  } catch (error) {
    process?.[Symbol.dispose]();
    throw error;
  }
}
