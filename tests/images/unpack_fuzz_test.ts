/**
 * The unpacker itself, with archives that are almost right: it answers or refuses, never
 * crashes, and touches nothing but its folder.
 */

import { KurmaError } from "../../ffi/errors.ts";
import { memoryContent } from "../../stage1/images/bytes.ts";
import { unpack } from "../../stage1/images/unpack.ts";
import { assert, assertEquals } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { count, mustRun, test } from "../harness.ts";

/** An archive of all that tar knows below the folder `top`, made by GNU tar in `format`. */
async function archive(dir: string, format: string, top: string): Promise<Uint8Array> {
  const tree = `${dir}/tree`;
  await mustRun([
    "sh",
    "-euc",
    `
    rm -rf "$1" && mkdir -p "$1/a/b" && cd "$1"
    echo text >a/file && ln a/file a/b/hard && ln -s ../file a/b/soft && mkfifo a/pipe
    : >a/.wh.gone && : >a/b/.wh..wh..opq
    truncate -s 1M a/sparse && echo end >>a/sparse
    mkdir "a/$(printf 'n%.0s' $(seq 120))" && : >"a/$(printf 'n%.0s' $(seq 120))/$(printf 'm%.0s' $(seq 120))"
    chmod 4755 a/file && chown 1000:1000 a/b && setfattr -n user.note -v value a/file
  `,
    "sh",
    tree,
  ]);
  const path = `${dir}/seed-${format}-${top}.tar`;
  await mustRun([
    ...["tar", `--format=${format}`, "-S", "-cf", path, "-C", tree, `--transform=s,^a,${top},S`],
    ...(format === "pax" ? ["--xattrs", "--xattrs-include=*"] : []),
    "a",
  ]);
  return await Deno.readFile(path);
}

/** Changes a header here and there, and gives it the checksum that it should have. */
function mutated(mutator: Mutator, seed: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = mutator.below(4) === 0
    ? mutator.bytes(seed)
    : seed.slice() as Uint8Array<ArrayBuffer>;
  const blocks = bytes.length >> 9;
  for (let change = 1 + mutator.below(6); change > 0 && blocks > 0; change--) {
    const header = bytes.subarray(mutator.below(blocks) << 9).subarray(0, 512);
    const names = ["../../canary", "/canary", "a/b/soft/x", ".", "", "a/.wh..", "\xff\xfe"];
    if (mutator.below(3) === 0) {
      const at = mutator.pick([0, 157]);
      header.set(new TextEncoder().encode(`${mutator.pick(names)}\0`), at);
    } else {
      header[mutator.below(512)] = mutator.pick([
        0,
        0x20,
        0x2f,
        0x2e,
        0x37,
        0x80,
        0xff,
        mutator.below(256),
      ]);
    }
    if (mutator.below(4) === 0) header[156] = "01234567xgLKSVM".charCodeAt(mutator.below(15));
    const sum = header.reduce((all, byte, at) => all + (at >= 148 && at < 156 ? 0x20 : byte), 0);
    header.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0") + "\0 "), 148);
  }
  return bytes;
}

test("the unpacker unpacks or refuses what is almost an archive", async ({ dir }) => {
  await Deno.mkdir(`${dir}/out`);
  await Deno.writeTextFile(`${dir}/canary`, "alive");
  const seeds = {
    oci: [await archive(dir, "gnu", "a"), await archive(dir, "pax", "a")],
    aci: [await archive(dir, "gnu", "rootfs")],
  };
  const mutator = new Mutator(1);
  const rounds = count(400, 20_000);
  const ends: Record<string, number> = { unpacked: 0 };
  for (let round = 0; round < rounds; round++) {
    const format = mutator.below(4) === 0 ? "aci" : "oci";
    const bytes = mutated(mutator, mutator.pick(seeds[format]));
    const target = `${dir}/out/target`;
    await Deno.mkdir(target);
    try {
      await unpack(memoryContent(bytes).chunks(), target, "it", format, { bytes: 64 << 20 });
      ends.unpacked++;
    } catch (error) {
      if (!(error instanceof KurmaError) || error.code !== "invalid") throw error;
      const why = /: (.*?)(?: \(at .*)?$/s.exec(error.message)?.[1] ?? "";
      ends[why] = (ends[why] ?? 0) + 1;
    }
    await mustRun(["rm", "-rf", target]);
    assertEquals(await Deno.readTextFile(`${dir}/canary`), "alive");
  }
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), [
    ...["canary", "out", "seed-gnu-a.tar", "seed-gnu-rootfs.tar", "seed-pax-a.tar", "tree"],
  ]);
  const said = Object.entries(ends).map(([why, times]) => `${times} ${why}`).join(", ");
  console.log(`${rounds} archives: ${said}`);
  assert(ends.unpacked > 0 && Object.keys(ends).length > 5, said);
});
