import { assert, assertEquals, rejection } from "../../tests/assert.ts";
import { chosen } from "./host.ts";

const both = { host: "there", context: "lab" };

for (
  const [flags, host, context] of [
    [[], "there", undefined],
    [["host"], "there", undefined],
    [["context"], undefined, "lab"],
  ] as const
) {
  Deno.test(`chosen() with the flags ${flags.join(" ") || "of nobody"}`, () => {
    const given = new Map(flags.map((flag) => [flag, true]));
    assertEquals(chosen(given, both), { host, context });
  });
}

Deno.test("chosen() takes a context from its variable where no host is named", () => {
  assertEquals(chosen(new Map(), { ...both, host: undefined }), {
    host: undefined,
    context: "lab",
  });
});

Deno.test("chosen() refuses a host and a context", async () => {
  const given = new Map([["host", true], ["context", true]]);
  const error = await rejection(() => chosen(given, both));
  assertEquals(error.message, "Cannot use -H and --context together");
});

Deno.test("a command that only asks loads no protobuf", () => {
  const top = new URL("../../", import.meta.url);
  const waiting = ["cmd/kurma_cli.ts"];
  const seen = new Set<string>();
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const url = new URL(path, top);
    const text = Deno.readTextFileSync(url);
    // The table loads each command when it is called.
    const dynamic = /cli\/(commands|surface)\.ts$/.test(path)
      ? text.matchAll(/import\("([^"]+)"\)/g)
      : [];
    const always = text.matchAll(/^(?:import|export) (?!type\b)[^;(]*?"([^"]+)"/gm);
    for (const [, name] of [...always, ...dynamic]) {
      assert.ok(!/protobuf|connect|\.gen\.ts/.test(name), `${path} imports ${name}`);
      if (name.startsWith(".")) waiting.push(new URL(name, url).href.slice(top.href.length));
    }
  }
  assert.ok(
    seen.size > 20 &&
      ["cmd/cli/list.ts", "stage1/api/client.ts", "cmd/cli/table.ts"].every((path) =>
        seen.has(path)
      ),
    `${seen.size} modules`,
  );
});
