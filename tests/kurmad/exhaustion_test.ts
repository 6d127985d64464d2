/**
 * A machine that has nothing left of something: kurmad refuses with the reason, and goes on
 * when there is some again.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { oneLine } from "../../stage1/containers/host.ts";
import { assert, assertEquals, rejection } from "../assert.ts";
import { existsSync } from "node:fs";
import { binary, mustRun, skip, test } from "../harness.ts";
import { until } from "../stage2/served.ts";
import { Kurmad, kurmadTest } from "./daemon.ts";

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

/** Gives a call the time to come to where it waits; it would be right anywhere. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 100));

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

kurmadTest(
  "with no descriptors left it refuses, and goes on when there are some",
  async (kurmad) => {
    await importBox(kurmad);
    await create(kurmad, "first", "sleep 1000");
    const limit = (count: number) =>
      mustRun(["prlimit", `--pid=${kurmad.pid}`, `--nofile=${count}:`]);
    /** The limit that leaves room for so many more: free numbers below it count. */
    const leave = (spare: number) => {
      const open = new Set([...Deno.readDirSync(`/proc/${kurmad.pid}/fd`)].map(({ name }) => name));
      let number = 0;
      for (let free = spare; free > 0 || open.has(String(number)); number++) {
        if (!open.has(String(number))) free--;
      }
      return limit(number);
    };
    using streams = await kurmad.api.streams();
    const exec = async () => {
      async function* requests() {
        const value = { container: "first", command: ["echo", "hello"] };
        yield { message: { case: "start" as const, value } };
      }
      let output = "";
      for await (const { message } of streams.containers.exec(requests())) {
        if (message.case === "output") output += new TextDecoder().decode(message.value);
      }
      return output;
    };
    assertEquals(await exec(), "hello\n"); // Over a connection that is there from now on.
    await leave(2);
    const { message } = await rejection(exec());
    assert(message.includes("EMFILE"), message);
    // Who connects waits for a descriptor, and may be the one for whom there are too few then.
    for (const spare of [0, 1]) {
      await leave(spare);
      const outcome = create(kurmad, `waits${spare}`, "sleep 1000").then(() => "made", oneLine);
      await settled();
      await limit(4096);
      assert(/^made$|EMFILE|Too many open files/.test(await outcome), await outcome);
    }
    assertEquals(await exec(), "hello\n");
    await create(kurmad, "last", "sleep 1000");
    assertEquals((await get(kurmad, "first"))?.state, "CONTAINER_STATE_RUNNING");
  },
);

const pids = "/sys/fs/cgroup/pids";
const limitedTest = existsSync(`${pids}/cgroup.procs`)
  ? kurmadTest
  : (name: string) => skip(`kurmad: ${name}`, "the number of processes is not in version 1 here");

limitedTest(
  "with no processes left it refuses, and goes on when there are some",
  async (kurmad) => {
    await importBox(kurmad);
    await create(kurmad, "first", "sleep 1000");
    const stage2 = kurmad.stage2Pid();
    const few = `${pids}/few`;
    Deno.mkdirSync(few);
    try {
      Deno.writeTextFileSync(`${few}/pids.max`, "1");
      Deno.writeTextFileSync(`${few}/cgroup.procs`, String(stage2));
      // Those that were prepared before have their processes already.
      const refusal = await until("a refusal", async () => {
        const name = `c${crypto.randomUUID().slice(0, 8)}`;
        return await create(kurmad, name, "sleep 1000").then(() => undefined, oneLine);
      });
      assert(refusal.includes("EAGAIN"), refusal);
      assertEquals((await get(kurmad, "first"))?.state, "CONTAINER_STATE_RUNNING");
    } finally {
      Deno.writeTextFileSync(`${pids}/cgroup.procs`, String(stage2));
    }
    await create(kurmad, "last", "sleep 1000");
    await kurmad.api.call("Containers", "Kill", { container: "first", signal: "KILL" });
    await until("the end of the first one", async () => (await get(kurmad, "first"))?.exit);
    Deno.removeSync(few);
  },
);
