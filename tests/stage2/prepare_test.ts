/**
 * Containers that are prepared before their plan is known: faster, and otherwise like all others.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import type { Plan } from "../../stage2/spec.ts";
import { Stage3Client } from "../../stage3/client.ts";
import { parseReport, type Report } from "../guest/report.ts";
import {
  cgroupFolders,
  childrenOf,
  exists,
  firstId,
  gone,
  Output,
  pause,
  refusal,
  type Served,
  serverTest,
  until,
  type Wanted,
} from "./served.ts";

/** What the guest sees in a container that is made like this. */
async function seen(
  server: Served,
  id: string,
  make: "start" | "run" | `${"prepared" | "made"} ${"start" | "run"}`,
  wanted: Wanted = {},
): Promise<Report> {
  const log = `${server.dir}/log`;
  await Deno.mkdir(log);
  const rest = { args: ["/guest"], env: ["A=b", "PATH=/"] };
  const plan = withProcess(await server.plan(id, [], { cgroup: true, log, ...wanted }), rest);
  if (make.startsWith("prepared")) await server.stage2.prepare(id, firstId);
  if (make.startsWith("made")) {
    const { config } = withProcess(plan, { args: ["/other", "word"], env: ["C=d"] });
    await server.stage2.prepare(id, firstId, { ...plan, config: { ...config, hostname: "other" } });
  }
  if (make.endsWith("run")) {
    await server.stage2.run(plan, null);
  } else {
    await server.stage2.create(plan, null);
    await server.stage2.start(id);
  }
  assertEquals((await server.ended(id)).status, 0, make);
  await server.remove(id);
  const report = (await Deno.readTextFile(`${log}/log`)).replace(/^\S+ stdout F /gm, "");
  await Deno.remove(log, { recursive: true });
  return parseReport(report);
}

/** The same plan with something else about its process. */
function withProcess(plan: Plan, other: Partial<Plan["config"]["process"]>): Plan {
  return { ...plan, config: { ...plan.config, process: { ...plan.config.process, ...other } } };
}

serverTest("a prepared container is like every other from inside", async (server) => {
  // What differs between any two containers: numbers of mounts, which are listed in the order
  // that they were made in, and of namespaces; the time.
  const comparable = (report: Report) => ({
    ...report,
    mounts: report.mounts.map((line) => line.replace(/^\d+ \d+ \d+:\d+ /, "")).toSorted(),
    namespaces: Object.keys(report.namespaces),
    boottime: 0,
    // The number of a command that was made ahead is the next: it has taken another's place.
    ...{ pid: 0, pgid: report.pgid - report.pid, sid: report.sid - report.pid },
    status: { ...report.status, NSpid: Number(report.status.NSpid) - report.pid },
    fds: Object.entries(report.fds).map(([fd, link]) => [fd, link.replace(/^pipe:.*/, "pipe")]),
    init: { ...report.init, fds: undefined }, // It is still tidying up.
  });
  const usual = comparable(await seen(server, "web", "start"));
  const ways = ["run", "prepared start", "prepared run", "made start", "made run"] as const;
  for (const make of ways) {
    assertEquals(comparable(await seen(server, "web", make)), usual, make);
  }
});

