import { gzipSync, zstdCompressSync } from "node:zlib";
import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { type Chunk, collect, memoryContent, Passage } from "./bytes.ts";
import { compressionOf, inflated, peek } from "./compression.ts";
import { digestOf } from "./sources/digest.ts";

const text = new TextEncoder().encode("a layer's bytes, and more of them ".repeat(20_000));

async function packedBy(tool: string): Promise<Chunk> {
  const child = new Deno.Command(tool, { args: ["-c"], stdin: "piped", stdout: "piped" }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  await writer.write(text);
  await writer.close();
  return new Uint8Array((await output).stdout);
}

const packers: Record<string, () => Promise<Chunk> | Chunk> = {
  none: () => text,
  gzip: () => new Uint8Array(gzipSync(text)),
  zstd: () => new Uint8Array(zstdCompressSync(text)),
  xz: () => packedBy("xz"),
  bzip2: () => packedBy("bzip2"),
};

async function inflate(bytes: Chunk, ratio?: number): Promise<Chunk> {
  const limits = ratio === undefined ? {} : { ratio };
  return await collect(inflated(memoryContent(bytes).chunks(), "it", limits), "read it", 1e9);
}

for (const [kind, pack] of Object.entries(packers)) {
  Deno.test(`inflated() gives back what ${kind} holds`, async () => {
    const bytes = await pack();
    assertEquals(compressionOf(bytes), kind);
    assertEquals(digestOf(await inflate(bytes)), digestOf(text));
  });

  if (kind === "none" || kind === "bzip2" || kind === "xz") continue;
  Deno.test(`inflated() gives back several ${kind} streams in one`, async () => {
    const bytes = await pack();
    const twice = new Uint8Array(2 * bytes.length);
    twice.set(bytes);
    twice.set(bytes, bytes.length);
    assertEquals((await inflate(twice)).length, 2 * text.length);
  });
}

for (const [kind, pack] of Object.entries(packers)) {
  if (kind === "none") continue;
  Deno.test(`inflated() refuses ${kind} data that is cut off, and works on afterwards`, async () => {
    const bytes = await pack();
    const error = await rejection(inflate(bytes.subarray(0, bytes.length - 20)));
    assertMatch(error.message, /its .* data is damaged or cut off/);
    assertEquals((await inflate(bytes)).length, text.length);
  });

  Deno.test(`peek() lets go of ${kind} data that nobody reads on`, async () => {
    const bytes = await pack();
    const { head, whole } = await peek(inflated(memoryContent(bytes).chunks(), "it"), 10);
    assertEquals(new TextDecoder().decode(head), "a layer's ");
    await whole.return();
    assertEquals((await inflate(bytes)).length, text.length);
  });
}

Deno.test("inflated() stops at a bomb", async () => {
  const bomb = new Uint8Array(gzipSync(new Uint8Array(100 * 1024 * 1024)));
  assertMatch((await rejection(inflate(bomb))).message, /more than 250 times its size/);
  assertEquals((await inflate(bomb, 1100)).length, 100 * 1024 * 1024);
});

Deno.test("Passage tells bytes that are not the expected ones", async () => {
  const digest = digestOf(text);
  const finish = (expected: { digest?: typeof digest; size?: number }) =>
    new Passage(memoryContent(text).chunks(), { what: "it", ...expected }).finish();
  assertEquals(await finish({ digest, size: text.length }), digest);
  assertMatch((await rejection(finish({ size: text.length + 1 }))).message, /it has 680000 bytes/);
  assertMatch((await rejection(finish({ size: 10 }))).message, /it has more than 10 bytes/);
  const other = digestOf(text.subarray(1));
  assertMatch((await rejection(finish({ digest: other }))).message, /its digest is sha256:/);
});

Deno.test("inflated() finds zstd frames wherever chunks are cut, and skips those to be skipped", async () => {
  const frame = new Uint8Array(zstdCompressSync(text.subarray(0, 3000)));
  const skippable = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
  const bytes = new Uint8Array([...frame, ...skippable, ...frame, ...skippable]);
  for (const size of [1, 2, 3, 5, 7, 64]) {
    const chunks = inChunks(bytes, size);
    assertEquals((await collect(inflated(chunks, "it"), "read it", 1e6)).length, 6000);
  }
});

async function* inChunks(bytes: Chunk, size: number): AsyncGenerator<Chunk> {
  await Promise.resolve();
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}
