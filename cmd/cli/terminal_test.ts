import { assertEquals, rejection } from "../../tests/assert.ts";
import { detachKeys, untilDetached } from "./terminal.ts";

const usual = [16, 17];

const cases: [
  name: string,
  keys: number[],
  pieces: number[][],
  passed: number[],
  detached: boolean,
][] = [
  ["passes on what is typed", usual, [[1, 2], [3]], [1, 2, 3], false],
  ["ends at the keys", usual, [[1, 16, 17, 2], [3]], [1], true],
  ["ends at the keys in two pieces", usual, [[1, 16], [17, 2]], [1], true],
  [
    "passes on the first key with another",
    usual,
    [[16], [1], [16, 16], [2]],
    [16, 1, 16, 16, 2],
    false,
  ],
  ["passes on the first key at the end", usual, [[1, 16]], [1, 16], false],
  ["knows the keys behind the first one twice", usual, [[16], [16], [17], [1]], [16], true],
  ["knows a single key", [1], [[2], [3, 1, 4]], [2, 3], true],
  ["knows three keys that begin alike", [1, 1, 2], [[1], [1], [1], [2], [9]], [1], true],
  ["passes on two of three keys", [1, 1, 2], [[1, 1], [3]], [1, 1, 3], false],
  ["has no keys if there are none", [], [[16, 17], [1]], [16, 17, 1], false],
];
for (const [name, keys, pieces, passed, detached] of cases) {
  Deno.test(`untilDetached() ${name}`, async () => {
    let isDetached = false;
    const input = ReadableStream.from(pieces.map((piece) => Uint8Array.from(piece)));
    const output: number[] = [];
    const typed = untilDetached(input, Uint8Array.from(keys), () => (isDetached = true));
    for await (const piece of typed) output.push(...piece);
    assertEquals([output, isDetached], [passed, detached]);
  });
}

for (
  const [text, keys] of [
    [undefined, usual],
    ["ctrl-p,ctrl-q", usual],
    ["ctrl-A,d", [1, 100]],
    ["ctrl-],ctrl-@,~", [29, 0, 126]],
    ["", []],
  ] as const
) {
  Deno.test(`--detach-keys ${text ?? "absent"} is ${keys.join(" ")}`, () => {
    assertEquals([...detachKeys().read(text === undefined ? [] : [text])], [...keys]);
  });
}

for (const text of ["ctrl-", "ctrl-p ctrl-q", "ctrl-é", "pq", "a,,b", "shift-a"]) {
  Deno.test(`--detach-keys refuses ${text}`, async () => {
    const error = await rejection(() => detachKeys().read([text]));
    assertEquals(error.message.startsWith(`Cannot use "${text}": expected keys`), true);
  });
}
