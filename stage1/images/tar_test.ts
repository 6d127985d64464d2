import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { firstName, indexTar, tarEnd, tarHeader } from "./tar.ts";

/** An archive with these files, written by {@linkcode tarHeader}. */
function archive(files: Record<string, string>): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const [name, text] of Object.entries(files)) {
    const bytes = new TextEncoder().encode(text);
    const { header, padding } = tarHeader(name, bytes.length);
    parts.push(header, bytes, padding);
  }
  parts.push(tarEnd);
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

async function index(bytes: Uint8Array) {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, bytes);
    return await indexTar(path, "it");
  } finally {
    await Deno.remove(path);
  }
}

Deno.test("indexTar() finds what tarHeader() wrote", async () => {
  const bytes = archive({ "a": "one", "blobs/sha256/b": "" });
  assertEquals(Object.fromEntries(await index(bytes)), {
    "a": { offset: 512, size: 3 },
    "blobs/sha256/b": { offset: 1536, size: 0 },
  });
  assertEquals(firstName(bytes), "a");
});

Deno.test("tarHeader() writes sizes from 8 GiB on so that tar reads them", async () => {
  const { header } = tarHeader("big", 9 * 2 ** 30);
  const path = await Deno.makeTempFile();
  await Deno.writeFile(path, header);
  const { stdout } = await new Deno.Command("tar", { args: ["-tvf", path], stderr: "null" })
    .output();
  await Deno.remove(path);
  assertMatch(new TextDecoder().decode(stdout), /9663676416 .* big/);
});

Deno.test("indexTar() refuses what is no archive, damaged or cut off", async () => {
  const good = archive({ "a": "one" });
  const damaged = archive({ "a": "one", "b": "two" });
  damaged[1024 + 10] ^= 1;
  for (
    const [bytes, message] of [
      [new TextEncoder().encode("#!/bin/sh\n".repeat(60)), /it is no tar archive/],
      [damaged, /a header is damaged/],
      [good.subarray(0, 700), /it ends too early/],
      [good.subarray(0, 1024), /it ends too early/],
    ] as const
  ) {
    assertMatch((await rejection(index(bytes))).message, message);
  }
});
