/**
 * The stage2 server as kurmad meets it: what each request does, and that nothing a
 * container or a client does stops it.
 *
 * @module
 */

import { Reply, Request, Request_operation } from "../../ffi/abi.gen.ts";
import { kernel } from "../../ffi/mod.ts";
import { assert, assertEquals } from "../assert.ts";
import { parseReport } from "../guest/report.ts";
import { count, mustRun, test } from "../harness.ts";
import {
  cgroupFolders,
  cgroupValue,
  childrenOf,
  gone,
  names,
  Output,
  pause,
  refusal,
  Served,
  serverTest,
  until,
  within,
} from "./served.ts";

/** What a client is told that is cut off. */
const closed = "Cannot go on: the connection to stage2 is closed";

serverTest("a created container waits, start lets its command run", async (server) => {
  using output = new Output();
  const plan = await server.plan("web", ["write-lines", "2"]);
  await server.stage2.create(plan, output.streams);
  await pause(100);
  assertEquals([output.text, (await server.find("web"))?.state], ["", "created"]);
  await server.stage2.start("web");
  assertEquals((await server.ended("web")).status, 0);
  assertEquals(output.text, "line 1\nline 2\n");
  assertEquals((await server.find("web"))?.state, "stopped");
  await server.remove("web");
});

serverTest("a delete that fails keeps the container, and may be repeated", async (server) => {
  await server.run("web", ["exit", "3"], { cgroup: true });
  await server.ended("web");
  const mounts = (await cgroupFolders("web")).map((folder) =>
    folder.replace(/(\/tests)?\/kurma\/web$/, "")
  );
  const remount = async (how: string) => {
    for (const mount of mounts) await mustRun(["mount", "-o", `remount,bind,${how}`, mount]);
  };
  await remount("ro");
  try {
    assert(/^(cgroup|remove|signal) EROFS$/.test(await refusal(server.stage2.delete("web"))));
    const { state, exit } = await server.find("web") ?? {};
    assertEquals([state, exit?.status], ["stopped", 3]);
  } finally {
    await remount("rw");
  }
  await server.stage2.delete("web");
  assertEquals(await cgroupFolders("web"), []);
  assertEquals(await server.find("web"), undefined);
});

serverTest("exec runs further processes, as users and with terminals", async (server) => {
  await server.run("web", ["sleep"]);
  assertEquals((await (await server.exec("web", ["exit", "9"])).ended).status, 9);
  assertEquals((await (await server.exec("web", ["signal", "15"])).ended).status, 143);

  using output = new Output();
  const asUser = await server.exec("web", [], output.streams, "1000:2000");
  assertEquals((await asUser.ended).status, 0);
  const seen = parseReport(output.text);
  assertEquals(seen.status.Uid, "1000\t1000\t1000\t1000");
  assertEquals(seen.status.Gid, "2000\t2000\t2000\t2000");

  const onTerminal = await server.exec("web", ["terminal"], null, "0", true);
  assert(onTerminal.terminal !== undefined);
  assert((await Deno.readLink(`/proc/self/fd/${onTerminal.terminal}`)).endsWith("ptmx"));
  assertEquals((await onTerminal.ended).status, 0);
  kernel.close(onTerminal.terminal);

  assertEquals(
    await refusal(server.exec("web", ["exit", "0"], null, "nobody-here")),
    "user ENOENT",
  );
  await server.remove("web");
});