serverTest(
  "what was made ahead serves no plan that wants more than another command",
  async (server) => {
    const plan = await server.plan("web", [], { cgroup: true });
    const { kurma, config } = plan;
    const [first, ...mounts] = config.mounts ?? [];
    const others: Record<string, Plan> = {
      "another layer": { ...plan, kurma: { ...kurma, layers: [...kurma.layers, server.dir] } },
      "volatile": { ...plan, kurma: { ...kurma, ephemeral: true } },
      "read-only": { ...plan, config: { ...config, root: { readonly: true } } },
      "a mount less": { ...plan, config: { ...config, mounts } },
      "a mount option": {
        ...plan,
        config: { ...config, mounts: [{ ...first, options: ["ro"] }, ...mounts] },
      },
      "nothing masked": {
        ...plan,
        config: { ...config, linux: { ...config.linux, maskedPaths: [] } },
      },
      "a sysctl": {
        ...plan,
        config: { ...config, linux: { ...config.linux, sysctl: { "net.core.somaxconn": "9" } } },
      },
      "another user": { ...plan, kurma: { ...kurma, user: "1000" } },
      "a log": { ...plan, kurma: { ...kurma, log: { directory: server.dir } } },
      "another time to stop": {
        ...plan,
        kurma: { ...kurma, stop: { signal: 15, limitMs: 1 } },
      },
      "no filter": { ...plan, kurma: { ...kurma, seccomp: "none" } },
      "a limit": {
        ...plan,
        config: { ...config, linux: { ...config.linux, resources: { pids: { limit: 9 } } } },
      },
      "another folder": withProcess(plan, { cwd: "/elsewhere" }),
      "another mask": withProcess(plan, { user: { umask: 0o077 } }),
      "no capabilities": withProcess(plan, { capabilities: undefined }),
      "a limit of the process": withProcess(plan, {
        rlimits: [{ type: "RLIMIT_NOFILE", soft: 9, hard: 9 }],
      }),
      "a terminal": withProcess(plan, { terminal: true }),
      "the network of the host": {
        ...plan,
        config: {
          ...config,
          linux: {
            ...config.linux,
            namespaces: config.linux.namespaces.filter(({ type }) => type !== "network"),
          },
        },
      },
    };
    for (const [name, other] of Object.entries(others)) {
      await server.stage2.prepare("web", firstId, plan);
      assertEquals(await refusal(server.stage2.run(other, null)), "plan ESTALE", name);
      assertEquals(await server.stage2.list(), [], name);
      assertEquals(await cgroupFolders("web"), [], name);
    }
    // Nor one that brings streams: it has the null device for them.
    using output = new Output();
    await server.stage2.prepare("web", firstId, plan);
    assertEquals(await refusal(server.stage2.run(plan, output.streams)), "plan ESTALE");
    await seen(server, "web", "made run");
  },
);

serverTest("a command that cannot run is refused by what was made ahead", async (server) => {
  const plan = await server.plan("web", [], { cgroup: true });
  await server.stage2.prepare("web", firstId, plan);
  const other = withProcess(plan, { args: ["missing"], env: ["PATH=/proc"] });
  assertEquals(await refusal(server.stage2.run(other, null)), "exec ENOENT");
  await gone(server, "web");
  // As one that cannot be made ahead: nothing of it waits.
  const stranger = { ...plan, kurma: { ...plan.kurma, user: "nobody-knows" } };
  assertEquals(await refusal(server.stage2.prepare("web", firstId, stranger)), "user ENOENT");
  await gone(server, "web");
  assertEquals(childrenOf(server.pid), []);
});

serverTest("a command is as old as its start, however long it was made ahead", async (server) => {
  const plan = await server.plan("web", ["sleep"], { cgroup: true });
  await server.stage2.prepare("web", firstId, plan);
  await pause(300);
  // Hundredths of a second since the machine started.
  const [uptime] = Deno.readTextFileSync("/proc/uptime").split(" ");
  const before = Math.floor(Number(uptime) * 100);
  const { pid } = await server.stage2.run(plan, null);
  const command = await until("the command alone", () => {
    const [only, ...others] = childrenOf(pid) ?? [];
    return Promise.resolve(others.length === 0 ? only : undefined);
  });
  const stat = Deno.readTextFileSync(`/proc/${command}/stat`);
  const started = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[22 - 3]);
  assert(started >= before - 1, `${started} is before ${before}`);
  await server.stage2.signal("web", 9); // What the init passes on reaches it.
  assertEquals((await server.ended("web")).status, 137);
  await server.remove("web");
});

