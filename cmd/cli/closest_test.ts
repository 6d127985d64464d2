import { assertEquals } from "../../tests/assert.ts";
import { closest, editDistance } from "./closest.ts";

const known = ["run", "image", "install", "version", "help", "rm", "daemon"];

for (
  const [typed, meant] of [
    ["rnu", "run"],
    ["RUN", "run"],
    ["imgae", "image"],
    ["images", "image"],
    ["inst", "install"],
    ["vresion", "version"],
    ["hlep", "help"],
    ["x", undefined],
    ["", undefined],
    ["container", undefined],
    ["run".repeat(10_000), undefined],
  ]
) {
  Deno.test(`closest() takes "${typed?.slice(0, 12)}" for ${meant ?? "nothing it knows"}`, () => {
    assertEquals(closest(typed ?? "", known), meant);
  });
}

Deno.test("editDistance() counts a swap of neighbours as one", () => {
  assertEquals(editDistance("ab", "ba"), 1);
  assertEquals(editDistance("kitten", "sitting"), 3);
  assertEquals(editDistance("", "abc"), 3);
});
