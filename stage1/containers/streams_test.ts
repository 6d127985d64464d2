import { kernel } from "../../ffi/mod.ts";
import { assertEquals } from "../../tests/assert.ts";
import { Reactor, Sink, Source } from "./streams.ts";

async function collect(source: Source): Promise<string> {
  let text = "";
  for await (const piece of source) text += new TextDecoder().decode(piece);
  return text;
}

Deno.test("a hundred pipes are read and written at once", async () => {
  const reactor = new Reactor(kernel);
  const all = Array.from({ length: 100 }, async (_, n) => {
    const [reading, writing] = kernel.pipe();
    const sink = new Sink(kernel, reactor, writing);
    const text = String(n).repeat(100_000);
    const reader = collect(new Source(kernel, reactor, reading));
    assertEquals(await sink.write(new TextEncoder().encode(text)), true);
    sink[Symbol.dispose]();
    assertEquals(await reader === text, true);
  });
  await Promise.all(all);
});

Deno.test("who closes ends a read that waits, and a write that nobody reads", async () => {
  const reactor = new Reactor(kernel);
  const [reading, writing] = kernel.pipe();
  const source = new Source(kernel, reactor, reading);
  const reader = collect(source);
  const sink = new Sink(kernel, reactor, writing);
  await sink.write(new TextEncoder().encode("x"));
  await new Promise((resolve) => setTimeout(resolve, 10));
  source[Symbol.dispose]();
  assertEquals(await reader, "x");
  assertEquals(await sink.write(new Uint8Array(1)), false);
  sink[Symbol.dispose]();
  assertEquals(await sink.write(new Uint8Array(1)), false);
});
