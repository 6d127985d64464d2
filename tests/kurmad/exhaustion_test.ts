/**
 * A machine that has nothing left of something: kurmad refuses with the reason, and goes on
 * when there is some again.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { assert, assertEquals, rejection } from "../assert.ts";
import { binary, mustRun, test } from "../harness.ts";
import { until } from "../stage2/served.ts";
import { Kurmad } from "./daemon.ts";

const create = (kurmad: Kurmad, name: string, script: string) =>
  kurmad.api.call("Containers", "Create", {
    name,
    image: "box",
    start: true,
    settings: { command: ["sh", "-c", script] },
  });

/** An image in the store: to start from it, nothing of it is written any more. */
async function importBox({ dir, image }: Kurmad): Promise<void> {
  await mustRun([binary, "image", "import", "--root", `${dir}/state`, "--name", "box", image]);
}

/** How many events of that kind were told. */
async function told({ dir }: Kurmad, action: string): Promise<number> {
  const past = ["--since", "1h", "--until", "0s", "--filter", `event=${action}`];
  const lines = await mustRun([binary, "events", "-H", `${dir}/kurma.sock`, ...past]);
  return lines.split("\n").filter(Boolean).length;
}

const get = async (kurmad: Kurmad, name: string) =>
  (await kurmad.api.call("Containers", "Get", { container: name })).container;

test("kurmad: with a full disk it refuses, and no end is lost", async ({ dir }) => {
  await Deno.mkdir(`${dir}/state`);
  await mustRun(["mount", "-t", "tmpfs", "-o", "size=64m,mode=700", "none", `${dir}/state`]);
  try {
    await using kurmad = await Kurmad.start(dir);
    await importBox(kurmad);
    for (const name of ["first", "again"]) {
      await create(kurmad, name, "trap 'exit 9' TERM; while :; do sleep 0.02; done");
    }
    const filling = `${dir}/state/filling`;
    const fill = () => mustRun(["sh", "-c", `cat /dev/zero >>${filling} 2>/dev/null || true`]);
    await fill();
    const refused = async (call: Promise<unknown>) => {
      const error = await rejection(call);
      assert(error.message.includes("ENOSPC"), error.message);
      assert(error instanceof KurmaError && error.fix?.includes("Free some space"), error.message);
    };
    await refused(create(kurmad, "second", "sleep 1000"));
    const { containers = [] } = await kurmad.api.call("Containers", "List", {});
    assertEquals(containers.map(({ name }) => name), ["again", "first"]);
    // What ends meanwhile is known at once, and on disk as soon as there is room.
    const ends = async (name: string) => {
      await fill();
      Deno.kill(Number((await get(kurmad, name))?.pid), "SIGTERM");
      return await until("its end", async () => (await get(kurmad, name))?.exit);
    };
    const first = await ends("first");
    assertEquals(first.code, 9);
    await Deno.remove(filling);
    await kurmad.killed();
    assertEquals((await get(kurmad, "first"))?.exit, first);
    const again = await ends("again");
    await Deno.remove(filling);
    await create(kurmad, "second", "sleep 1000");
    assertEquals((await get(kurmad, "again"))?.exit, again);
    await until("its end on disk", async () => {
      return await told(kurmad, "exit") === 2 || undefined;
    });
    await kurmad.quit();
  } finally {
    await mustRun(["umount", "-l", `${dir}/state`]);
  }
});
