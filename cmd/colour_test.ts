import { assertEquals } from "../tests/assert.ts";
import { painted, unpainted, wantsColour } from "./colour.ts";

const cases: [terminal: boolean, env: Record<string, string>, wanted: boolean][] = [
  [true, {}, true],
  [false, {}, false],
  [true, { TERM: "dumb" }, false],
  [true, { CLICOLOR: "0" }, false],
  [true, { NO_COLOR: "1" }, false],
  [true, { NO_COLOR: "" }, true],
  [false, { CLICOLOR_FORCE: "1" }, true],
  [false, { CLICOLOR_FORCE: "0" }, false],
  [true, { CLICOLOR_FORCE: "0" }, false],
  [false, { FORCE_COLOR: "3" }, true],
  [true, { FORCE_COLOR: "0" }, false],
  [false, { FORCE_COLOR: "1", NO_COLOR: "1" }, false],
];
for (const [terminal, env, wanted] of cases) {
  const where = terminal ? "a terminal" : "a pipe";
  Deno.test(`${where} with ${JSON.stringify(env)} gets ${wanted ? "" : "no "}colours`, () => {
    assertEquals(wantsColour(terminal, (name) => env[name]), wanted);
  });
}

Deno.test("painted() goes back to normal after each text, and says nothing of an empty one", () => {
  assertEquals(painted("up", "green"), "\x1b[32mup\x1b[0m");
  assertEquals(painted("up", undefined) + painted("", "red"), "up");
  assertEquals(unpainted("up", "green"), "up");
});