serverTest("exec takes all that a process may be given", async (server) => {
  await server.run("web", ["sleep"]);
  using output = new Output();
  const { ended } = await server.stage2.exec({
    kurma: { id: "web", user: "1000:2000", seccomp: "default" },
    process: {
      args: ["/guest"],
      env: ["GREETING=hello", "EMPTY="],
      cwd: "/etc",
      noNewPrivileges: true,
      user: { umask: 0o027, additionalGids: [7, 2000, 9] },
      rlimits: [{ type: "RLIMIT_NOFILE", soft: 50, hard: 60 }],
      capabilities: {
        bounding: ["CAP_KILL", "CAP_CHOWN"],
        permitted: ["CAP_KILL"],
        effective: ["CAP_KILL"],
        inheritable: ["CAP_KILL"],
        ambient: ["CAP_KILL"],
      },
    },
  }, output.streams);
  assertEquals((await ended).status, 0);
  const seen = parseReport(output.text);
  assertEquals(seen.env, ["GREETING=hello", "EMPTY=", "HOME=/"]);
  assertEquals([seen.cwd, seen.umask], ["/etc", 0o027]);
  assertEquals(seen.rlimits.NOFILE, ["50", "60"]);
  const { Uid, Gid, Groups, NoNewPrivs, Seccomp, CapBnd, CapEff, CapAmb } = seen.status;
  assertEquals([Uid, Gid], ["1000\t1000\t1000\t1000", "2000\t2000\t2000\t2000"]);
  assertEquals(Groups.trim(), "7 9 2000");
  assertEquals([NoNewPrivs, Seccomp], ["1", "2"]);
  assertEquals([CapBnd, CapEff, CapAmb].map((set) => parseInt(set, 16)), [0x21, 0x20, 0x20]);
  await server.remove("web");
});

serverTest("many short processes in a container all tell their end", async (server) => {
  await server.run("web", ["sleep"]);
  for (let done = 0; done < count(200, 5000); done += 20) {
    const ends = Array.from({ length: 20 }, async (_, index) => {
      const { ended } = await server.exec("web", ["exit", String(index)]);
      return (await ended).status;
    });
    const statuses = await within("20 processes", Promise.all(ends));
    assertEquals(statuses, Array.from({ length: 20 }, (_, index) => index));
  }
  await server.remove("web");
});

serverTest("descriptors of a container's processes are 0 to 2 only", async (server) => {
  using main = new Output();
  using further = new Output();
  // Another one that is being made, and a second client, are open meanwhile.
  await server.create("other", ["sleep"]);
  await server.stage2.create(await server.plan("web", []), main.streams);
  await server.stage2.start("web");
  await server.ended("web");
  await server.stage2.start("other");
  await (await server.exec("other", [], further.streams)).ended;
  for (const output of [main, further]) {
    assertEquals(Object.keys(parseReport(output.text).fds).sort(), ["0", "1", "2"]);
  }
  await server.remove("web");
  await server.remove("other");
});

serverTest("a command that does not exist fails its start and leaves nothing", async (server) => {
  const plan = await server.plan("web", [], { cgroup: true });
  const missing = { ...plan.config.process, args: ["/no/such/program"] };
  await server.stage2.create({ ...plan, config: { ...plan.config, process: missing } }, null);
  assertEquals(await refusal(server.stage2.start("web")), "exec ENOENT");
  await gone(server, "web");
});

serverTest("a key that is not known is refused by its name", async (server) => {
  const { kurma, config } = await server.plan("web", ["exit", "0"]);
  const strange = { ...config, linux: { ...config.linux, unheardOf: {} } };
  assertEquals(
    await refusal(server.stage2.create({ kurma, config: strange }, null)),
    'Cannot carry out the plan: Unknown key "config.linux.unheardOf"',
  );
});

