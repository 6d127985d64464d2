import { assert, assertEquals } from "../../tests/assert.ts";
import { allIds } from "../containers/ranges.ts";
import { examine } from "./checks.ts";
import type { Facts } from "./facts.ts";

const gib = 1024 ** 3;

/** A machine on which all is well. */
const well: Facts = {
  isRoot: true,
  kernel: {
    release: "6.12.1-amd64",
    missing: {},
    fileSystems: ["proc", "overlay"],
    namespaces: ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"],
  },
  sysctl: {
    "user/max_user_namespaces": 31_000,
    "vm/memfd_noexec": 0,
    "kernel/pid_max": 4_194_304,
    "kernel/keys/root_maxkeys": 1_000_000,
    "fs/inotify/max_user_instances": 128,
  },
  descriptors: 524_288,
  cgroups: {
    mode: "v2",
    controllers: ["cpu", "memory", "pids"],
    delegated: ["cpu", "memory", "pids"],
  },
  ids: {
    given: [{ file: "/etc/subuid", owner: "ann", first: 100_000, count: 65_536 }],
    mapped: [{ first: 0, count: 4_294_967_295 }],
  },
  state: {
    path: "/var/lib/kurma",
    folder: { mode: 0o700, uid: 0 },
    room: { type: "ext4", freeBytes: 50 * gib, bytes: 100 * gib, freeInodes: 5e6, inodes: 6e6 },
    changed: Date.UTC(2030, 0, 1),
  },
  now: Date.UTC(2030, 0, 2),
  socket: {
    path: "/run/kurma/kurma.sock",
    file: { mode: 0o660, gid: 990, isSocket: true },
    group: 990,
  },
  daemon: {
    version: "1.0 (abc)",
    own: "1.0 (abc)",
    pid: 7,
    stateDir: "/var/lib/kurma",
    stage2: [8],
    hasState: true,
  },
  leftovers: [],
  partial: { count: 0, bytes: 0 },
};

Deno.test("a machine on which all is well has an ok of each check", () => {
  const told = examine(well);
  assertEquals(told.filter(({ state }) => state !== "ok"), []);
  assertEquals(new Set(told.map(({ check }) => check)).size, told.length);
});

