/**
 * What a plan asks for is carried out, as the guest sees it from inside, or refused with
 * the key that is in question.
 *
 * @module
 */

import type { Config, Device, Plan } from "../../stage2/spec.ts";
import { assert, assertEquals } from "../assert.ts";
import { parseReport, type Report } from "../guest/report.ts";
import { mustRun } from "../harness.ts";
import { guest, Output, refusal, type Served, serverTest } from "./served.ts";

type Change = (plan: Plan) => Plan;
type Linux = Config["linux"];

/** Changes keys of `config.linux`. */
function linux(change: Partial<Linux>): Change {
  return ({ kurma, config }) => ({
    kurma,
    config: { ...config, linux: { ...config.linux, ...change } },
  });
}

/** Changes keys of `config`, of any value. */
function config(change: Record<string, unknown>): Change {
  return ({ kurma, config }) => ({ kurma, config: { ...config, ...change } as Config });
}

/** Changes keys of `config.process`, of any value. */
function process(change: Record<string, unknown>): Change {
  return ({ kurma, config }) => ({
    kurma,
    config: { ...config, process: { ...config.process, ...change } as Config["process"] },
  });
}

/** Changes keys of the envelope. */
function kurma(change: Partial<Plan["kurma"]>): Change {
  return ({ kurma, config }) => ({ kurma: { ...kurma, ...change }, config });
}

/** Names of namespaces, with the path of those that are there already. */
function namespaces(...list: readonly (string | readonly [string, string])[]): Change {
  return linux({
    namespaces: list.map((each) =>
      typeof each === "string" ? { type: each } : { type: each[0], path: each[1] }
    ) as Linux["namespaces"],
  });
}

/** As root of the host: no user namespace. */
const privileged: Change = (plan) => {
  const { namespaces, uidMappings: _, gidMappings: __, ...rest } = plan.config.linux;
  const kept = namespaces.filter(({ type }) => type !== "user");
  return { ...plan, config: { ...plan.config, linux: { ...rest, namespaces: kept } } };
};

async function planned(server: Served, id: string, args: string[], changes: readonly Change[]) {
  return changes.reduce((plan, change) => change(plan), await server.plan(id, args));
}

/** Runs `guest ARGS` to its end and returns what it wrote. */
async function output(
  server: Served,
  args: string[],
  ...changes: readonly Change[]
): Promise<string> {
  const id = "look";
  using written = new Output();
  await server.stage2.create(await planned(server, id, args, changes), written.streams);
  await server.stage2.start(id);
  const { status } = await server.ended(id);
  await server.remove(id);
  assertEquals(status, 0, written.text);
  return written.text;
}

/** What the guest reports. */
async function report(server: Served, ...changes: readonly Change[]): Promise<Report> {
  // The filter of the default profile hides keyrings and more from the guest.
  return parseReport(await output(server, [], kurma({ seccomp: "none" }), ...changes));
}

/** Starts a container that sleeps. */
async function sleeper(server: Served, id: string, ...changes: readonly Change[]) {
  await server.stage2.create(await planned(server, id, ["sleep"], changes), null);
  await server.stage2.start(id);
  const { pid } = (await server.find(id))!;
  return pid;
}

let refusals = 0;

/** Why a plan is refused. Each has a name of its own: what had begun takes a moment to go. */
async function refused(server: Served, ...changes: readonly Change[]): Promise<string> {
  const plan = await planned(server, `refused-${refusals++}`, ["exit", "0"], changes);
  const why = await refusal(server.stage2.create(plan, null));
  return why.replace("Cannot carry out the plan: ", "");
}

function ns(pid: number, name: string): string {
  return Deno.readLinkSync(`/proc/${pid}/ns/${name}`);
}

const own = ["mount", "pid", "ipc", "uts", "cgroup", "network", "user"] as const;

