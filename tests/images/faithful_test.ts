/** What a layer says of its files is what they are once it is unpacked. */

import { openImage } from "../../stage1/images/mod.ts";
import { assert, assertEquals } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { layout } from "./layout_fixture.ts";

/** One of everything that tar can hold and an image may have. */
const script = `
  cd "$0"
  mkdir -p d/sub sticky && chmod 1777 sticky && chmod 2750 d
  echo text >d/file && chown 1000:1001 d/file && chmod 4755 d/file
  ln d/file d/sub/second && ln -s file d/link && chown -h 1002:1003 d/link
  mkfifo -m 640 d/fifo
  truncate -s 32M d/sparse
  for at in 0 5000 8000; do printf here | dd of=d/sparse bs=4096 seek=$at conv=notrunc status=none; done
  truncate -s 1M d/hole
  echo attributes >d/attributes
  setfattr -n user.note -v "a value" d/attributes
  setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 d/attributes
  setfattr -n trusted.overlay.opaque -v y d/sub
  touch -d 2001-02-03T04:05:06.789012345Z d/file d/attributes d/sparse
  touch -h -d 1969-12-31T23:59:58.5Z d/link
  touch -d 2011-01-01T00:00:00.25Z d/fifo sticky d/sub d
`;

/** What each way to write it can say. */
const formats = {
  "pax": { args: ["--format=pax", "--xattrs", "--xattrs-include=*"], fraction: true },
  "pax, sparse 0.0": { args: ["--format=pax", "--sparse", "--sparse-version=0.0"], fraction: true },
  "pax, sparse 0.1": { args: ["--format=pax", "--sparse", "--sparse-version=0.1"], fraction: true },
  "pax, sparse 1.0": { args: ["--format=pax", "--sparse", "--sparse-version=1.0"], fraction: true },
  "GNU, sparse": { args: ["--format=gnu", "--sparse"], fraction: false },
};

for (const [name, { args, fraction }] of Object.entries(formats)) {
  test(`files of a ${name} archive keep what they were`, async ({ dir }) => {
    const tree = `${dir}/tree`;
    await Deno.mkdir(tree);
    await mustRun(["sh", "-euc", script, tree]);
    await mustRun(["tar", ...args, "--numeric-owner", "-C", tree, "-cf", `${dir}/tar`, "."]);
    const image = await layout(`${dir}/layout`, [await Deno.readFile(`${dir}/tar`)]);
    const opened = await openImage(image, { root: `${dir}/state` });
    using _hold = opened.hold;
    const [{ path }] = opened.layers;

    const found = async (folder: string) => {
      const lines = await mustRun(["find", folder, "-printf", "%P %M %U %G %n %T@ %s %y %l\\n"]);
      return lines.split("\n").sort().map((line) => {
        const known = fraction ? line : line.replace(/\.\d{10} /, " ");
        return / d( |$)/.test(known) ? known.replace(/ \d+ d /, " d ") : known;
      });
    };
    assertEquals(await found(path), await found(tree));
    const sum = (folder: string) => mustRun(["sha256sum", "d/file", "d/sparse"], { cwd: folder });
    assertEquals(await sum(path), await sum(tree));
    const inode = async (file: string) => (await Deno.stat(`${path}/${file}`)).ino;
    assertEquals(await inode("d/file"), await inode("d/sub/second"));
    if (args.includes("--sparse")) {
      const blocks = (await Deno.stat(`${path}/d/sparse`)).blocks ?? Infinity;
      assert(blocks * 512 < 1 << 20, `${blocks} blocks`);
    }
    if (args.includes("--xattrs")) {
      const attributes = await mustRun(["getfattr", "-d", "-m", "-", "-R", "."], { cwd: path });
      assertEquals(
        attributes.match(/^(?:user|security|trusted).*$/gm),
        [
          'user.note="a value"',
          "security.capability=0sAQAAAgAEAAAAAAAAAAAAAAAAAAA=",
        ].sort(),
      );
    }
  });
}
