import { assert, assertEquals } from "../../../tests/assert.ts";
import { parseChallenges } from "./challenge.ts";

const plain = (header: string | null) =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

const readings: Record<string, unknown> = {
  "Basic": [["basic", {}]],
  'Bearer realm="https://a.example/t?x=1,2",service="s"': [[
    "bearer",
    { realm: "https://a.example/t?x=1,2", service: "s" },
  ]],
  'BEARER Realm = "a\\"b" , scope=x': [["bearer", { realm: 'a"b', scope: "x" }]],
  'Negotiate YWJj==, Basic realm="x"': [["negotiate", {}], ["basic", { realm: "x" }]],
  'Basic realm="x", Bearer realm="y",error="e"': [
    ["basic", { realm: "x" }],
    ["bearer", { realm: "y", error: "e" }],
  ],
  'Bearer realm="open': [["bearer", {}]],
  "": [],
  ", ,": [],
};
for (const [header, reading] of Object.entries(readings)) {
  Deno.test(`parseChallenges() reads ${JSON.stringify(header)}`, () => {
    assertEquals(plain(header), reading);
  });
}

Deno.test("parseChallenges() ends in time for whatever a server sends", () => {
  assertEquals(parseChallenges(null), []);
  assertEquals(parseChallenges("a".repeat(9000)), []);
  const start = performance.now();
  for (const piece of ['a="', "a=b,", 'a="\\', "a ", "=", '"', "a= b", ", a"]) {
    parseChallenges(`Bearer ${piece.repeat(8000 / piece.length)}`);
  }
  assert(performance.now() - start < 1000);
});