serverTest("namespaces of a path are joined, in one user namespace", async (server) => {
  const pid = await sleeper(server, "first");
  const at = (name: string) => `/proc/${pid}/ns/${name}`;
  const seen = await report(
    server,
    config({ hostname: undefined }),
    namespaces(
      "mount",
      "pid",
      "cgroup",
      ["user", at("user")],
      ["network", at("net")],
      ["ipc", at("ipc")],
      ["uts", at("uts")],
    ),
  );
  for (const name of ["user", "net", "ipc", "uts"]) {
    assertEquals(seen.namespaces[name], ns(pid, name), name);
  }
  assert.notEqual(seen.namespaces.pid, ns(pid, "pid"));
  assertEquals(seen.hostname, "first");
  await server.remove("first");
});

serverTest("namespaces of another container are joined by its name", async (server) => {
  const pid = await sleeper(server, "first");
  const shared = ["user", "network", "ipc", "uts", "pid"] as const;
  const join = shared.map((type) => ({ type, container: "first" }));
  const rest = own.filter((name) => !(shared as readonly string[]).includes(name));
  const seen = await report(
    server,
    config({ hostname: undefined }),
    kurma({ join, cgroup: true }),
    namespaces(...rest),
  );
  for (const name of ["user", "net", "ipc", "uts", "pid"]) {
    assertEquals(seen.namespaces[name], ns(pid, name), name);
  }
  assert(seen.pid > 1, "it is not pid 1 of a namespace that has one");
  assertEquals(
    await refused(server, kurma({ join: [{ type: "ipc", container: "nobody" }] }), (plan) => {
      const kept = plan.config.linux.namespaces.filter(({ type }) => type !== "ipc");
      return linux({ namespaces: kept })(plan);
    }),
    "namespace ENOENT",
  );
  await server.remove("first");
});

serverTest("namespaces of another owner are joined from a user namespace", async (server) => {
  const pid = await sleeper(server, "first");
  const join = (["network", "ipc"] as const).map((type) => ({ type, container: "first" }));
  const seen = await report(
    server,
    kurma({ join }),
    linux({
      uidMappings: [{ containerID: 0, hostID: 0x7100_0000, size: 65_536 }],
      gidMappings: [{ containerID: 0, hostID: 0x7100_0000, size: 65_536 }],
    }),
    namespaces("mount", "pid", "uts", "cgroup", "user"),
  );
  assertEquals(seen.namespaces.net, ns(pid, "net"));
  assertEquals(seen.namespaces.ipc, ns(pid, "ipc"));
  assert.notEqual(seen.namespaces.user, ns(pid, "user"));
  // Made by the worker, since the container's root may not.
  for (const type of ["sysfs", "mqueue"]) {
    assert(seen.mounts.some((line) => line.includes(` - ${type} `)), type);
  }
  await server.remove("first");
});

serverTest("the host's network and pids can be kept, also in a user namespace", async (server) => {
  const host = Deno.readLinkSync("/proc/self/ns/net");
  const network = await report(
    server,
    namespaces("mount", "pid", "ipc", "uts", "cgroup", "user"),
  );
  assertEquals(network.namespaces.net, host);
  assert(network.mounts.some((line) => line.includes(" - sysfs ")));
  const pids = await report(
    server,
    kurma({ cgroup: true }),
    namespaces("mount", "ipc", "uts", "cgroup", "network", "user"),
  );
  assertEquals(pids.namespaces.pid, Deno.readLinkSync("/proc/self/ns/pid"));
  assert(pids.mounts.some((line) => line.includes(" - proc ")));
});

serverTest("a mount namespace is joined as it is", async (server) => {
  const pid = await sleeper(server, "first");
  const bare: Change = config({ root: {}, mounts: [] });
  const seen = await report(
    server,
    kurma({ layers: [] }),
    bare,
    linux({ maskedPaths: [], readonlyPaths: [] }),
    kurma({ cgroup: true }),
    namespaces(
      "ipc",
      "uts",
      "cgroup",
      "network",
      ["user", `/proc/${pid}/ns/user`],
      ["mount", `/proc/${pid}/ns/mnt`],
      ["pid", `/proc/${pid}/ns/pid`],
    ),
  );
  assertEquals(seen.namespaces.mnt, ns(pid, "mnt"));
  await server.remove("first");
});

