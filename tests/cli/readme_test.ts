/** The README's tour, carried out as it stands. */

import { assert, assertEquals } from "../assert.ts";
import { mustRun, root, test } from "../harness.ts";

const readme = await Deno.readTextFile(`${root}/README.md`);
const tour = /^## Your own image$([^]*?)^## /m.exec(readme)?.[1] ?? "";
const blocks = [...tour.matchAll(/^```sh\n([^]*?)^```$/gm)].map(([, block]) => block);

test("the README's tour works as it stands", async ({ dir, kurma }) => {
  await kurma(["install", "--symlinks", dir]);
  const script = blocks.join("\n");
  for (const format of ["busybox.aci", "busybox.oci", "busybox.tar"]) {
    assert.ok(script.includes(`kurma run ${format}`), format);
  }
  await Deno.mkdir(`${dir}/tour`);
  const env = { PATH: `${dir}:/usr/bin:/bin` };
  const said = (await mustRun(["sh", "-uc", script], { cwd: `${dir}/tour`, env })).split("\n");
  assertEquals(said.filter((line) => /^(hello from \d+|\d+|hi|again)$/.test(line)), [
    "hello from 2",
    "7",
    "hi",
    "again",
  ]);
});
