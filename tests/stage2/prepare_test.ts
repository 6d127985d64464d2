/**
 * Containers that are prepared before their plan is known: faster, and otherwise like all others.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import type { Plan } from "../../stage2/spec.ts";
import { parseReport, type Report } from "../guest/report.ts";
import {
  cgroupFolders,
  childrenOf,
  exists,
  firstId,
  Output,
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
  make: "start" | "run" | `${"prepared" | "mounted"} ${"start" | "run"}`,
  wanted: Wanted = {},
): Promise<Report> {
  using output = new Output();
  const plan = await server.plan(id, [], { cgroup: true, ...wanted });
  if (make.startsWith("prepared")) await server.stage2.prepare(id, firstId);
  if (make.startsWith("mounted")) {
    const { process } = plan.config;
    const other = { ...plan.config, hostname: "other", process: { ...process, args: ["/other"] } };
    await server.stage2.prepare(id, firstId, { ...plan, config: other });
  }
  if (make.endsWith("run")) {
    await server.stage2.run(plan, output.streams);
  } else {
    await server.stage2.create(plan, output.streams);
    await server.stage2.start(id);
  }
  assertEquals((await server.ended(id)).status, 0, make);
  await server.remove(id);
  return parseReport(output.text);
}

serverTest("a prepared container is like every other from inside", async (server) => {
  // What differs between any two containers: numbers of mounts, which are listed in the order
  // that they were made in, and of namespaces; the time.
  const comparable = (report: Report) => ({
    ...report,
    mounts: report.mounts.map((line) => line.replace(/^\d+ \d+ \d+:\d+ /, "")).toSorted(),
    namespaces: Object.keys(report.namespaces),
    boottime: 0,
    init: { ...report.init, fds: undefined }, // It is still tidying up.
  });
  const usual = comparable(await seen(server, "web", "start"));
  const ways = ["run", "prepared start", "prepared run", "mounted start", "mounted run"] as const;
  for (const make of ways) {
    assertEquals(comparable(await seen(server, "web", make)), usual, make);
  }
});

serverTest("a file tree that was made ahead serves no plan that wants another", async (server) => {
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
    "another folder": {
      ...plan,
      config: { ...config, process: { ...config.process, cwd: "/elsewhere" } },
    },
    "a terminal": {
      ...plan,
      config: { ...config, process: { ...config.process, terminal: true } },
    },
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
  await seen(server, "web", "mounted run");
});

serverTest("a file tree that cannot be made ahead is refused at once", async (server) => {
  const plan = await server.plan("web", [], { cgroup: true });
  const { kurma, config } = plan;
  const missing = { ...plan, kurma: { ...kurma, layers: [`${server.dir}/missing`] } };
  assertEquals(await refusal(server.stage2.prepare("web", firstId, missing)), "mount ENOENT");
  const mounts = [{ destination: "/x", type: "ext4", source: "none", options: [] }];
  const inside = { ...plan, config: { ...config, mounts } };
  assertEquals(await refusal(server.stage2.prepare("web", firstId, inside)), "mount EPERM");
  const wrong = { ...plan, config: { ...config, process: { ...config.process, args: [] } } };
  assertEquals(
    await refusal(server.stage2.prepare("web", firstId, wrong)),
    'Cannot carry out the plan: No command in the plan: "config.process.args"',
  );
  const namespaces = config.linux.namespaces.filter(({ type }) => type !== "network");
  const mounted = config.mounts?.filter(({ type }) => type !== "sysfs");
  const linux = { ...config.linux, namespaces };
  const shared = { ...plan, config: { ...config, mounts: mounted, linux } };
  assertEquals(await refusal(server.stage2.prepare("web", firstId, shared)), "plan EOPNOTSUPP");
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