/** What is wrong, and what is found then: its check and state, and part of what is said. */
const cases: [wrong: Partial<Facts>, check: string, state: string, said: RegExp][] = [
  [
    { kernel: { ...well.kernel, missing: { openat2: "ENOSYS" } } },
    "kernel",
    "bad",
    /openat2: ENOSYS.*5\.19/,
  ],
  [
    { kernel: { ...well.kernel, missing: { clone3: "EPERM" } } },
    "kernel",
    "bad",
    /clone3: EPERM.*Allow the call/,
  ],
  [{ kernel: { ...well.kernel, missing: { landlock: "EOPNOTSUPP" } } }, "kernel", "note", /lsm=/],
  [
    { kernel: { ...well.kernel, missing: { mount_setattr: "ENOSYS" } } },
    "kernel",
    "note",
    /host's root/,
  ],
  [{ kernel: { ...well.kernel, release: "5.15.0" } }, "kernel", "note", /maps no ids/],
  [{ kernel: { ...well.kernel, fileSystems: ["ext4"] } }, "overlay", "bad", /modprobe overlay/],
  [{ sysctl: { "vm/memfd_noexec": 2 } }, "programs", "bad", /sysctl vm.memfd_noexec=1/],
  [{ sysctl: { "user/max_user_namespaces": 0 } }, "namespaces", "bad", /is 0/],
  [{ sysctl: { "user/max_net_namespaces": 64 } }, "namespaces", "note", /No more than 64/],
  [
    {
      kernel: {
        ...well.kernel,
        namespaces: well.kernel.namespaces.filter((kind) => kind !== "user"),
      },
    },
    "namespaces",
    "bad",
    /these kinds: user/,
  ],
  [{ cgroups: { mode: "none", controllers: [] } }, "cgroups", "bad", /mount -t cgroup2/],
  [
    { cgroups: { mode: "v1", controllers: ["cpu", "pids"] } },
    "cgroups",
    "note",
    /v1 without memory.*cgroup_enable/,
  ],
  [
    { cgroups: { mode: "v2", controllers: ["cpu", "memory", "pids"], delegated: ["pids"] } },
    "cgroups",
    "note",
    /cannot pass cpu, memory on.*--systemd/,
  ],
  [
    {
      ids: {
        ...well.ids,
        given: [{ file: "/etc/subgid", owner: "bob", first: allIds.first - 5, count: 6 }],
      },
    },
    "ids",
    "note",
    /\/etc\/subgid gives bob ids/,
  ],
  [{ ids: { given: [], mapped: [{ first: 0, count: 65_536 }] } }, "ids", "bad", /user namespace/],
  [{ state: { ...well.state, folder: { mode: 0o755, uid: 0 } } }, "state", "bad", /chmod 700/],
  [{ state: { ...well.state, folder: { mode: 0o700, uid: 1000 } } }, "state", "bad", /chown root/],
  [
    { state: { ...well.state, room: { ...well.state.room!, freeBytes: 5_000_000 } } },
    "state",
    "bad",
    /room for 4 MiB.*image prune/,
  ],
  [
    { state: { ...well.state, room: { ...well.state.room!, freeInodes: 12 } } },
    "state",
    "bad",
    /12 files/,
  ],
  [
    { state: { ...well.state, room: { ...well.state.room!, freeBytes: 2 * gib } } },
    "state",
    "note",
    /2% /,
  ],
  [
    { state: { ...well.state, room: { ...well.state.room!, type: "overlay" } } },
    "state",
    "bad",
    /on an overlay/,
  ],
  [
    { sysctl: { "kernel/keys/root_maxkeys": 200 } },
    "limits",
    "note",
    /sysctl kernel.keys.root_maxkeys=/,
  ],
  [{ descriptors: 256 }, "limits", "note", /ulimit -n/],
  [{ now: 0 }, "time", "bad", /1970-01-01.*timedatectl/],
  [{ now: Date.UTC(2029, 11, 1) }, "time", "bad", /2029-12-01/],
  [
    { socket: { ...well.socket, file: { mode: 0o666, gid: 990, isSocket: true } } },
    "socket",
    "bad",
    /everybody: its mode is 0666.*as good as root/,
  ],
  [
    { socket: { ...well.socket, file: { mode: 0o660, gid: 100, isSocket: true } } },
    "socket",
    "bad",
    /group 100/,
  ],
  [
    { socket: { ...well.socket, file: { mode: 0o600, gid: 0, isSocket: false } } },
    "socket",
    "bad",
    /no socket/,
  ],
  [{ daemon: { ...well.daemon, version: "0.9 (old)" } }, "daemon", "note", /0\.9 .*Restart/],
  [{ daemon: { ...well.daemon, stage2: [] } }, "daemon", "bad", /no stage2/],
  [{ daemon: { ...well.daemon, stateDir: "/srv/kurma" } }, "daemon", "note", /--root \/srv\/kurma/],
  [
    { daemon: { own: "1.0", stage2: [], hasState: true, error: "nothing is there" } },
    "daemon",
    "bad",
    /does not answer/,
  ],
  [
    { daemon: { own: "1.0", stage2: [], hasState: false, error: "nobody listens" } },
    "daemon",
    "note",
    /nobody listens.*kurma daemon/,
  ],
  [
    {
      leftovers: [{
        what: "The cgroup of a dead container is",
        subject: "/c/kurma/a",
        isDead: true,
      }],
    },
    "leftovers",
    "note",
    /"\/c\/kurma\/a".*doctor --fix/,
  ],
  [
    { leftovers: [{ what: "Mounted:", subject: "/m", isDead: false, fix: "umount --lazy /m" }] },
    "leftovers",
    "note",
    /may be in use.*umount/,
  ],
  [{ partial: { count: 2, bytes: 3 * 1024 ** 2 } }, "leftovers", "note", /2 downloads.*3\.0 MiB/],
  [{ isRoot: false }, "leftovers", "note", /Only root/],
];
for (const [wrong, check, state, said] of cases) {
  Deno.test(`${JSON.stringify(wrong)} is ${state === "bad" ? "bad" : "noted"}`, () => {
    const told = examine({ ...well, ...wrong }).filter((each) => each.state !== "ok");
    assertEquals(told.map((each) => [each.check, each.state]), [[check, state]]);
    const { finding, meaning, fix } = told[0];
    assert.match([finding, meaning, fix].join(" "), said);
    assert.ok(meaning ?? fix, "it says what that means, or what to do");
    for (const text of [finding, meaning ?? "", fix ?? ""]) assert.doesNotMatch(text, /[.]$/);
  });
}

Deno.test("what the kernel refuses to others than root is not held against it", () => {
  const kernel = { ...well.kernel, missing: { fsopen: "EPERM" } };
  const told = examine({ ...well, kernel, isRoot: false });
  assertEquals(told.filter(({ state }) => state !== "ok").map(({ check }) => check), ["leftovers"]);
});
