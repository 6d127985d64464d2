import { assertEquals } from "../../tests/assert.ts";
import { painted, unpainted } from "../colour.ts";
import { paragraph } from "./doctor.ts";

const bad = {
  check: "state",
  state: "bad",
  finding: "The clock\x1b[31m is wrong",
  meaning: "Certificates of registries are not valid",
  fix: "Set it",
} as const;

Deno.test("a finding has its meaning and what to do below it, in the terminal's width", () => {
  assertEquals(
    paragraph(bad, 44, unpainted),
    `
bad   state       The clock\\x1b[31m is wrong
                  Certificates of registries
                  are not valid
                  Set it`.slice(1),
  );
});

Deno.test("in a pipe no line of a finding is broken", () => {
  assertEquals(paragraph(bad, undefined, unpainted).split("\n").map((line) => line.trim()), [
    "bad   state       The clock\\x1b[31m is wrong",
    bad.meaning,
    bad.fix,
  ]);
});

Deno.test("what is ok takes one line, and its state is green", () => {
  assertEquals(
    paragraph({ ...bad, state: "ok", finding: "Fine" }, 80, painted),
    "\x1b[32mok\x1b[0m    state       Fine",
  );
});