serverTest("the clocks of a time namespace are moved", async (server) => {
  const times = namespaces(...own, "time");
  const seen = await report(
    server,
    times,
    linux({ timeOffsets: { boottime: { secs: 1_000_000 }, monotonic: { secs: 7, nanosecs: 5 } } }),
  );
  const uptime = Number((await Deno.readTextFile("/proc/uptime")).split(" ")[0]);
  assert(seen.boottime - uptime > 999_000, `${seen.boottime}`);
  assertEquals(seen.time_offsets.map((line) => line.replace(/\s+/g, " ")), [
    "monotonic 7 5",
    "boottime 1000000 0",
  ]);
  assert.notEqual(seen.namespaces.time, Deno.readLinkSync("/proc/self/ns/time"));
  const offsets = linux({ timeOffsets: { boottime: { secs: 1 } } });
  assertEquals(
    await refused(server, offsets),
    'Needs a new time namespace: "config.linux.timeOffsets"',
  );
  assertEquals(
    await refused(server, times, linux({ timeOffsets: { realtime: {} } as Linux["timeOffsets"] })),
    'No such clock: "config.linux.timeOffsets.realtime"',
  );
  // A clock that would begin before its zero.
  assertEquals(
    await refused(server, times, linux({ timeOffsets: { boottime: { secs: -1e9 } } })),
    "clock ERANGE",
  );
});

serverTest("settings of the kernel are those of its own namespaces", async (server) => {
  const sysctl = {
    "net.ipv4.ip_forward": "1",
    "net/ipv4/ping_group_range": "0 65535",
    "net.core.somaxconn": "77",
    "kernel.msgmax": "16384",
    "kernel.sem": "100 32000 50 64",
    "fs.mqueue.msg_max": "12",
  };
  for (const who of [[], [privileged]]) {
    const { sysctls } = await report(server, ...who, linux({ sysctl }));
    const seen = Object.fromEntries(
      Object.keys(sysctl).map((name) => {
        const path = name.replaceAll(".", "/");
        return [name, sysctls[path].replaceAll("\t", " ")];
      }),
    );
    assertEquals(seen, sysctl);
  }
  const set = (key: string, value = "1") => refused(server, linux({ sysctl: { [key]: value } }));
  const at = (key: string) => `"config.linux.sysctl.${key}"`;
  assertEquals(
    await set("kernel.core_pattern"),
    `The whole machine has it: ${at("kernel.core_pattern")}`,
  );
  assertEquals(
    await set("net.ipv4.ip_forward", "1+kernel.core_pattern=|/x"),
    `Not a value for a setting: ${at("net.ipv4.ip_forward")}`,
  );
  assertEquals(
    await set("net/../kernel/x"),
    `Not the name of a setting: ${at("net/../kernel/x")}`,
  );
  assertEquals(await set("net.ipv4.no_such"), "sysctl ENOENT");
  assertEquals(await set("net.ipv4.ip_forward", "yes"), "sysctl EINVAL");
  assertEquals(
    await refused(
      server,
      namespaces("mount", "pid", "ipc", "uts", "cgroup", "user"),
      linux({ sysctl: { "net.core.somaxconn": "1" } }),
    ),
    `Needs a new network namespace: ${at("net.core.somaxconn")}`,
  );
});

serverTest("devices are made as they are described", async (server) => {
  const devices = [
    { type: "c", path: "/dev/fuse", major: 10, minor: 229, fileMode: 0o640, uid: 5, gid: 6 },
    { type: "c", path: "/dev/empty", major: 1, minor: 3 },
    { type: "b", path: "/dev/disk/one", major: 7, minor: 0 },
    { type: "p", path: "/dev/pipe", fileMode: 0o600 },
  ] as Linux["devices"];
  for (const who of [[], [privileged]]) {
    const seen = await report(server, ...who, linux({ devices }));
    assertEquals(seen.devices.fuse, "c 10:229 640 5:6");
    assertEquals(seen.devices.empty, "c 1:3 666 0:0");
    assertEquals(seen.devices.pipe, "p 0:0 600 0:0");
    assertEquals(seen.devices.disk.slice(0, 1), "d");
    assertEquals(
      await output(server, ["try-open", "/dev/empty", "write"], ...who, linux({ devices })),
      "open\n",
    );
  }
  assertEquals(
    await refused(server, linux({ devices: [{ type: "c", path: "/dev/x" } as Device] })),
    'Needs a major and a minor number: "config.linux.devices./dev/x"',
  );
  assertEquals(
    await refused(
      server,
      linux({ devices: [{ type: "c", path: "/dev/x", major: 1, minor: 3, uid: 70_000 }] }),
    ),
    "device EINVAL",
  );
});

