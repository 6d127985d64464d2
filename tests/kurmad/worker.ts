/**
 * A manager in a process of its own, which a test may kill: it carries out the requests
 * that come on standard input, one JSON text a line, and answers on standard output.
 *
 *   deno run -A tests/kurmad/worker.ts ROOT
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { kernel } from "../../ffi/mod.ts";
import { Images } from "../../stage1/containers/images.ts";
import { Manager } from "../../stage1/containers/manager.ts";
import { State } from "../../stage1/containers/state.ts";
import type { ContainerSpec, PodSpec } from "../../stage1/containers/spec.ts";

const [root] = Deno.args;
const begun = performance.now();
const manager = await Manager.start({
  kernel,
  folders: { state: root, containers: `${root}/containers`, volumes: `${root}/volumes` },
  state: State.open(root),
  images: new Images({ root }),
  log: (level, message, fields) => console.error(level, message, fields ?? ""),
  settings: () => ({}),
});

/** What can be asked for. */
const operations = {
  create: (spec: ContainerSpec) => manager.create(spec),
  createPod: (spec: PodSpec) => manager.pods.create(spec),
  startPod: (name: string) => manager.pods.start(name),
  removePod: (name: string) => manager.pods.remove(name, true),
  start: (name: string) => manager.start(name),
  stop: (name: string) => manager.stop(name, { limitMs: 1_000 }),
  kill: (name: string) => manager.kill(name, 9),
  restart: (name: string) => manager.restart(name, { limitMs: 1_000 }),
  pause: (name: string) => manager.pause(name),
  resume: (name: string) => manager.resume(name),
  remove: (name: string) => manager.remove(name, { force: true }),
  rename: (name: string, to: string) => manager.rename(name, to),
  wait: (name: string) => manager.wait(name),
  get: (name: string) => manager.get(name),
  list: () => manager.list(),
  idle: () => manager.host.queues.idle(),
  /** Sets the clock of this process, as far as JavaScript sees it. */
  jump(ms: number) {
    const before = Date.now;
    Date.now = () => before() + ms;
  },
  async events() {
    const { events } = manager.host.state;
    const found = [];
    for await (const event of events.follow(0)) {
      found.push(event);
      if (event.sequence === events.last) break;
    }
    return found;
  },
};

/** What a worker is asked for. */
export type Operation = keyof typeof operations;

const encoder = new TextEncoder();

function say(answer: unknown): void {
  Deno.stdout.writeSync(encoder.encode(`${JSON.stringify(answer)}\n`));
}

say({ id: 0, value: performance.now() - begun });
let rest = "";
const work: Promise<void>[] = [];
for await (const chunk of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) {
    const { id, operation, args } = JSON.parse(line) as {
      id: number;
      operation: Operation;
      args: unknown[];
    };
    const call = operations[operation] as (...args: unknown[]) => unknown;
    work.push(
      Promise.try(() => call(...args)).then(
        (value) => say({ id, value: value ?? null }),
        (error) =>
          say({ id, code: error instanceof KurmaError ? error.code : "bug", error: String(error) }),
      ),
    );
  }
}
await Promise.all(work);
await manager[Symbol.asyncDispose]();
Deno.exit(0);
