import { gzipSync, zstdCompressSync } from "node:zlib";
import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { type Chunk, collect, type Content, fileContent, memoryContent, Passage } from "./bytes.ts";
import { compressionOf, inflated, peek } from "./compression.ts";
import { digester, digestOf } from "./sources/digest.ts";

const text = new TextEncoder().encode("a layer's bytes, and more of them ".repeat(20_000));

async function packedBy(tool: string, bytes: Chunk): Promise<Chunk> {
  const child = new Deno.Command(tool, { args: ["-c"], stdin: "piped", stdout: "piped" }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  await writer.write(bytes);
  await writer.close();
  return new Uint8Array((await output).stdout);
}

const packers: Record<string, (bytes: Chunk) => Promise<Chunk> | Chunk> = {
  none: (bytes) => bytes,
  gzip: (bytes) => new Uint8Array(gzipSync(bytes)),
  zstd: (bytes) => new Uint8Array(zstdCompressSync(bytes)),
  xz: (bytes) => packedBy("xz", bytes),
  bzip2: (bytes) => packedBy("bzip2", bytes),
};

async function inflate(bytes: Chunk, ratio?: number): Promise<Chunk> {
  const limits = ratio === undefined ? {} : { ratio };
  return await collect(inflated(memoryContent(bytes).chunks(), "it", limits), "read it", 1e9);
}

for (const [kind, pack] of Object.entries(packers)) {
  Deno.test(`inflated() gives back what ${kind} holds`, async () => {
    const bytes = await pack(text);
    assertEquals(compressionOf(bytes), kind);
    assertEquals(digestOf(await inflate(bytes)), digestOf(text));
  });

  if (kind === "none" || kind === "bzip2" || kind === "xz") continue;
  Deno.test(`inflated() gives back several ${kind} streams in one`, async () => {
    const bytes = await pack(text);
    const twice = new Uint8Array(2 * bytes.length);
    twice.set(bytes);
    twice.set(bytes, bytes.length);
    assertEquals((await inflate(twice)).length, 2 * text.length);
  });
}

for (const [kind, pack] of Object.entries(packers)) {
  if (kind === "none") continue;
  Deno.test(`inflated() refuses ${kind} data that is cut off, and works on afterwards`, async () => {
    const bytes = await pack(text);
    const error = await rejection(inflate(bytes.subarray(0, bytes.length - 20)));
    assertMatch(error.message, /its .* data is damaged or cut off/);
    assertEquals((await inflate(bytes)).length, text.length);
  });

  Deno.test(`peek() lets go of ${kind} data that nobody reads on`, async () => {
    const bytes = await pack(text);
    const { head, whole } = await peek(inflated(memoryContent(bytes).chunks(), "it"), 10);
    assertEquals(new TextDecoder().decode(head), "a layer's ");
    await whole.return();
    assertEquals((await inflate(bytes)).length, text.length);
  });
}

/** Bytes that do not compress: what is read of them comes in several chunks. */
function noise(length: number): Chunk {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  return bytes;
}

for (const [kind, pack] of Object.entries(packers)) {
  Deno.test(`inflated() closes a ${kind} file, wherever its reader stops`, async () => {
    const path = await Deno.makeTempFile();
    try {
      const plain = noise(3_000_000);
      const bytes = await pack(plain);
      await Deno.writeFile(path, bytes);
      const whole = fileContent(path, 0, bytes.length);
      const first = await peek(inflated(whole.chunks(), "it"), 512);
      await first.whole.return();
      assertEquals(first.head, plain.subarray(0, 512));

      const hash = digester(undefined);
      for await (const chunk of inflated(whole.chunks(), "it")) hash.update(chunk);
      assertEquals(hash.digest(), digestOf(plain));

      const cut = fileContent(path, 0, bytes.length >> 1);
      const read = async (content: Content) => {
        for await (const _ of inflated(content.chunks(), "it"));
      };
      if (kind === "none") await read(cut);
      else await rejection(read(cut));
      assertEquals(openTimes(path), 0);

      await Deno.writeFile(path, noise(3_000_000), { append: true });
      await read(fileContent(path, 0, bytes.length + 3_000_000)).catch(() => {});
      assertEquals(openTimes(path), 0);
    } finally {
      await Deno.remove(path);
    }
  });
}

/** How many descriptors of this process are the file `path`. */
function openTimes(path: string): number {
  const links = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return ""; // The folder's own.
      throw error;
    }
  });
  return links.filter((link) => link === path).length;
}

Deno.test("inflated() gives memory back as it goes", async () => {
  const path = await Deno.makeTempFile();
  try {
    const part = noise(1024 * 1024);
    const bytes = new Uint8Array(gzipSync(part, { level: 0 }));
    using file = await Deno.open(path, { write: true });
    for (let count = 0; count < 200; count++) await file.write(bytes);
    const before = Deno.memoryUsage().external;
    let most = before;
    for await (const _ of inflated(fileContent(path, 0, 200 * bytes.length).chunks(), "it")) {
      most = Math.max(most, Deno.memoryUsage().external);
    }
    const grown = Math.round((most - before) / 1024 / 1024);
    assert(grown < 16, `${grown} MiB more for 200 MiB`);
  } finally {
    await Deno.remove(path);
  }
});

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