serverTest("scheduling, personality, oom score and affinity are inherited", async (server) => {
  const seen = await report(
    server,
    process({
      scheduler: { policy: "SCHED_BATCH", nice: 7 },
      ioPriority: { class: "IOPRIO_CLASS_BE", priority: 6 },
      oomScoreAdj: 500,
    }),
    linux({ personality: { domain: "LINUX32" } }),
  );
  assertEquals(
    [seen.scheduler, seen.nice, seen.io_priority, seen.personality, seen.oom_score_adj],
    [3, 7, 2 << 13 | 6, "00000008", "500"],
  );
  assertEquals(
    await refused(server, process({ scheduler: { policy: "SCHED_DEADLINE" } })),
    'It does not outlive a fork: "config.process.scheduler.SCHED_DEADLINE"',
  );
  assertEquals(
    await refused(server, process({ scheduler: { policy: "SCHED_FIFO", priority: 100 } })),
    "scheduler EINVAL",
  );
  assertEquals(
    await refused(server, process({ ioPriority: { class: "IOPRIO_CLASS_BE", priority: 8 } })),
    'Out of range: "config.process.ioPriority.priority"',
  );
  assertEquals(
    await refused(server, process({ execCPUAffinity: { initial: "1-" } })),
    'Not a list of CPUs: "config.process.execCPUAffinity"',
  );
  assertEquals(
    await refused(
      server,
      linux({ personality: { domain: "LINUX", flags: ["X"] } as Linux["personality"] }),
    ),
    'Unknown value for "config.linux.personality.flags"',
  );

  await sleeper(server, "web", kurma({ seccomp: "none" }));
  using written = new Output();
  const { ended } = await server.stage2.exec({
    kurma: { id: "web" },
    process: { args: [guest], env: [], cwd: "/", execCPUAffinity: { initial: "0-1", final: "1" } },
    personality: { domain: "LINUX32" },
  }, written.streams);
  assertEquals((await ended).status, 0);
  const executed = parseReport(written.text);
  assertEquals([executed.status.Cpus_allowed_list, executed.personality], ["1", "00000008"]);
  await server.remove("web");
});

serverTest("what is set through procfs is not taken by a volume at /proc", async (server) => {
  const volume = `${server.dir}/proc`;
  await Deno.mkdir(`${volume}/self`, { recursive: true });
  await Deno.writeTextFile(`${volume}/self/oom_score_adj`, "");
  await Deno.mkdir(`${volume}/sys/net/core`, { recursive: true });
  await Deno.writeTextFile(`${volume}/sys/net/core/somaxconn`, "");
  const pid = await sleeper(
    server,
    "web",
    process({ oomScoreAdj: 500 }),
    config({
      mounts: [
        ...(await server.plan("mounts", [])).config.mounts.filter(({ type }) => type !== "proc"),
        { destination: "/proc", source: volume, options: ["rbind"] },
      ],
    }),
    linux({ sysctl: { "net.core.somaxconn": "99" }, maskedPaths: [], readonlyPaths: [] }),
  );
  assertEquals((await Deno.readTextFile(`/proc/${pid}/oom_score_adj`)).trim(), "500");
  const limit = ["nsenter", "--target", `${pid}`, "--net", "cat", "/proc/sys/net/core/somaxconn"];
  assertEquals((await mustRun(limit)).trim(), "99");
  assertEquals(await Deno.readTextFile(`${volume}/self/oom_score_adj`), "");
  assertEquals(await Deno.readTextFile(`${volume}/sys/net/core/somaxconn`), "");
  await server.remove("web");
});

