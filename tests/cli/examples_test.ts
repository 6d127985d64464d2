/** The examples of the help, each run as it stands in a {@link World}. */

import { type Entry, isGroup } from "../../cmd/cli/command.ts";
import { top } from "../../cmd/cli/commands.ts";
import { assert, assertEquals } from "../assert.ts";
import { test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { type End, World } from "./examples_world.ts";

/** What asks somebody out there. */
const elsewhere = /registry\.example\.com|^kurma image pull /;

/** What does not end by itself. */
const follows: Readonly<Record<string, End>> = {
  "kurma attach web": "web ends",
  "kurma attach --no-stdin --tail 10 web": "web ends",
  "kurma logs --follow --tail 20 web": "web ends",
  "kurma events": "interrupt",
  "kurma events -o json --filter name=web | jq --unbuffered .action": "interrupt",
  "kurma api serve": "serves",
  "kurma api serve --listen 192.0.2.1:12312 --allow-tokens": "serves",
  "kurma api serve --insecure-loopback --listen 127.0.0.1:8080": "serves",
  "kurma dial-stdio": "answers",
  "kurma dial-stdio -H /run/kurma/kurma.sock": "answers",
};

/** All examples of the table. */
function* examples(entry: Entry): Generator<string> {
  for (const [line] of entry.examples) yield line;
  if (!isGroup(entry)) return;
  for (const each of Object.values(entry.commands)) yield* examples(each);
}

test("the examples of the help work as they stand", async ({ dir }) => {
  await Deno.mkdir("/run/kurma");
  await using kurmad = await Kurmad.start(dir, { socket: "/run/kurma/kurma.sock" });
  {
    await using world = new World(dir, kurmad);
    await world.furnish();
    const left: string[] = [];
    let count = 0;
    for (const example of examples(await top())) {
      if (elsewhere.test(example)) {
        left.push(example);
        continue;
      }
      const line = await world.prepare(example);
      const end = follows[example];
      const { status, stderr } = end === undefined
        ? await world.carryOut(line)
        : await world.follow(line, end);
      assertEquals([status, /^kurma: /m.test(stderr)], [0, false], `${line}: ${stderr}`);
      await world.examine(example);
      count++;
    }
    console.log(`${count} examples run; not run: ${left.join("; ")}`);
    assert(count >= 191);
  }
  await kurmad.quit();
  await Deno.remove("/run/kurma");
});