serverTest("what is started beside a command that was made ahead runs at once", async (server) => {
  const { kurma, config } = await server.plan("web", ["sleep"], { cgroup: true });
  const plan = { kurma: { ...kurma, rpc: `${server.dir}/rpc` }, config };
  await server.stage2.prepare("web", firstId, plan);
  await server.stage2.run(plan, null);
  const client = new Stage3Client(plan.kurma.rpc);
  await client.start({
    ...{ name: "beside", command: ["/guest", "exit", "3"], user: "0", group: "0" },
    ...{ stdout: "/dev/null", stderr: "/dev/null" },
  });
  await client.wait();
  assertEquals(await client.status(), new Map([["beside", "exited(3)"]]));
  await server.remove("web");
});

serverTest("what was made ahead and is killed is refused, and leaves nothing", async (server) => {
  const plan = await server.plan("web", [], { cgroup: true });
  await server.stage2.prepare("web", firstId, plan);
  const [worker] = childrenOf(server.pid) ?? [];
  for (const init of childrenOf(worker) ?? []) Deno.kill(init, "SIGKILL");
  await until("its init's end", () => {
    return Promise.resolve(childrenOf(worker)?.every(isZombie) || undefined);
  });
  assertEquals(await refusal(server.stage2.run(plan, null)), "plan ESTALE");
  await gone(server, "web");
  assertEquals(childrenOf(server.pid), []);
  await seen(server, "web", "made start");
});

/** Whether a process has ended, and nobody has asked how. */
function isZombie(pid: number): boolean {
  return /^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
}

serverTest("what cannot be made ahead is refused at once", async (server) => {
  const plan = await server.plan("web", [], { cgroup: true });
  const { kurma, config } = plan;
  const missing = { ...plan, kurma: { ...kurma, layers: [`${server.dir}/missing`] } };
  assertEquals(await refusal(server.stage2.prepare("web", firstId, missing)), "mount ENOENT");
  const mounts = [{ destination: "/x", type: "ext4", source: "none", options: [] }];
  const inside = { ...plan, config: { ...config, mounts } };
  assertEquals(await refusal(server.stage2.prepare("web", firstId, inside)), "mount EPERM");
  const wrong = withProcess(plan, { args: [] });
  assertEquals(
    await refusal(server.stage2.prepare("web", firstId, wrong)),
    'Cannot carry out the plan: No command in the plan: "config.process.args"',
  );
  const namespaces = config.linux.namespaces.filter(({ type }) => type !== "network");
  const mounted = config.mounts?.filter(({ type }) => type !== "sysfs");
  const linux = { ...config.linux, namespaces };
  const shared = { ...plan, config: { ...config, mounts: mounted, linux } };
  const terminal = withProcess(plan, { terminal: true });
  const stage1 = { ...plan, kurma: { ...kurma, stage1: true } };
  const filter = { defaultAction: "SCMP_ACT_ALLOW" as const };
  const own = {
    kurma: { ...kurma, seccomp: "none" as const },
    config: { ...config, linux: { ...config.linux, seccomp: filter } },
  };
  const few = {
    ...plan,
    config: { ...config, linux: { ...config.linux, resources: { pids: { limit: 2 } } } },
  };
  const alone = withProcess(plan, { rlimits: [{ type: "RLIMIT_NPROC", soft: 1, hard: 1 }] });
  for (const other of [shared, terminal, stage1, own, few, alone]) {
    assertEquals(await refusal(server.stage2.prepare("web", firstId, other)), "plan EOPNOTSUPP");
  }
  assertEquals(await server.stage2.list(), []);
  assertEquals(await cgroupFolders("web"), []);
  assertEquals(childrenOf(server.pid), []);
});