serverTest("the processes of a container share a session keyring of their own", async (server) => {
  const first = await report(server);
  assert.match(first.keyring, /^\d+ kurma:look$/);
  const inherited = await report(server, kurma({ keyring: "inherited" }));
  assert.doesNotMatch(inherited.keyring, /kurma:/);

  await sleeper(server, "web", kurma({ seccomp: "none" }));
  const main = { args: [guest], env: [], cwd: "/" };
  const keyrings: string[] = [];
  for (let round = 0; round < 2; round++) {
    using written = new Output();
    const { ended } = await server.stage2.exec(
      { kurma: { id: "web" }, process: main },
      written.streams,
    );
    await ended;
    keyrings.push(parseReport(written.text).keyring);
  }
  assert.match(keyrings[0], /^\d+ kurma:web$/);
  assertEquals(keyrings[0], keyrings[1]);
  assert.notEqual(first.keyring.split(" ")[0], keyrings[0].split(" ")[0]);
  await server.remove("web");
});

serverTest("owners of what is bound are mapped", async (server) => {
  const folder = `${server.dir}/owned`;
  await Deno.mkdir(`${folder}/below`, { recursive: true });
  await Deno.chown(folder, 1000, 1001);
  const bind = (mount: Record<string, unknown>): Change => ({ kurma, config }) => ({
    kurma,
    config: {
      ...config,
      mounts: [...config.mounts, { destination: "/dev/owned", source: folder, ...mount }],
    },
  });
  const owner = async (...changes: Change[]) => {
    const { devices } = await report(server, ...changes);
    return devices.owned.split(" ")[3];
  };
  assertEquals(await owner(bind({ options: ["bind"] })), "65534:65534");
  assertEquals(await owner(bind({ options: ["bind", "idmap"] })), "1000:1001");
  assertEquals(await owner(bind({ options: ["rbind", "ridmap", "rro"] })), "1000:1001");
  const mapping = (hostID: number) => [{ containerID: 1000, hostID, size: 10 }];
  const mapped = { uidMappings: mapping(0x7000_0005), gidMappings: mapping(0x7000_0015) };
  assertEquals(await owner(bind({ options: ["bind"], ...mapped })), "5:22");
  assertEquals(
    await refused(server, privileged, bind({ options: ["bind", "idmap"] })),
    'Without mappings it needs a user namespace: "config.mounts./dev/owned.idmap"',
  );
  assertEquals(
    await refused(server, bind({ options: ["bind"], uidMappings: mapping(5) })),
    'uidMappings and gidMappings belong together: "config.mounts./dev/owned"',
  );
  assertEquals(
    await refused(server, bind({ type: "tmpfs", source: "tmpfs", options: ["idmap"] })),
    'Only what is bound has owners to map: "config.mounts./dev/owned"',
  );
  assertEquals(
    await refused(server, bind({ type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] })),
    'Not carried out: "config.mounts./dev/owned.tmpcopyup"',
  );
});

serverTest("mounts pass on what their propagation says", async (server) => {
  const folder = `${server.dir}/volume`;
  await Deno.mkdir(`${folder}/late`, { recursive: true });
  const bind = (...options: string[]): Change => ({ kurma, config }) => ({
    kurma,
    config: {
      ...config,
      mounts: [...config.mounts, { destination: "/dev/volume", source: folder, options }],
    },
  });
  const line = async (...changes: Change[]) => {
    const { mounts } = await report(server, ...changes);
    return mounts.find((line) => line.includes(" /dev/volume "))!;
  };
  assert.match(await line(bind("rbind", "rro", "rnosuid", "rnoexec")), / ro,nosuid,noexec\S* - /);
  assert.match(await line(bind("rbind", "rslave")), / master:\d+/);
  assert.match(await line(bind("rbind", "unbindable")), / unbindable /);
  assert.doesNotMatch(await line(bind("rbind")), /master|shared/);
  assert.match(await line(privileged, bind("rbind", "rshared")), / shared:\d+/);
  assertEquals(
    await refused(server, bind("rbind", "rshared")),
    'The host would see what its root mounts: "config.mounts./dev/volume.shared"',
  );

  // What the host mounts later is seen.
  const pid = await sleeper(server, "web", bind("rbind", "rslave"));
  await mustRun(["mount", "-t", "tmpfs", "late", `${folder}/late`]);
  const inside = await Deno.readTextFile(`/proc/${pid}/mountinfo`);
  await mustRun(["umount", `${folder}/late`]);
  assert.match(inside, / \/dev\/volume\/late /);
  await server.remove("web");

  const top = async (name: string) => {
    const seen = await report(server, privileged, linux({ rootfsPropagation: name }));
    return seen.mounts.find((line) => line.split(" ")[4] === "/")!;
  };
  assert.match(await top("shared"), / shared:\d+/);
  assert.match(await top("unbindable"), / unbindable /);
  assert.doesNotMatch(await top("private"), /master|shared|unbindable/);
  assertEquals(
    await refused(server, linux({ rootfsPropagation: "sideways" })),
    'Unknown value for "config.linux.rootfsPropagation"',
  );
});

