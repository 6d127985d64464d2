import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { bytes, duration, time, whole } from "./amounts.ts";
import { boolean, choice, type Flag, list, pairs, setting, string } from "./flags.ts";

const root = setting("Folder", { variable: "ROOT", fallback: "/var" });
const format = choice("Form", ["table", "json"]);
const timeout = duration("Patience", { defaultMs: 10_000 });

const good: [kind: string, flag: Flag<unknown>, given: string[], value: unknown][] = [
  ["boolean", boolean(""), [], false],
  ["boolean", boolean(""), ["true", "false"], false],
  ["string", string(""), [], undefined],
  ["string", string(""), ["a", "b"], "b"],
  ["setting", root, [], "/var"],
  ["setting", root, ["/x"], "/x"],
  ["list", list(""), ["a", "b"], ["a", "b"]],
  ["choice", format, [], "table"],
  ["choice", format, ["json"], "json"],
  ["duration", timeout, [], 10_000],
  ["duration", timeout, ["5"], 5_000],
  ["duration", timeout, ["0.25"], 250],
  ["duration", timeout, ["250ms"], 250],
  ["duration", timeout, ["1m30s"], 90_000],
  ["duration", timeout, ["1.5h"], 5_400_000],
  ["bytes", bytes(""), [], undefined],
  ["bytes", bytes(""), ["4096"], 4096],
  ["bytes", bytes(""), ["1.5k"], 1536],
  ["bytes", bytes(""), ["10GiB"], 10 * 1024 ** 3],
  ["bytes", bytes(""), ["2TB"], 2 * 1024 ** 4],
  ["pairs", pairs(""), ["A=1", "B=x=y", "A="], { A: "", B: "x=y" }],
];
for (const [kind, flag, given, value] of good) {
  Deno.test(`a ${kind} flag reads ${JSON.stringify(given)} as ${JSON.stringify(value)}`, () => {
    assertEquals(flag.read(given), value);
  });
}

const bad: [kind: string, flag: Flag<unknown>, given: string, expected: RegExp][] = [
  ["boolean", boolean(""), "yes", /expected true or false/],
  ["choice", format, "xml", /expected one of table, json/],
  ["duration", timeout, "-1s", /expected a time, as in 500ms/],
  ["duration", timeout, "10 s", /expected a time/],
  ["duration", timeout, "", /expected a time/],
  ["duration", timeout, "1d", /expected a time/],
  ["duration", timeout, "1e9", /expected a time/],
  ["bytes", bytes(""), "ten", /expected a size, as in 500MiB/],
  ["bytes", bytes(""), "-1", /expected a size/],
  ["bytes", bytes(""), "1PiB", /expected a size/],
  ["bytes", bytes(""), "", /expected a size/],
  ["time", time(""), "soon", /expected a time/],
  ["whole", whole(""), "1.5", /expected a whole number, 0 or more/],
  ["whole", whole("", { min: 10 }), "9", /expected a whole number, 10 or more/],
  ["pairs", pairs(""), "=x", /expected NAME=VALUE/],
  ["pairs", pairs(""), "A", /expected NAME=VALUE/],
];
for (const [kind, flag, given, expected] of bad) {
  Deno.test(`a ${kind} flag refuses "${given}"`, async () => {
    const error = await rejection(() => flag.read([given]));
    assertMatch(error.message, expected);
  });
}

Deno.test("a pairs flag takes a name that every object has for a name like another", () => {
  const value = pairs("").read(["__proto__=x"]);
  assertEquals(Object.entries(value), [["__proto__", "x"]]);
});
