/**
 * A server for the tests of the client: its answers begin after a moment and have no end. On
 * a thread of its own, as an answer may then come at any moment.
 *
 * @module
 */

import { parentPort } from "node:worker_threads";
import type { Handler } from "./http2/exchange.ts";
import { TestServer } from "./http2/testing.ts";

/** What the thread says: where it listens, then at each message how many calls it still has. */
export type Said = { readonly path: string } | { readonly under: number };

const under = new Set<symbol>();

const handler: Handler = async ({ signal }) => {
  const call = Symbol();
  under.add(call);
  const ended = new Promise((resolve) => signal.addEventListener("abort", resolve));
  ended.then(() => under.delete(call));
  await new Promise((resolve) => setTimeout(resolve, Math.random() * 2));
  const header = new Headers({ "content-type": "application/connect+proto" });
  return { status: 200, header, body: silent(ended) };
};

// deno-lint-ignore require-yield
async function* silent(ended: Promise<unknown>): AsyncGenerator<Uint8Array> {
  await ended;
}

const server = new TestServer({}, handler);
const say = (said: Said) => parentPort?.postMessage(said);
parentPort?.on("message", () => say({ under: under.size }));
say({ path: server.path });
