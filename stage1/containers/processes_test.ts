import { assertEquals } from "../../tests/assert.ts";
import { parseStat, processesOf } from "./processes.ts";

Deno.test("a name with brackets and spaces does not move the fields", () => {
  const stat = "42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 1 0 12345 1 2 3";
  assertEquals(parseStat(stat), {
    name: "a) b (c",
    state: "S",
    parent: 7,
    user: 150,
    system: 50,
    start: 12345,
  });
});

Deno.test("this very process is found with its arguments", () => {
  const own = processesOf(Deno.pid, 0).find(({ pid }) => pid === Deno.pid);
  assertEquals(own?.command[0].split("/").at(-1), "deno"); // As it was called.
  assertEquals(own!.residentBytes > 1024 * 1024, true);
  assertEquals(Math.abs(Date.now() - own!.startedAt) < 3_600_000, true);
});

Deno.test("a process that is gone has none", () => {
  assertEquals(processesOf(0x3fffffff, 0), []);
});
