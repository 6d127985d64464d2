import { assertEquals } from "../tests/assert.ts";
import { generate, lint } from "./proto.ts";

Deno.test("the .proto files keep to the rules of buf.yaml, a comment on every field among them", async () => {
  await lint();
});

Deno.test("the TypeScript of the .proto files is what they give now; otherwise run make proto", async () => {
  const stale: string[] = [];
  const files = await generate();
  for (const [path, text] of files) {
    const committed = await Deno.readTextFile(new URL(`../stage1/api/${path}`, import.meta.url));
    if (committed !== text) stale.push(path);
  }
  assertEquals([stale, files.size], [[], 5]);
});
