/** The examples of the help, each run as it stands in a {@link World}. */

import { type Entry, isGroup } from "../../cmd/cli/command.ts";
import { top } from "../../cmd/cli/surface.ts";
import { assert, assertEquals } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { withRegistry } from "../images/registry.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { type End, surroundings, World } from "./examples_world.ts";

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

const address = ["192.0.2.1/32", "dev", "lo"];

/** All examples of the table. */
function* examples(entry: Entry): Generator<string> {
  for (const [line] of entry.examples) yield line;
  if (!isGroup(entry)) return;
  for (const each of Object.values(entry.commands)) yield* examples(each);
}

test("the examples of the help work as they stand", async ({ dir }) => {
  await Deno.mkdir("/run/kurma");
  // One that kurma api serve is to listen on; the test has a network of its own.
  await mustRun(["ip", "address", "add", ...address]);
  await withRegistry(dir, { port: 80 }, async () => {
    await using kurmad = await Kurmad.start(dir, await surroundings(dir));
    const world = new World(dir, kurmad);
    await world.furnish();
    let count = 0;
    for (const example of examples(await top())) {
      const line = await world.prepare(example);
      const end = follows[example];
      const { status, stderr } = end === undefined
        ? await world.carryOut(line)
        : await world.follow(line, end);
      assertEquals([status, /^kurma: /m.test(stderr)], [0, false], `${line}: ${stderr}`);
      await world.examine(example);
      count++;
    }
    console.log(`${count} examples run`);
    assert(count >= 195);
    await kurmad.quit();
  });
  await mustRun(["ip", "address", "del", ...address]);
  await Deno.remove("/run/kurma");
});
