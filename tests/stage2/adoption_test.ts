/**
 * What becomes of containers when their client and their server are killed: they go on, and
 * the next server knows them, and how those ended that nobody was there to see.
 *
 * @module
 */

import { crc32 } from "node:zlib";
import { kernel } from "../../ffi/mod.ts";
import { readExits } from "../../stage2/exits.ts";
import { assert, assertEquals } from "../assert.ts";
import { binary, count, root, Running, test } from "../harness.ts";
import {
  cgroupFolders,
  childrenOf,
  firstId,
  pause,
  refusal,
  Served,
  until,
  within,
} from "./served.ts";

function adoptionTest(name: string, body: (server: Served) => Promise<void>): void {
  test(`stage2 adoption: ${name}`, async ({ dir }) => {
    await using server = await Served.start(dir);
    await body(server);
    await server.quit();
  });
}

adoptionTest(
  "what a server had only begun when it was killed goes with the next one",
  async (server) => {
    await server.stage2.prepare("web", firstId);
    await server.killServer();
    await server.restart();
    assertEquals(await server.stage2.list(), []);
    assert((await cgroupFolders("web")).length > 0);
    assertEquals(await refusal(server.stage2.delete("web")), "supervise ENOENT");
    // Those in it may be dying still. What is not there is success.
    for (let time = 0; time < 2; time++) {
      await server.stage2.delete("web", true);
      assertEquals(await cgroupFolders("web"), []);
    }
  },
);

adoptionTest(
  "a container outlives its client and its server, and loses nothing",
  async (server) => {
    const lines = 40;
    const log = `${server.dir}/log`;
    await Deno.mkdir(log);
    const plan = await server.plan("web", ["tick", String(lines), "7"], { cgroup: true, log });
    const file = `${server.dir}/plan.json`;
    await Deno.writeTextFile(file, JSON.stringify(plan));
    server.stage2[Symbol.dispose]();
    const client = new Running([
      ...[Deno.execPath(), "run", "-A", `${root}/tests/stage2/lone_client.ts`],
      ...[server.socket, file],
    ]);
    await client.says(/^running$/m);
    client.signal("SIGKILL");
    await client.output;
    server.connect();
    const { pid } = await server.find("web") ?? { pid: 0 };
    await server.killServer();
    assertEquals(childrenOf(pid)?.length, 1);

    await server.restart();
    assertEquals(await server.stage2.list(), [{ id: "web", state: "running", pid }]);
    assertEquals((await (await server.exec("web", ["exit", "3"])).ended).status, 3);
    await server.stage2.freeze("web");
    const frozen = Deno.readTextFileSync(`${log}/log`);
    await pause(250);
    assertEquals(Deno.readTextFileSync(`${log}/log`), frozen);
    await server.stage2.thaw("web");
    await server.stage2.signal("web", 18);

    assertEquals((await server.ended("web")).status, 7);
    const said = Deno.readTextFileSync(`${log}/log`).trim().split("\n")
      .map((line) => line.replace(/^\S+ stdout F /, ""));
    assertEquals(said, Array.from({ length: lines }, (_, index) => `tick ${index + 1}`));
    const record = readExits(Deno.readFileSync(`${server.dir}/exits`));
    assertEquals(record.map(({ id, status, pid }) => [id, status, pid]), [["web", 7, pid]]);
    await server.stage2.delete("web");
    assertEquals(await cgroupFolders("web"), []);
  },
);

adoptionTest(
  "an end that no server saw is known, with its time and its want of memory",
  async (server) => {
    const resources = { memory: { limit: 16 * 1024 * 1024 } };
    await server.run("short", ["tick", "5", "5"]);
    await server.run("hungry", ["allocate", "64", "1"], { cgroup: true, resources });
    await server.create("waiting", ["sleep"]);
    await server.run("killed", ["sleep"]);
    const inits = new Map((await server.stage2.list()).map(({ id, pid }) => [id, pid]));
    await server.killServer();
    Deno.kill(inits.get("killed")!, "SIGKILL");
    const started = Date.now();
    for (const pid of inits.values()) {
      await until("the ends", () => Promise.resolve(childrenOf(pid) === undefined || undefined));
    }
    const ended = Date.now();
    await pause(300);

    await server.restart();
    const listed = new Map((await server.stage2.list()).map(({ id, exit }) => [id, exit]));
    assertEquals(listed.get("short")?.status, 5);
    const { endedAt = 0 } = listed.get("short") ?? {};
    assert(endedAt >= started - 1000 && endedAt <= ended, `${started} ${endedAt} ${ended}`);
    assertEquals([listed.get("hungry")?.status, listed.get("hungry")?.oom], [137, true]);
    assertEquals([listed.get("killed")?.status, listed.get("killed")?.oom], [137, false]);
    // Nobody was left to let it run.
    assertEquals(listed.get("waiting")?.status, 125);
    const record = readExits(Deno.readFileSync(`${server.dir}/exits`));
    assertEquals(record.map(({ id }) => id).toSorted(), ["hungry", "killed", "short", "waiting"]);
    for (const id of inits.keys()) await server.stage2.delete(id);
    assertEquals(await cgroupFolders("hungry"), []);
  },
);

