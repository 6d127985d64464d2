import { setImmediate } from "node:timers";
import { KurmaError } from "../../ffi/errors.ts";
import { assertEquals, rejection } from "../../tests/assert.ts";
import { kurmaError, openStreams } from "./client_streams.ts";
import type { Handler } from "./http2/exchange.ts";
import { TestServer } from "./http2/testing.ts";

Deno.test("a call that is given up ends on the other side, however far its answer is", async () => {
  const under = new Set<symbol>();
  const handler: Handler = async ({ signal }) => {
    const call = Symbol();
    under.add(call);
    const ended = new Promise((resolve) => signal.addEventListener("abort", resolve));
    ended.then(() => under.delete(call));
    // The answer begins after up to 1.5 ms; the caller gives up at any time around that.
    await wait(Math.random() * 1.5);
    const header = new Headers({ "content-type": "application/connect+proto" });
    return { status: 200, header, body: until(ended) };
  };
  await using server = new TestServer({}, handler);
  using streams = openStreams(server.path);
  for (let round = 0; round < 300; round++) {
    const control = new AbortController();
    const answers = streams.images.import(upload(), { signal: control.signal });
    const heard = answers[Symbol.asyncIterator]().next().then(() => "an end", () => "cut off");
    await wait(Math.random() * 3);
    control.abort();
    assertEquals(await heard, "cut off");
  }
  for (let wait10 = 0; under.size > 0 && wait10 < 200; wait10++) await wait(10);
  assertEquals(under.size, 0);
});

Deno.test("what fails while it is sent is why the call fails", async () => {
  await using server = new TestServer({}, ({ signal }) => {
    const ended = new Promise((resolve) => signal.addEventListener("abort", resolve));
    const header = new Headers({ "content-type": "application/connect+proto" });
    return Promise.resolve({ status: 200, header, body: until(ended) });
  });
  using streams = openStreams(server.path);
  // Before the answer has begun, and after.
  for (const afterMs of [0, 20]) {
    const answers = streams.images.import(broken(afterMs));
    const error = kurmaError(await rejection(Array.fromAsync(answers)));
    assertEquals(String(error), "KurmaError: Cannot read the archive: EIO");
  }
});

async function* broken(afterMs: number) {
  yield { message: { case: "start" as const, value: { name: "web" } } };
  await wait(afterMs);
  throw new KurmaError("kernel", "Cannot read the archive: EIO");
}

/** A body without a byte. */
// deno-lint-ignore require-yield
async function* until(ended: Promise<unknown>): AsyncGenerator<Uint8Array> {
  await ended;
}

/** What is sent, and never comes to its end. */
async function* upload() {
  yield { message: { case: "start" as const, value: { name: "web" } } };
  await new Promise(() => {});
}

/** Timers are in whole milliseconds. */
async function wait(ms: number): Promise<void> {
  const end = performance.now() + ms;
  await new Promise((resolve) => setTimeout(resolve, Math.floor(ms)));
  while (performance.now() < end) await new Promise((resolve) => setImmediate(resolve));
}
