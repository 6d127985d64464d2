/**
 * How the stage2 server tells of ends, and what of them is on disk.
 *
 * @module
 */

import { readExits } from "../../stage2/exits.ts";
import { assert, assertEquals } from "../assert.ts";
import { count, Running } from "../harness.ts";
import { names, pause, serverTest, until } from "./served.ts";

serverTest("an end is told by status, or 128 and the signal, with its time", async (server) => {
  const endings: [string[], number][] = [
    [["exit", "0"], 0],
    [["exit", "7"], 7],
    [["exit", "255"], 255],
    [["signal", "9"], 137],
    [["signal", "15"], 143],
  ];
  for (const [args, status] of endings) {
    const before = Date.now();
    await server.run("web", args);
    const exit = await server.ended("web");
    assertEquals(exit.status, status, args.join(" "));
    assert(exit.endedAt >= before - 1 && exit.endedAt <= Date.now() + 1, String(exit.endedAt));
    assertEquals((await server.find("web"))?.exit, exit);
    await server.remove("web");
  }
});

serverTest(
  "an end is on disk before it is told, and stays when the server is killed",
  async (server) => {
    const record = () => readExits(Deno.readFileSync(`${server.dir}/exits`));
    await server.run("first", ["exit", "7"]);
    await server.ended("first");
    assertEquals(record().map(({ id, status, oom }) => ({ id, status, oom })), [
      { id: "first", status: 7, oom: false },
    ]);
    await server.run("second", ["signal", "9"]);
    await server.ended("second");
    await server.remove("first");
    await server.remove("second");
    assertEquals(record().map(({ sequence, id, status }) => [sequence, id, status]), [
      [1, "first", 7],
      [2, "second", 137],
    ]);
  },
);

serverTest("ends that come together wait for the disk together", async (server) => {
  const ids = names(64);
  // One after the other: a create takes a worker, and this is about the ends.
  for (const id of ids) await server.run(id, ["sleep"]);
  const { pid } = server;
  const tracer = new Running(["strace", "-c", "-e", "trace=fdatasync", "-p", String(pid)]);
  await until("strace", () => {
    const status = Deno.readTextFileSync(`/proc/${pid}/status`);
    return Promise.resolve(/^TracerPid:\t[1-9]/m.test(status) || undefined);
  });
  const inits = (await server.stage2.list()).map(({ pid }) => pid);
  server.signal("SIGSTOP");
  for (const pid of inits) Deno.kill(pid, "SIGKILL");
  await pause(200);
  server.signal("SIGCONT");
  for (const id of ids) assertEquals((await server.ended(id)).status, 137);
  tracer.signal("SIGINT");
  const calls = Number(/(\d+) +(?:\d+ )?fdatasync/.exec((await tracer.output).stderr)?.[1]);
  console.log(`64 ends, ${calls} waits for the disk`);
  assert(calls >= 1 && calls <= 4, String(calls));
  const record = readExits(Deno.readFileSync(`${server.dir}/exits`));
  assertEquals(record.map(({ id }) => id).toSorted(), ids.toSorted());
  for (const id of ids) await server.remove(id);
});

serverTest("what is acknowledged leaves the record, what is not stays", async (server) => {
  const size = 128;
  let longest = 0;
  const cycles = count(600, 10_000);
  await server.run("kept", ["exit", "3"]);
  await server.ended("kept");
  for (let done = 0; done < cycles; done++) {
    await server.run("web", ["exit", "0"]);
    await server.ended("web");
    await server.remove("web");
    longest = Math.max(longest, Deno.statSync(`${server.dir}/exits`).size);
  }
  console.log(`${cycles + 1} ends, ${longest / size} records at most`);
  assert(longest <= 600 * size, String(longest));
  await server.remove("kept");

  // A client that takes no note keeps all that follows.
  server.stage2[Symbol.dispose]();
  server.connect({ forgetful: true });
  const [before] = readExits(Deno.readFileSync(`${server.dir}/exits`)).slice(-1);
  for (let done = 0; done < 20; done++) {
    await server.run("web", ["exit", "5"]);
    await server.ended("web");
    await server.remove("web");
  }
  const after = readExits(Deno.readFileSync(`${server.dir}/exits`), before?.sequence ?? 0);
  assertEquals(after.map(({ status }) => status), Array(20).fill(5));
  assertEquals(server.notices.length, 1, server.notices.join());
});

serverTest("a container that ran out of memory says so", async (server) => {
  const resources = { memory: { limit: 16 * 1024 * 1024 } };
  await server.run("hungry", ["allocate", "64"], { cgroup: true, resources });
  assertEquals((await server.ended("hungry")).oom, true);
  await server.remove("hungry");
  assertEquals(readExits(Deno.readFileSync(`${server.dir}/exits`)).map(({ oom }) => oom), [true]);
});
