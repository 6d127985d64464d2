import { assertEquals } from "../../tests/assert.ts";
import { untilDetached } from "./terminal.ts";

const cases: [name: string, pieces: number[][], passed: number[], detached: boolean][] = [
  ["passes on what is typed", [[1, 2], [3]], [1, 2, 3], false],
  ["ends at the keys", [[1, 16, 17, 2], [3]], [1], true],
  ["ends at the keys in two pieces", [[1, 16], [17, 2]], [1], true],
  ["passes on the first key with another", [[16], [1], [16, 16], [2]], [16, 1, 16, 16, 2], false],
  ["passes on the first key at the end", [[1, 16]], [1, 16], false],
  ["knows the keys behind the first one twice", [[16], [16], [17], [1]], [16], true],
];
for (const [name, pieces, passed, detached] of cases) {
  Deno.test(`untilDetached() ${name}`, async () => {
    let isDetached = false;
    const input = ReadableStream.from(pieces.map((piece) => Uint8Array.from(piece)));
    const output: number[] = [];
    for await (const piece of untilDetached(input, () => (isDetached = true))) {
      output.push(...piece);
    }
    assertEquals([output, isDetached], [passed, detached]);
  });
}