serverTest("requests that do not fit a container's state are refused", async (server) => {
  const { stage2 } = server;
  await server.create("web", ["sleep"]);
  assertEquals(await refusal(server.create("web", ["sleep"])), "supervise EEXIST");
  assertEquals((await (await server.exec("web", ["exit", "5"])).ended).status, 5); // Before its command.
  assertEquals(await refusal(stage2.delete("web")), "supervise EBUSY");
  const starts = await Promise.all([refusal(stage2.start("web")), refusal(stage2.start("web"))]);
  assertEquals(starts.sort(), ["done", "supervise EBUSY"]);
  assertEquals(await refusal(stage2.start("web")), "supervise EBUSY");
  assertEquals(await refusal(stage2.delete("web")), "supervise EBUSY");
  assertEquals(await refusal(stage2.freeze("web")), "freeze EOPNOTSUPP");
  assertEquals(await refusal(stage2.signal("web", 200)), "signal EINVAL");
  assertEquals(await refusal(stage2.quit()), "supervise EBUSY");
  await stage2.kill("web");
  assertEquals((await server.ended("web")).status, 137);
  assertEquals(await refusal(stage2.signal("web", 15)), "signal ESRCH");
  assertEquals(await refusal(stage2.kill("web")), "signal ESRCH");
  await stage2.delete("web");
  for (const operation of ["start", "kill", "delete", "freeze"] as const) {
    assertEquals(await refusal(stage2[operation]("web")), "supervise ENOENT", operation);
  }
});

serverTest("a signal goes to the command", async (server) => {
  using output = new Output();
  await server.stage2.create(await server.plan("web", ["catch"]), output.streams);
  await server.stage2.start("web");
  await until("the guest", () => Promise.resolve(output.text.includes("ready") || undefined));
  await server.stage2.signal("web", 10);
  assertEquals((await server.ended("web")).status, 0);
  assertEquals(output.text, "ready\nsignal 10\n");
  await server.remove("web");
});

serverTest("a container that is frozen does nothing until it is thawed", async (server) => {
  await server.run("web", ["sleep"], { cgroup: true });
  await server.stage2.freeze("web");
  await server.stage2.signal("web", 15);
  await pause(200);
  assertEquals((await server.find("web"))?.state, "running");
  await server.stage2.thaw("web");
  assertEquals((await server.ended("web")).status, 143);
  await server.remove("web");
});

serverTest("limits hold for every process of a container", async (server) => {
  const resources = { pids: { limit: 17 }, memory: { limit: 64 * 1024 * 1024 } };
  await server.run("web", ["sleep"], { resources });
  assertEquals(await cgroupValue("web", "pids.max"), "17");
  const memory = await cgroupValue("web", "memory.max") ??
    await cgroupValue("web", "memory.limit_in_bytes");
  assertEquals(memory, "67108864");

  const { pid, ended } = await server.exec("web", ["sleep", "1"]);
  const [pids] = (await cgroupFolders("web")).filter((folder) => folder.includes("/pids/"));
  const members =
    (await Deno.readTextFile(`${pids ?? (await cgroupFolders("web"))[0]}/cgroup.procs`))
      .trim().split("\n").map(Number);
  assert(members.includes(pid), `${pid} is not in ${members}`);
  await ended;

  await server.remove("web");
  assertEquals(await cgroupFolders("web"), []);
});

serverTest("limits change while a container runs, and what it uses is told", async (server) => {
  const resources = { pids: { limit: 17 }, memory: { limit: 64 * 1024 * 1024 } };
  await server.run("web", ["allocate", "8", "1"], { resources });
  const before = await server.stage2.stats("web");
  assertEquals(before.memory.limit, resources.memory.limit);
  assertEquals(before.pids, { current: 2, limit: 17 }); // The init and the command.
  assert((before.cpu.usageNs ?? 0) > 0 && (before.memory.used ?? 0) > 0, JSON.stringify(before));
  assertEquals(before.memory.oomKills, 0);

  await server.stage2.update("web", { memory: { limit: 32 * 1024 * 1024 } });
  await server.stage2.update("web", { pids: { limit: 5 }, cpu: { quota: 50_000 } });
  assertEquals((await server.ended("web")).status, 0);
  const after = await server.stage2.stats("web");
  assertEquals([after.memory.limit, after.pids.limit], [32 * 1024 * 1024, 5]);
  assert((after.memory.peak ?? 0) > 8 * 1024 * 1024, JSON.stringify(after.memory));
  assert((after.cpu.usageNs ?? 0) >= (before.cpu.usageNs ?? 0));

  const refused = { pids: { limit: 5 }, speed: 1 };
  assertEquals(
    await refusal(server.stage2.update("web", refused)),
    'Cannot carry out the plan: Unknown key "resources.speed"',
  );
  assert(
    /^limit E[A-Z]+$/.test(await refusal(server.stage2.update("web", { cpu: { period: 1 } }))),
  );
  await server.remove("web");
  await server.run("bare", ["sleep"]);
  assertEquals(await refusal(server.stage2.stats("bare")), "cgroup EOPNOTSUPP");
  assertEquals(await refusal(server.stage2.update("bare", resources)), "cgroup EOPNOTSUPP");
  await server.remove("bare");
});

