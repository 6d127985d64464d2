import { assertEquals } from "../tests/assert.ts";
import { readExits } from "./exits.ts";

/** The same file that the Zig side reads in its test: acknowledged up to 4, then 5 and 6. */
const vector = Uint8Array.fromHex(
  Deno.readTextFileSync(new URL("./exits_vector.hex", import.meta.url)).replaceAll("\n", ""),
);
const size = 128;

Deno.test("readExits() reads what stage2 wrote", () => {
  assertEquals(readExits(vector), [
    {
      sequence: 5,
      id: "web",
      pid: 4321,
      status: 7,
      signal: null,
      oom: false,
      timeMs: 1_790_000_000_123,
    },
    {
      sequence: 6,
      id: "0f8fad5b-d9cb-469f-a165-70867728950e",
      pid: -1,
      status: 137,
      signal: 9,
      oom: true,
      timeMs: 1_790_000_000_123,
    },
  ]);
  assertEquals(readExits(vector, 5).map(({ sequence }) => sequence), [6]);
});

Deno.test("readExits() stops where the file was cut, at every byte", () => {
  for (let length = 0; length <= vector.length; length++) {
    const whole = Math.max(0, Math.floor(length / size) - 1);
    assertEquals(readExits(vector.subarray(0, length)).length, whole);
  }
});

Deno.test("readExits() stops at the first record that was changed, at every byte", () => {
  for (let at = 0; at < vector.length; at++) {
    const changed = vector.slice();
    changed[at] ^= 0x80;
    assertEquals(readExits(changed).length, Math.max(0, Math.floor(at / size) - 1));
  }
});

Deno.test("readExits() stops at a record out of its order", () => {
  const swapped = new Uint8Array([...vector.slice(0, size), ...vector.slice(2 * size)]);
  assertEquals(readExits(swapped), []);
  const based = new Uint8Array([...vector.slice(size, 2 * size), ...vector.slice(0, size)]);
  assertEquals(readExits(based).length, 1);
});
