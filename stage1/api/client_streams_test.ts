import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { KurmaError } from "../../ffi/errors.ts";
import { assertEquals, rejection } from "../../tests/assert.ts";
import { type ApiStreams, kurmaError, openStreams } from "./client_streams.ts";
import type { Said } from "./client_streams_worker.ts";

/** The server of client_streams_worker.ts, and clients of it. */
class Serving implements AsyncDisposable {
  readonly #worker: Worker;
  readonly streams: ApiStreams;

  private constructor(worker: Worker, path: string) {
    this.#worker = worker;
    this.streams = openStreams(path);
  }

  static async start(): Promise<Serving> {
    const worker = new Worker(new URL("./client_streams_worker.ts", import.meta.url));
    const said = await heard(worker);
    if (!("path" in said)) throw new TypeError("It is to say first where it listens");
    return new Serving(worker, said.path);
  }

  /** How many calls go on. */
  async under(): Promise<number> {
    this.#worker.postMessage("");
    const said = await heard(this.#worker);
    return "under" in said ? said.under : NaN;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.streams[Symbol.dispose]();
    await this.#worker.terminate();
  }
}

async function heard(worker: Worker): Promise<Said> {
  const [said] = await once(worker, "message");
  return said;
}

Deno.test("a call that is given up ends on the other side, however far its answer is", async () => {
  await using serving = await Serving.start();
  const { images, events } = serving.streams;
  const stays = new AbortController();
  const other = events.watch({}, { signal: stays.signal })[Symbol.asyncIterator]().next();
  // More of each than a connection takes at once.
  for (let round = 0; round < 1_000; round++) {
    const control = new AbortController();
    const { signal } = control;
    const answers = round % 2 === 0
      ? images.import(endless(), { signal })
      : events.watch({}, { signal });
    const outcome = answers[Symbol.asyncIterator]().next().then(() => "an end", () => "cut off");
    await wait(Math.random() * 3);
    control.abort();
    assertEquals(await outcome, "cut off");
  }
  // All but the one that nobody has given up.
  const deadline = performance.now() + 5_000;
  while (await serving.under() > 1 && performance.now() < deadline) await wait(10);
  assertEquals(await Promise.race([other.catch(String), serving.under()]), 1);
  stays.abort();
  await rejection(other);
});

Deno.test("what fails while it is sent is why the call fails", async () => {
  await using serving = await Serving.start();
  // Before the answer has begun, and after.
  for (const afterMs of [0, 20]) {
    const answers = serving.streams.images.import(broken(afterMs));
    const error = kurmaError(await rejection(Array.fromAsync(answers)));
    assertEquals(String(error), "KurmaError: Cannot read the archive: EIO");
  }
});

/** An upload that never comes to its end. */
async function* endless() {
  yield { message: { case: "start" as const, value: { name: "web" } } };
  await new Promise(() => {});
}

/** An upload that cannot go on. */
async function* broken(afterMs: number) {
  yield { message: { case: "start" as const, value: { name: "web" } } };
  await wait(afterMs);
  throw new KurmaError("kernel", "Cannot read the archive: EIO");
}

/** Timers are in whole milliseconds. */
async function wait(ms: number): Promise<void> {
  const end = performance.now() + ms;
  while (performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 0));
}