serverTest("containers deleted all at once leave no cgroup", async (server) => {
  const ids = names(80);
  for (const id of ids) await server.run(id, ["exit", "0"], { cgroup: true });
  await Promise.all(ids.map((id) => server.ended(id)));
  await within("80 deletes", Promise.all(ids.map((id) => server.stage2.delete(id))));
  for (const id of ids) assertEquals(await cgroupFolders(id), []);
});

serverTest("the next client hears of what happened without one", async (server) => {
  await server.run("short", ["sleep", "1"]);
  await server.run("long", ["sleep"]);
  server.stage2[Symbol.dispose]();
  await pause(1300);
  server.connect();
  const listed = new Map((await server.stage2.list()).map((state) => [state.id, state]));
  assertEquals([listed.get("short")?.state, listed.get("long")?.state], ["stopped", "running"]);
  assertEquals(listed.get("short")?.exit?.status, 0);
  assert((listed.get("short")?.exit?.endedAt ?? 0) < Date.now());
  await server.remove("short");
  await server.remove("long");
});

serverTest("a client that is replaced is told, and takes none with it", async (server) => {
  await server.run("web", ["sleep"]);
  const first = server.stage2;
  // Both at once: the server learns of the new connection before the old one's end.
  server.signal("SIGSTOP");
  const second = server.connect();
  first[Symbol.dispose]();
  server.signal("SIGCONT");
  await pause(100);
  assertEquals((await within("the list", second.list())).length, 1);

  server.connect();
  await server.stage2.list();
  assertEquals(await refusal(second.list()), closed);
  await server.remove("web");
});

test("what is asked of a server that has died fails of its death", async ({ dir }) => {
  await using server = await Served.start(dir);
  const { stage2 } = server;
  server.signal("SIGKILL");
  // The client has had no turn in which to read that the connection has ended.
  while (!/\) Z /.test(Deno.readTextFileSync(`/proc/${server.pid}/stat`)));
  assertEquals([await refusal(stage2.list()), stage2.isClosed], [closed, true]);
});

test("containers live on when the stage2 server is killed", async ({ dir }) => {
  await using server = await Served.start(dir);
  await server.run("web", ["sleep"]);
  await server.create("waiting", ["sleep"]);
  const { pid } = await server.find("web") ?? { pid: 0 };
  const { pid: waiting } = await server.find("waiting") ?? { pid: 0 };
  assertEquals(childrenOf(pid)?.length, 1);
  await server.killServer();
  await until("the end of what nobody can start", () => {
    return Promise.resolve(childrenOf(waiting) === undefined || undefined);
  });
  assertEquals(childrenOf(pid)?.length, 1);
  Deno.kill(pid, "SIGKILL");
});

serverTest("a container with a terminal hands its master out", async (server) => {
  const plan = await server.plan("web", ["terminal"], { terminal: true });
  const { terminal } = await server.stage2.create(plan, null);
  assert(terminal !== undefined);
  assert((await Deno.readLink(`/proc/self/fd/${terminal}`)).endsWith("ptmx"));
  await server.stage2.start("web");
  assertEquals((await server.ended("web")).status, 0);
  kernel.close(terminal);
  await server.remove("web");
});