serverTest("a cgroup mount shows the container's own, in every hierarchy", async (server) => {
  const mount = {
    destination: "/sys/fs/cgroup",
    type: "cgroup",
    source: "cgroup",
    options: ["nosuid", "noexec", "nodev", "ro"],
  };
  const seen = await report(
    server,
    kurma({ cgroup: true }),
    ({ kurma, config }) => ({ kurma, config: { ...config, mounts: [...config.mounts, mount] } }),
  );
  const shown = seen.mounts.filter((line) => / - cgroup2? /.test(line));
  assertEquals(shown.length, seen.cgroup.length);
  for (const line of shown) {
    const [, , , top, , options] = line.split(" ");
    assertEquals(top, "/", line);
    assert(options.startsWith("ro,nosuid,nodev,noexec"), line);
  }
  assert.match(seen.mounts.join("\n"), / \/dev\/mqueue .* - mqueue /);
});

serverTest("what is not carried out is refused by its name", async (server) => {
  const cases: [Change, string][] = [
    [
      linux({ intelRdt: {} } as Partial<Linux>),
      'Shares of caches and memory are not set: "config.linux.intelRdt"',
    ],
    [
      linux({ memoryPolicy: {} } as Partial<Linux>),
      'A program sets its own memory policy: "config.linux.memoryPolicy"',
    ],
    [
      linux({ mountLabel: "x" } as Partial<Linux>),
      'Labels of SELinux are not set: "config.linux.mountLabel"',
    ],
    [
      linux({ netDevices: {} } as Partial<Linux>),
      "Who makes the network moves interfaces, before it is joined: " +
      '"config.linux.netDevices"',
    ],
    [
      linux({ cgroupsPath: "/a" } as Partial<Linux>),
      "A container's cgroup has the container's name: \"config.linux.cgroupsPath\"",
    ],
    [
      process({ apparmorProfile: "x" }),
      'Profiles of AppArmor are not set: "config.process.apparmorProfile"',
    ],
    [
      process({ selinuxLabel: "x" }),
      'Labels of SELinux are not set: "config.process.selinuxLabel"',
    ],
    [
      namespaces(...own, "user"),
      'Given twice: "config.linux.namespaces.user"',
    ],
    [namespaces("pid"), 'No mount namespace of its own in the plan: "config.linux.namespaces"'],
    [
      namespaces("mount", "ipc", "uts", "user"),
      'Without a pid namespace of its own it needs a cgroup: "kurma.cgroup"',
    ],
    [
      namespaces("mount", "pid", "user"),
      'Needs a new uts namespace: "config.hostname"',
    ],
    [
      namespaces("mount", "pid", "uts"),
      'Needs a user namespace: "config.linux.uidMappings"',
    ],
    [
      namespaces(...own, ["time", "ns/time"]),
      'Not an absolute path: "config.linux.namespaces.time.path"',
    ],
    [
      namespaces("pid", "uts", "user", ["mount", "/proc/self/ns/mnt"]),
      'Not with a joined mount namespace: "kurma.layers"',
    ],
    [
      namespaces("mount", "pid", "uts", "user", ["ipc", "/proc/self/ns/net"]),
      "namespace EINVAL",
    ],
    [
      namespaces("mount", "pid", "uts", "user", ["ipc", "/etc/passwd"]),
      "namespace ENOTTY",
    ],
  ];
  for (const [change, why] of cases) assertEquals(await refused(server, change), why);
});
