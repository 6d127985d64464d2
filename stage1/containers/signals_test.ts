import { constants } from "node:os";
import { assertEquals } from "../../tests/assert.ts";
import { signalName, signalNumber } from "./signals.ts";

Deno.test("signals have Linux's numbers, by any of their spellings", () => {
  const theirs = Object.entries(constants.signals).filter(([name]) => name !== "SIGUNUSED");
  for (const [name, number] of theirs) {
    assertEquals([signalNumber(name), signalNumber(name.slice(3).toLowerCase())], [number, number]);
  }
  for (let number = 1; number <= 31; number++) {
    assertEquals(signalNumber(signalName(number)), number);
    assertEquals(signalNumber(String(number)), number);
  }
});

const realtime: [string, number | undefined][] = [
  ["SIGRTMIN", 34],
  ["SIGRTMIN+3", 37],
  ["RTMIN+30", 64],
  ["SIGRTMIN+31", undefined],
  ["SIGRTMAX", 64],
  ["SIGRTMAX-1", 63],
  ["SIGRTMAX-30", 34],
  ["SIGRTMAX+1", undefined],
  ["SIGRTMIN-1", undefined],
];
for (const [text, number] of realtime) {
  Deno.test(`${text} is ${number ?? "no signal"}`, () => {
    assertEquals(signalNumber(text), number);
    if (number !== undefined) assertEquals(signalNumber(signalName(number)), number);
  });
}

for (const text of ["", "0", "65", "-1", "SIG", "SIGNOPE", "TERM ", "1e1", "CLD2"]) {
  Deno.test(`"${text}" is no signal`, () => assertEquals(signalNumber(text), undefined));
}