serverTest("an answer goes to who asked, not to a later request of that number", async (server) => {
  await server.run("web", ["sleep"]);
  await server.exec("web", ["sleep", "1"]); // Its fourth request.
  const { stage2 } = server;
  server.connect();
  stage2[Symbol.dispose]();
  for (let request = 1; request < 4; request++) await server.stage2.list();
  const { ended } = await server.exec("web", ["sleep"]);
  const first = await Promise.race([ended, pause(1300)]);
  assertEquals(first, undefined);
  await server.remove("web");
  assertEquals((await within("its end", ended)).status, 137);
});

serverTest("an init that is killed before its container is made fails it", async (server) => {
  const resources = { memory: { limit: 4096 } };
  const made = await refusal(server.create("web", ["exit", "0"], { resources }));
  assert(/^[a-z_]+ E[A-Z]+$/.test(made), made);
  await gone(server, "web");
});

serverTest("many containers at once, and then none", async (server) => {
  const ids = names(count(100, 1000));
  // A few at a time: the server has 64 workers, and refuses what is beyond them.
  const each = async (act: (id: string) => Promise<unknown>) => {
    for (let at = 0; at < ids.length; at += 32) {
      await within("32 of them", Promise.all(ids.slice(at, at + 32).map(act)));
    }
  };
  await each((id) => server.run(id, ["sleep"]));
  const states = (await server.stage2.list()).map(({ state }) => state);
  assertEquals(states, ids.map(() => "running"));
  await each((id) => server.stage2.kill(id));
  for (const id of ids) assertEquals((await server.ended(id)).status, 137);
  await each((id) => server.stage2.delete(id));
});

serverTest("it holds more containers than it may open files, and they may not", async (server) => {
  using main = new Output();
  using further = new Output();
  const ids = names(110);
  for (const id of ids) await server.run(id, ["sleep"]);
  await server.stage2.create(await server.plan("web", []), main.streams);
  await server.stage2.start("web");
  assertEquals((await server.ended("web")).status, 0);
  await (await server.exec("c109", [], further.streams)).ended;
  for (const output of [main, further]) {
    assertEquals(parseReport(output.text).rlimits.NOFILE[0], "100");
  }
  for (const id of [...ids, "web"]) await server.remove(id);
}, 100);

serverTest("packets that are no requests change nothing", async (server) => {
  await server.run("web", ["sleep"]);
  const raw = kernel.connect(server.socket);
  for (const size of [1, 16, Request.size - 1, Request.size + 1, 4000]) {
    kernel.send(raw, new Uint8Array(size).fill(0xff));
  }
  kernel.send(raw, request(7n, 0xffff_ffff, "web"));
  kernel.send(raw, request(8n, "create", "new"));
  kernel.send(raw, request(9n, "exec", "web"));
  kernel.send(raw, request(10n, "kill", ""));
  // A plan that is none: empty, no JSON, and of another container.
  for (const [sequence, text] of [[11n, ""], [12n, "{"]] as const) {
    const file = kernel.memfd("plan", new TextEncoder().encode(text), "data");
    kernel.send(raw, request(sequence, "create", "new"), [file]);
    kernel.close(file);
  }
  const answers = new Map<bigint, number>();
  while (answers.size < 6) {
    const packet = await within("an answer", kernel.receive(raw, Reply.size));
    assert(packet);
    const view = new DataView(packet.bytes.buffer);
    answers.set(view.getBigUint64(Reply.sequence, true), view.getUint32(Reply.kind, true));
  }
  const failed = 1;
  assertEquals([...answers.values()], Array(6).fill(failed));
  assertEquals([...answers.keys()].sort(), [10n, 11n, 12n, 7n, 8n, 9n]);
  kernel.close(raw);
  server.connect();
  assertEquals((await server.stage2.list()).map(({ id }) => id), ["web"]);
  await server.remove("web");
});

