/** The README's tour, carried out as it stands: typed line by line by one who reads. */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { root, test } from "../harness.ts";
import { endStage2 } from "../kurmad/daemon.ts";
import { exists, until } from "../stage2/served.ts";
import { prompt, Window } from "./window.ts";

const readme = await Deno.readTextFile(`${root}/README.md`);

/** All blocks of commands from the first image on; those before it build Kurma. */
const tour = readme.slice(readme.indexOf("\n## Your own image\n"));
const blocks = [...tour.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block);

/** The prompts: outside, for the rest of a command, and of a shell in a container. */
const prompts = /^(?:outside\$|>|\/ #)/gm;
const inside = /(?:^|\n)\/ #\n*$/;

/** Types a line, and waits until a shell asks for the next one. */
async function types(shell: Window, line: string): Promise<void> {
  const count = async () => [...(await shell.screen()).matchAll(prompts)].length;
  const before = await count();
  await shell.enters(line);
  await until(`the end of ${line}`, async () => await count() > before || undefined);
}

test("the README's tour works as it stands", async ({ dir, kurma }) => {
  await kurma(["install", "--symlinks", dir]);
  await Deno.mkdir(`${dir}/tour`);
  const before = new Set(Array.from(Deno.readDirSync("/var/lib/kurma"), ({ name }) => name));
  const said: string[] = [];
  {
    await using shell = await Window.open(dir);
    await types(shell, `PATH=${dir}:$PATH; cd tour`);
    for (const block of blocks) {
      await shell.shows(prompt);
      await shell.clears();
      for (const line of block.trimEnd().split("\n")) {
        await types(shell, line);
        // Somebody looks around, and goes on.
        if (inside.test(await shell.screen())) {
          await types(shell, "echo in a container as $$; exit");
        }
      }
      await shell.shows(prompt);
      said.push(await shell.screen());
      if (block.startsWith("kurma daemon ")) {
        await until("kurmad", async () => await exists("/run/kurma/kurma.sock") || undefined);
        await until("an answer", async () => (await kurma(["status"])).status === 0 || undefined);
      }
    }
    await shell.clears();
    await shell.enters("kill %1; wait; echo over");
    await shell.shows(/^over$/m);
  }
  await endStage2("/var/lib/kurma");
  await Deno.remove("/run/kurma", { recursive: true });
  for (const { name } of Deno.readDirSync("/var/lib/kurma")) {
    // What a daemon keeps; the image store stays for the next test.
    if (!before.has(name) && name !== "images") {
      await Deno.remove(`/var/lib/kurma/${name}`, { recursive: true });
    }
  }

  const all = said.join("\n");
  for (const format of ["busybox.aci", "busybox.oci", "busybox.tar"]) {
    assert(all.includes(`kurma run ${format}`), format);
  }
  const answers = all.split("\n").filter((line) => /^(hello from \d+|\d+|hi|again)$/.test(line));
  assertEquals(answers, ["hello from 2", "7", "hi", "again"]);
  // Seen in the list, inspected, entered, and removed.
  assertMatch(all, /\nweb +[0-9a-f]{12} +box +running /);
  assertMatch(all, /"name": "web"/);
  assertEquals([...all.matchAll(/^in a container as \d+$/gm)].length, 2);
  assertMatch(all, /\noutside\$ kurma stop web\nweb\n/);
  assertMatch(all, /\noutside\$ kurma rm web\nweb\n/);
  assert(!/^kurma: /m.test(all), all);
});