adoptionTest("a container is adopted however it was made", async (server) => {
  for (const make of ["create", "run", "prepared create", "prepared run"]) {
    const id = make.replace(" ", "-");
    const log = `${server.dir}/log-${id}`;
    await Deno.mkdir(log);
    if (make.startsWith("prepared")) await server.stage2.prepare(id, 0x7000_0000);
    const wanted = { cgroup: true, log, stdin: true, terminal: true, stage1: true };
    const plan = await server.plan(id, ["tick", "15", "9"], wanted);
    const [ours, theirs] = kernel.pair();
    const operation = make.endsWith("run") ? "run" : "create";
    const { terminal } = await server.stage2[operation](plan, null, theirs);
    if (operation === "create") await server.stage2.start(id);
    kernel.close(theirs);
    await server.killServer();
    await server.restart();
    await server.stage2.resize(id, { rows: 10, columns: 20 });
    const input = await server.stage2.attach(id);
    for (const descriptor of [terminal, input]) {
      assert(descriptor !== undefined, make);
      kernel.close(descriptor);
    }
    assertEquals((await server.ended(id)).status, 9, make);
    assertEquals(Deno.readTextFileSync(`${log}/log`).trim().split("\n").length, 15, make);
    assertEquals(await within("its end", kernel.receive(ours, 1)), null);
    kernel.close(ours);
    await server.stage2.delete(id);
    assertEquals(await cgroupFolders(id), []);
  }
});

adoptionTest("a container is adopted again and again, and can be killed", async (server) => {
  await server.run("web", ["sleep"]);
  const { pid } = await server.find("web") ?? { pid: 0 };
  for (let round = 0; round < count(3, 50); round++) {
    await server.killServer();
    await server.restart();
    assertEquals((await server.find("web"))?.pid, pid);
  }
  await server.stage2.kill("web");
  assertEquals((await server.ended("web")).status, 137);
  // What has ended is known to the next one as well, and told once.
  await server.killServer();
  await server.restart();
  assertEquals((await server.find("web"))?.exit?.status, 137);
  assertEquals(readExits(Deno.readFileSync(`${server.dir}/exits`)).length, 1);
  await server.stage2.delete("web");
  await server.killServer();
  await server.restart();
  assertEquals(await server.stage2.list(), []);
});

adoptionTest("many containers are adopted at once, and new ones are others", async (server) => {
  const ids = Array.from({ length: count(20, 500) }, (_, index) => `c${index}`);
  for (const id of ids) await server.run(id, ["sleep"]);
  for (const id of ids.filter((_, index) => index % 3 === 0)) await server.remove(id);
  const before = await server.stage2.list();
  await server.killServer();
  await server.restart();
  assertEquals(await server.stage2.list(), before);
  await server.run("new", ["exit", "4"]);
  assertEquals((await server.ended("new")).status, 4);
  for (const { id } of [...before, { id: "new" }]) await server.remove(id);
});

adoptionTest("another process that has the pid by now is left alone", async (server) => {
  await server.run("web", ["sleep"]);
  const { pid } = await server.find("web") ?? { pid: 0 };
  await server.killServer();
  Deno.kill(pid, "SIGKILL");
  await until("its end", () => Promise.resolve(childrenOf(pid) === undefined || undefined));
  const stranger = new Deno.Command("sleep", { args: ["100"] }).spawn();
  changeSlot(`${server.dir}/containers`, (slot) => slot.setInt32(8, stranger.pid, true));

  await server.restart();
  const { state, exit } = await server.find("web") ?? {};
  assertEquals([state, exit?.status], ["stopped", 137]);
  await server.stage2.delete("web");
  await pause(100);
  assert(childrenOf(stranger.pid) !== undefined);
  stranger.kill();
  await stranger.status;
});

adoptionTest("an end that is on disk already is not recorded twice", async (server) => {
  await server.run("web", ["exit", "6"]);
  await server.ended("web");
  await server.killServer();
  // As if it had been killed between the record and its own note of it.
  changeSlot(`${server.dir}/containers`, (slot) => slot.setUint32(4, 1, true));
  Deno.truncateSync(`${server.dir}/ends/0`);
  await server.restart();
  const { exit } = await server.find("web") ?? {};
  assertEquals([exit?.status, exit?.record], [6, 1]);
  assertEquals(readExits(Deno.readFileSync(`${server.dir}/exits`)).length, 1);
  await server.stage2.delete("web");
});

adoptionTest("a second server is refused the state of the first", async (server) => {
  await server.run("web", ["sleep"]);
  const second = new Running([`${root}/build/tools/serve`, `${server.dir}/other`, binary], {
    env: { SPAWNER_STATE: server.dir },
  });
  assertEquals((await within("its end", second.output)).status, 125);
  await server.remove("web");
});

/** Changes the first slot of the file and makes it whole again. */
function changeSlot(path: string, change: (slot: DataView) => void): void {
  const bytes = Deno.readFileSync(path);
  const slot = bytes.subarray(0, 256);
  const view = new DataView(slot.buffer, slot.byteOffset, slot.length);
  change(view);
  view.setUint32(0, crc32(slot.subarray(4)), true);
  Deno.writeFileSync(path, bytes);
}