serverTest("requests of any kind never take the server down", async (server) => {
  await server.run("web", ["sleep"]);
  const requests = count(2_000, 200_000);
  const ids = ["", "x", "web ", "../web", "y".repeat(135), "z\n"];
  const one = <Value>(list: readonly Value[]) => list[Math.floor(Math.random() * list.length)];
  const file = kernel.memfd("plan", new TextEncoder().encode('{"kurma":{"id":"x"}}'), "data");
  let raw = kernel.connect(server.socket);
  for (let sent = 0; sent < requests; sent++) {
    const packet = crypto.getRandomValues(request(BigInt(sent + 1), one(Request_operation), ""));
    const wanted = request(BigInt(sent + 1), one([...Request_operation, 77]), one(ids));
    packet.set(wanted.subarray(0, 12)); // A number and an operation that there is, mostly.
    packet.set(wanted.subarray(Request.id), Request.id);
    const descriptors = Array(Math.floor(Math.random() * 4)).fill(file);
    const said = await refusal(Promise.try(() => kernel.send(raw, packet, descriptors)));
    if (said === "done") continue;
    kernel.close(raw); // It was cut off for not reading, or has to wait.
    raw = kernel.connect(server.socket);
  }
  kernel.close(raw);
  kernel.close(file);
  server.connect();
  await until("the answers", async () => {
    return (await server.stage2.list()).length === 1 || undefined;
  });
  console.log(`${requests} requests of any kind`);
  assertEquals((await server.find("web"))?.state, "running");
  await server.remove("web");
});

serverTest("a client that does not read is cut off", async (server) => {
  const ids = names(10);
  for (const id of ids) await server.run(id, ["sleep"]);
  const deaf = kernel.connect(server.socket);
  const list = request(1n, "list", "");
  let refused = "";
  for (let sent = 0; sent < 20_000 && refused === ""; sent++) {
    refused = await refusal(Promise.try(() => kernel.send(deaf, list)));
    if (refused === "socket EAGAIN") await pause(1);
    if (refused === "done" || refused === "socket EAGAIN") refused = "";
  }
  assert(["socket EPIPE", "socket ECONNRESET"].includes(refused), refused);
  kernel.close(deaf);
  server.connect();
  assertEquals((await server.stage2.list()).length, 10);
  const why = "The client before this one was cut off: it did not read its replies";
  assertEquals(server.notices, [why]);
  for (const id of ids) await server.remove(id);
});

serverTest("its memory does not grow with the containers it has had", async (server) => {
  const cycle = async () => {
    await server.run("web", ["exit", "0"]);
    await server.ended("web");
    await server.remove("web");
  };
  for (let warm = 0; warm < 20; warm++) await cycle();
  const before = [await pssOf(server.pid), descriptorsOf(server.pid)];
  for (let done = 0; done < count(200, 10_000); done++) await cycle();
  const after = [await pssOf(server.pid), descriptorsOf(server.pid)];
  console.log(`stage2 after ${count(200, 10_000)} containers: ${after[0]} KiB PSS`);
  assert(after[0] <= before[0] + 32, `${before[0]} KiB before, ${after[0]} KiB after`);
  assert(after[0] <= 2048, `${after[0]} KiB`);
  assertEquals(after[1], before[1]);
});

function request(
  sequence: bigint,
  operation: typeof Request_operation[number] | number,
  id: string,
): Uint8Array {
  const packet = new Uint8Array(Request.size);
  const view = new DataView(packet.buffer);
  view.setBigUint64(Request.sequence, sequence, true);
  const number = typeof operation === "number" ? operation : Request_operation.indexOf(operation);
  view.setUint32(Request.operation, number, true);
  new TextEncoder().encodeInto(id, packet.subarray(Request.id));
  return packet;
}

/** Its share of memory, in KiB. */
async function pssOf(pid: number): Promise<number> {
  const rollup = await Deno.readTextFile(`/proc/${pid}/smaps_rollup`);
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1]);
}

function descriptorsOf(pid: number): number {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
}