serverTest("what was prepared serves a plan that wants something else", async (server) => {
  await server.stage2.prepare("web", firstId);
  using output = new Output();
  const plan = await server.plan("web", []);
  const namespaces = plan.config.linux.namespaces.filter(({ type }) => type !== "ipc");
  const mounts = plan.config.mounts?.filter(({ type }) => type !== "mqueue");
  const config = { ...plan.config, mounts, linux: { ...plan.config.linux, namespaces } };
  assertEquals(await refusal(server.stage2.run({ ...plan, config }, output.streams)), "done");
  assertEquals((await server.ended("web")).status, 0);
  assertEquals((await cgroupFolders("web")).length > 0, true);
  await server.remove("web");
  assertEquals(await cgroupFolders("web"), []);
});

serverTest("a plan that is wrong leaves nothing of what was prepared", async (server) => {
  await server.stage2.prepare("web", firstId);
  const plan = await server.plan("web", []);
  const layers = [`${server.dir}/missing`];
  const broken = { ...plan, kurma: { ...plan.kurma, layers } };
  assertEquals(await refusal(server.stage2.run(broken, null)), "mount ENOENT");
  await until(
    "the cgroup's end",
    async () => (await cgroupFolders("web")).length === 0 || undefined,
  );
  await until(
    "the last child's end",
    () => Promise.resolve(childrenOf(server.pid)?.length === 0 || undefined),
  );
  assertEquals(await server.stage2.list(), []);
});

serverTest("what nobody wants any more is let go", async (server) => {
  const ids = ["one", "two", "three"];
  for (const id of ids) await server.stage2.prepare(id, firstId);
  assertEquals((await server.stage2.list()).map(({ state }) => state), ids.map(() => "prepared"));
  assert((await cgroupFolders("one")).length > 0);
  await server.stage2.delete("one");
  assertEquals(await cgroupFolders("one"), []);
  // The others with the connection.
  server.connect();
  await until("nothing to be left", async () => {
    return (await server.stage2.list()).length === 0 && childrenOf(server.pid)?.length === 0 ||
      undefined;
  });
  assertEquals([...await cgroupFolders("two"), ...await cgroupFolders("three")], []);
});

serverTest("preparing has its limits", async (server) => {
  assertEquals(await refusal(server.stage2.prepare("web", 0)), "idmap EINVAL");
  await server.stage2.prepare("web", firstId);
  assertEquals(await refusal(server.stage2.prepare("web", firstId)), "supervise EEXIST");
  for (let each = 1; each < 16; each++) await server.stage2.prepare(`web-${each}`, firstId);
  assertEquals(await refusal(server.stage2.prepare("one more", firstId)), "supervise EAGAIN");
  assertEquals(await refusal(server.stage2.start("web")), "supervise EBUSY");
  assertEquals(await refusal(server.stage2.signal("web", 15)), "signal ESRCH");
  // Ending with some of them prepared is no reason to stay.
  await server.stage2.quit();
  server.stage2[Symbol.dispose]();
  await server.restart();
});

serverTest("a waiting worker that is killed is as if never made", async (server) => {
  await server.stage2.prepare("web", firstId);
  for (const pid of childrenOf(server.pid) ?? []) Deno.kill(pid, "SIGKILL");
  await until(
    "the end of what waited",
    async () => await server.find("web") === undefined || undefined,
  );
  await until(
    "its cgroup's end",
    async () => (await cgroupFolders("web")).length === 0 || undefined,
  );
  await seen(server, "web", "prepared run");
  assertEquals(await exists(`${server.dir}/web/upper`), true);
});

serverTest("a command that cannot run is refused to who runs it at once", async (server) => {
  const plan = await server.plan("web", []);
  const config = { ...plan.config, process: { ...plan.config.process, args: ["/missing"] } };
  await server.stage2.prepare("web", firstId);
  assertEquals(await refusal(server.stage2.run({ ...plan, config }, null)), "exec ENOENT");
  await until(
    "nothing to be left",
    async () => (await server.stage2.list()).length === 0 || undefined,
  );
});
