import { assertEquals } from "../../tests/assert.ts";
import { rangesOf } from "./gather.ts";
import { children, isBelow, isKurma, mountOf, mountsOf, numberOf, textOf } from "./proc.ts";

const mountinfo = `
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw shared:2 - proc proc rw
24 22 0:30 / /mnt/my\\040disk rw - xfs /dev/sdb rw
25 24 0:31 / /mnt/my\\040disk/a rw master:3 - tmpfs none rw
`.slice(1);

Deno.test("mountsOf() reads points with spaces, and mountOf() finds the nearest", () => {
  const mounts = mountsOf(mountinfo);
  assertEquals(mounts.map(({ point }) => point), ["/", "/proc", "/mnt/my disk", "/mnt/my disk/a"]);
  const typeOf = (path: string) => mountOf(path, mounts)?.type;
  assertEquals(
    ["/", "/mnt", "/mnt/my disk", "/mnt/my disk/b/c", "/mnt/my disk/a/x", "/process"].map(typeOf),
    ["ext4", "ext4", "xfs", "xfs", "tmpfs", "ext4"],
  );
});

Deno.test("isBelow() tells a folder from one whose name begins like it", () => {
  const paths = ["/a/b", "/a", "/ab", "/a/b/c"];
  assertEquals(paths.map((path) => isBelow(path, "/a")), [true, false, false, true]);
});

Deno.test("isKurma() goes by a program's own name, wherever it lies", () => {
  const kurma = ["/usr/bin/kurma", "/opt/kurma-0.4 (deleted)", "/memfd:kurma (deleted)"];
  const others = ["/home/ann/kurma/.toolchain/deno", "/kurma/bin/sh (deleted)", ""];
  assertEquals([kurma.map(isKurma), others.map(isKurma)], [
    [true, true, true],
    [false, false, false],
  ]);
});

Deno.test("what is not there has no text, no number and no names in it", () => {
  assertEquals([textOf("/nowhere/a"), children("/nowhere"), numberOf("/nowhere/a")], [
    "",
    [],
    undefined,
  ]);
  assertEquals(numberOf("/proc/self/comm"), undefined);
});

Deno.test("rangesOf() reads what subuid(5) says, and passes over the rest", () => {
  assertEquals(rangesOf("f", "ann:100000:65536\n# a comment\nbroken:1\n1000:5:6\n"), [
    { file: "f", owner: "ann", first: 100_000, count: 65_536 },
    { file: "f", owner: "1000", first: 5, count: 6 },
  ]);
});
