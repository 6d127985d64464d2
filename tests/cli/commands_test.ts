/**
 * Every command of the table: its main path, its commonest mistake with what is said to it, and
 * its JSON as jq reads it. One daemon a subject, one process a call; a command without a case fails.
 */

import { type Command, type Entry, isGroup } from "../../cmd/cli/command.ts";
import { top } from "../../cmd/cli/surface.ts";
import { assertEquals, assertMatch } from "../assert.ts";
import { mustRun, run, test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { type Cases, Shop } from "./cases.ts";
import { containerCases } from "./cases_containers.ts";
import { otherCases } from "./cases_others.ts";
import { podCases } from "./cases_pods.ts";
import { remoteCases } from "./cases_remote.ts";

const subjects: Readonly<Record<string, Cases>> = {
  "containers": containerCases,
  "pods": podCases,
  "images, volumes and Kurma": otherCases,
  "other machines": remoteCases,
};
const cases: Cases = Object.assign({}, ...Object.values(subjects));

/** Commands that print what somebody else wrote, text for another program, or a word. */
const unstructured = new Set([
  ...["run", "exec", "enter", "attach", "install", "completion", "complete", "help"],
  ...["api serve", "api policy", "dial-stdio", "config check", "config example"],
]);

/** Every command by the words that call it. */
function* commands(path: string[], entry: Entry): Generator<[path: string, command: Command]> {
  if (!isGroup(entry)) yield [path.join(" "), entry];
  else {
    for (const [word, below] of Object.entries(entry.commands)) {
      yield* commands([...path, word], below);
    }
  }
}

Deno.test("every command has a case here, and JSON where it has rows", async () => {
  const all = [...commands([], await top())];
  assertEquals(Object.keys(cases).sort(), all.map(([path]) => path).sort());
  for (const [path, { flags }] of all) {
    const output = flags.output?.choices?.includes("json") ?? false;
    assertEquals(output, !unstructured.has(path), `${path} --output json`);
    if (path !== "image push") assertEquals(cases[path].json !== undefined, output, path);
  }
});

for (const [subject, cases] of Object.entries(subjects)) {
  test(`each command about ${subject} does what it is for, and says what is wrong`, async ({ dir }) => {
    await using kurmad = await Kurmad.start(dir);
    const shop = new Shop(kurmad);
    await shop.open();
    for (const [path, { main, mistake: [line, status, message], json }] of Object.entries(cases)) {
      const begun = performance.now();
      await main(shop);
      await shop.fails(status, message, shop.args(line));
      if (json) {
        const [line, filter, said] = json;
        const stdin = await shop.says(shop.args(line));
        const { stdout, stderr } = await run(["/usr/bin/jq", "-r", filter], { stdin });
        assertEquals(stderr, "", `${line} | jq '${filter}': ${stdin}`);
        if (typeof said === "string") assertEquals(stdout.trimEnd(), said, line);
        else assertMatch(stdout.trimEnd(), said);
      }
      console.log(`${path}: ${Math.round(performance.now() - begun)} ms`);
    }
    await mustRun(["rm", "-rf", `${dir}/store`]);
    await kurmad.quit();
  });
}
