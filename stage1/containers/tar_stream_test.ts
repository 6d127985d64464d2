import { assertEquals, rejection } from "../../tests/assert.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { encodeEntry, type Entry, padded, streamEnd, TarReader } from "./tar_stream.ts";

const file: Entry = {
  name: "a/b",
  kind: "file",
  mode: 0o4755,
  uid: 1000,
  gid: 5,
  modified: 1_700_000_000,
  size: 3,
  target: "",
};

/** An archive in pieces of `piece` bytes. */
async function* archive(entries: readonly Entry[], piece: number, cut = Infinity) {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    parts.push(encodeEntry(entry), new Uint8Array(padded(entry.size)).fill(7, 0, entry.size));
  }
  const all = new Uint8Array(await new Blob([...parts, streamEnd] as BlobPart[]).arrayBuffer());
  const end = Math.min(cut, all.length);
  for (let at = 0; at < end; at += piece) yield all.subarray(at, Math.min(at + piece, end));
}

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<Entry[]> {
  const reader = new TarReader(chunks);
  const entries: Entry[] = [];
  for (let entry = await reader.next(); entry; entry = await reader.next()) {
    entries.push(entry);
    let size = 0;
    for await (const piece of reader.data()) size += piece.length;
    assertEquals(size, entry.size);
  }
  return entries;
}

const entries: Entry[] = [
  file,
  { ...file, name: "folder", kind: "folder", size: 0 },
  { ...file, name: "l", kind: "link", size: 0, target: "../../etc" },
  { ...file, name: "h", kind: "hard link", size: 0, target: "a/b" },
  { ...file, name: "é".repeat(700), uid: 2 ** 31, gid: 2 ** 22, size: 1024 },
  { ...file, name: "long", kind: "link", size: 0, target: "x/".repeat(200) + "y" },
];

for (const piece of [1, 7, 512, 1_000_000]) {
  Deno.test(`what is written is read, in pieces of ${piece}`, async () => {
    assertEquals(await readAll(archive(entries, piece)), entries);
  });
}

Deno.test("other programs read it", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const chunks = ReadableStream.from(archive(entries.slice(0, 4), 4096));
    await Deno.writeFile(`${dir}/x.tar`, chunks);
    const { stdout } = await new Deno.Command("tar", {
      args: ["-tvf", `${dir}/x.tar`, "--numeric-owner", "--utc"],
    }).output();
    assertEquals(new TextDecoder().decode(stdout).replaceAll(/ +/g, " ").trim().split("\n"), [
      "-rwsr-xr-x 1000/5 3 2023-11-14 22:13 a/b",
      "drwsr-xr-x 1000/5 0 2023-11-14 22:13 folder/",
      "lrwsr-xr-x 1000/5 0 2023-11-14 22:13 l -> ../../etc",
      "hrwsr-xr-x 1000/5 0 2023-11-14 22:13 h link to a/b",
    ]);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("an archive that is cut off or damaged anywhere is refused or ends, nothing else", async () => {
  const [first] = [await new Response(ReadableStream.from(archive(entries, 4096))).bytes()];
  let random = 3;
  for (let round = 0; round < 400; round++) {
    random = random * 1_103_515_245 + 12_345 & 0x7fffffff;
    const bytes = first.slice(0, round % 2 ? first.length : random % first.length);
    if (round % 2) bytes[random % bytes.length] ^= 1 << (random & 7);
    try {
      await readAll(ReadableStream.from([bytes]));
    } catch (error) {
      assertEquals(error instanceof KurmaError && error.code, "invalid");
    }
  }
});

Deno.test("devices are refused by name", async () => {
  const head = encodeEntry({ ...file, size: 0 });
  head[156] = "3".charCodeAt(0);
  head.fill(0x20, 148, 156);
  const sum = head.reduce((all, byte) => all + byte, 0);
  head.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0") + "\0 "), 148);
  const error = await rejection(readAll(ReadableStream.from([head])));
  assertEquals(
    error.message,
    'Cannot read the archive: "a/b" is neither file, folder nor link',
  );
});
