import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { formatPlatform, hostPlatform, parsePlatform, runsOn, selectPlatform } from "./platform.ts";

const entries = (...platforms: string[]) =>
  platforms.map((text) => ({ name: text, platform: parsePlatform(text) }));

const choices: [string, string[], string][] = [
  ["linux/amd64", ["linux/arm64", "linux/amd64"], "linux/amd64"],
  ["linux/amd64", ["windows/amd64", "linux/amd64"], "linux/amd64"],
  ["linux/amd64", ["linux/amd64/v3", "linux/amd64"], "linux/amd64"],
  ["linux/amd64/v3", ["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], "linux/amd64/v2"],
  ["linux/arm64", ["linux/arm64/v8"], "linux/arm64/v8"],
  ["linux/arm64/v8", ["linux/arm64"], "linux/arm64"],
  ["linux/arm/v7", ["linux/arm/v5", "linux/arm/v6", "linux/arm64/v8"], "linux/arm/v6"],
  ["linux/riscv64", ["linux/riscv64"], "linux/riscv64"],
];
for (const [wanted, offered, chosen] of choices) {
  Deno.test(`selectPlatform() takes ${chosen} of ${offered.join(" ")} for ${wanted}`, () => {
    assertEquals(selectPlatform(entries(...offered), parsePlatform(wanted), "test").name, chosen);
  });
}

Deno.test("selectPlatform() lists what there is when nothing fits", async () => {
  const list = [...entries("linux/arm64", "linux/arm64", "linux/amd64/v3", "unknown/unknown"), {}];
  const error = await rejection(() =>
    selectPlatform<object>(list, parsePlatform("linux/amd64"), '"app:1"')
  );
  assertMatch(
    error.message,
    /Cannot find linux\/amd64 in "app:1": it has linux\/arm64, linux\/amd64\/v3$/,
  );
});

Deno.test("parsePlatform() reads back what formatPlatform() writes, and refuses the rest", async () => {
  assertEquals(formatPlatform(parsePlatform("linux/arm/v7")), "linux/arm/v7");
  assert(runsOn(hostPlatform(), hostPlatform()));
  for (const text of ["", "linux", "linux/", "linux/amd64/v1/x", "Linux/amd64", "a/../b"]) {
    assertMatch((await rejection(() => parsePlatform(text))).message, /Cannot read platform/);
  }
});
