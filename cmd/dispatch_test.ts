import { assertEquals } from "../tests/assert.ts";
import { choose } from "./dispatch.ts";

const roles: [called: string, args: string[], pid: number, name: string, left: string[]][] = [
  ["/usr/bin/kurmad", ["-x"], 9, "kurmad", ["-x"]],
  ["./kurma", ["daemon", "-x"], 9, "kurmad", ["-x"]],
  ["kurma-cli", ["api"], 9, "kurma-api", []],
  ["kurma", ["run", "daemon"], 9, "kurma", ["run", "daemon"]],
  ["-kurma", [], 9, "kurma", []],
  ["kurmad", ["api"], 9, "kurmad", ["api"]],
  ["/init", ["splash"], 1, "kurma-init", ["splash"]],
  ["kurma", [], 1, "kurma-init", []],
  ["kurma-cli", ["version"], 1, "kurma-cli", ["version"]],
  ["busybox", ["run"], 9, "busybox", ["run"]],
];
for (const [called, args, pid, name, left] of roles) {
  Deno.test(`choose() takes ${[called, ...args].join(" ")} as process ${pid} for ${name}`, () => {
    assertEquals(choose(called, args, pid), { name, args: left });
  });
}
