import type { Config, Envelope, Plan } from "../../stage2/spec.ts";
import { assert, assertEquals, rejection } from "../../tests/assert.ts";
import { bareConfig } from "../images/image.ts";
import { limitsOf, type Place, planContainer } from "./plan.ts";
import { resolve } from "./resolve.ts";
import type { ContainerSpec } from "./spec.ts";

const place: Place = {
  containers: new Map([["db", "db.1"], ["a", "a.1"], ["b", "b.1"]]),
  id: "0123456789abcdef",
  layers: ["/low", "/high"],
  scratch: "/scratch",
  firstId: 1_000_000,
  volumes: new Map([["data", { path: "/volumes/data" }], ["old", { path: "/o", readOnly: true }]]),
  devices: new Map([
    ["/dev/fuse", { type: "c", major: 10, minor: 229, mode: 0o666 }],
    ["/dev/sda", { type: "b", major: 8, minor: 0, mode: 0o660 }],
  ]),
};

function plan(wanted: Partial<ContainerSpec> = {}, where: Partial<Place> = {}): Plan {
  const meant = resolve(bareConfig, { image: "web", command: ["/bin/serve"], ...wanted });
  return planContainer({ ...place, ...where }, meant);
}

/** The mount that the plan has at `destination`. */
function mountAt(destination: string, { config }: Plan) {
  return config.mounts.find((mount) => mount.destination === destination);
}

Deno.test("a container is confined unless told otherwise", () => {
  const { kurma, config } = plan();
  const { linux, process } = config;
  assertEquals(linux.namespaces.map(({ type }) => type).sort(), [
    ...["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
  ]);
  assertEquals(linux.uidMappings, [{ containerID: 0, hostID: 1_000_000, size: 65_536 }]);
  assertEquals(process.noNewPrivileges, true);
  assertEquals(kurma.seccomp, "default");
  assertEquals(process.capabilities?.bounding.includes("CAP_SYS_ADMIN"), false);
  assertEquals(process.capabilities?.ambient, []);
  assertEquals(config.hostname, "0123456789ab");
  assert(linux.maskedPaths?.includes("/proc/kcore"));
  assert(linux.readonlyPaths?.includes("/proc/sys"));
  assertEquals(linux.resources, undefined);
});

Deno.test("without ids of its own, root in the container is the host's", () => {
  const { linux } = plan({}, { firstId: undefined }).config;
  assertEquals(linux.namespaces.some(({ type }) => type === "user"), false);
  assertEquals(linux.uidMappings, undefined);
});

const envelopes: [string, Partial<ContainerSpec>, Partial<Envelope>][] = [
  ["how it is stopped", { stop: { signal: "INT", limitMs: 5 } }, {
    stop: { signal: 2, limitMs: 5 },
  }],
  ["that it need not reach the disk", {}, { ephemeral: undefined }],
  ["who runs it", { user: "web", group: "log" }, { user: "web:log" }],
  ["no filter", { security: { seccomp: "unconfined" } }, { seccomp: "none" }],
  ["a filter of its own instead of ours", {
    security: { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } },
  }, { seccomp: "none" }],
  ["Landlock", { security: { landlock: { handled: ["bind_tcp"] } } }, {
    landlock: { handled: ["bind_tcp"] },
  }],
  ["a cgroup to end it by, without processes of its own", { namespaces: { pid: "host" } }, {
    cgroup: true,
  }],
  ["the namespaces of another container, and its users", {
    namespaces: { network: "container:db", ipc: "container:db" },
  }, {
    join: [
      { type: "ipc", container: "db.1" },
      { type: "network", container: "db.1" },
      { type: "user", container: "db.1" },
    ],
  }],
];
for (const [what, wanted, part] of envelopes) {
  Deno.test(`the envelope says ${what}`, () => {
    const { kurma } = plan(wanted);
    const names = Object.keys(part) as (keyof Envelope)[];
    assertEquals(Object.fromEntries(names.map((name) => [name, kurma[name]])), part);
  });
}

const linux: [string, Partial<ContainerSpec>, Partial<Config["linux"]>][] = [
  ["limits in the kernel's terms", {
    resources: {
      cpus: 1.5,
      cpuShares: 512,
      cpuset: "0-1",
      memory: 1 << 28,
      memoryReservation: 1 << 27,
      swap: 1 << 20,
      pids: 100,
      hugepages: { "2MB": 1 << 22 },
    },
  }, {
    resources: {
      cpu: { shares: 512, quota: 150_000, period: 100_000, cpus: "0-1" },
      memory: { limit: 1 << 28, reservation: 1 << 27, swap: (1 << 28) + (1 << 20) },
      pids: { limit: 100 },
      hugepageLimits: [{ pageSize: "2MB", limit: 1 << 22 }],
    },
  }],
  ["no swap at all, and any amount of it", { resources: { memory: 8192, swap: -1 } }, {
    resources: { memory: { limit: 8192, swap: -1 } },
  }],
  ["limits of a disk by its number", {
    resources: { io: { weight: 50, devices: [{ path: "/dev/sda", readBps: 9, writeIops: 7 }] } },
  }, {
    resources: {
      blockIO: {
        weight: 50,
        throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 9 }],
        throttleWriteBpsDevice: [],
        throttleReadIOPSDevice: [],
        throttleWriteIOPSDevice: [{ major: 8, minor: 0, rate: 7 }],
      },
    },
  }],
  ["a device and the right to open it", {
    devices: [{ path: "/dev/fuse", target: "/dev/f", access: "rw" }],
  }, {
    devices: [{ type: "c", major: 10, minor: 229, path: "/dev/f", fileMode: 0o666 }],
    resources: { devices: [{ allow: true, type: "c", major: 10, minor: 229, access: "rw" }] },
  }],
  ["settings of the kernel", { sysctls: { "net.core.somaxconn": "1" } }, {
    sysctl: { "net.core.somaxconn": "1" },
  }],
  ["a filter of its own", { security: { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } } }, {
    seccomp: { defaultAction: "SCMP_ACT_ALLOW" },
  }],
  ["paths of its own", { security: { maskedPaths: ["/a"], readOnlyPaths: [] } }, {
    maskedPaths: ["/a"],
    readonlyPaths: [],
  }],
];
for (const [what, wanted, part] of linux) {
  Deno.test(`the plan has ${what}`, () => {
    const own = plan(wanted).config.linux;
    const names = Object.keys(part) as (keyof Config["linux"])[];
    assertEquals(Object.fromEntries(names.map((name) => [name, own[name]])), part);
  });
}

Deno.test("a process has the limits, groups and umask that were asked for", () => {
  const { process } = plan({
    umask: 0o027,
    extraGroups: [27],
    ulimits: [{ name: "nofile", soft: 10, hard: 20 }, { name: "core", soft: -1 }],
    resources: { oomScoreAdj: 500 },
  }).config;
  assertEquals(process.user, { umask: 0o027, additionalGids: [27] });
  assertEquals(process.oomScoreAdj, 500);
  assertEquals(
    JSON.stringify(process.rlimits),
    '[{"type":"RLIMIT_NOFILE","soft":10,"hard":20},' +
      '{"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615}]',
  );
});

const mounts: [string, Partial<ContainerSpec>, string, unknown][] = [
  [
    "a volume as its owner sees it",
    {
      mounts: [{ type: "volume", source: "data", target: "/data", subPath: "a/b" }],
    },
    "/data",
    {
      destination: "/data",
      type: "bind",
      source: "/volumes/data",
      options: ["rbind", "nosuid", "nodev", "ridmap"],
      subPath: "a/b",
    },
  ],
  [
    "a volume that nobody may write",
    {
      mounts: [{ type: "volume", source: "old", target: "/old", idmap: false }],
    },
    "/old",
    {
      destination: "/old",
      type: "bind",
      source: "/o",
      options: ["rbind", "nosuid", "nodev", "rro"],
    },
  ],
  [
    "a path of the host, with nothing below it writable",
    {
      mounts: [{ type: "bind", source: "/srv", target: "/srv", readOnly: true }],
    },
    "/srv",
    {
      destination: "/srv",
      type: "bind",
      source: "/srv",
      options: ["rbind", "rro", "ridmap"],
    },
  ],
  [
    "one mount of the host alone, shared back",
    {
      namespaces: { user: "host" },
      mounts: [{
        type: "bind",
        source: "/srv",
        target: "/srv",
        recursive: false,
        propagation: "shared",
      }],
    },
    "/srv",
    {
      destination: "/srv",
      type: "bind",
      source: "/srv",
      options: ["bind", "shared", "idmap"],
    },
  ],
  ["memory", { mounts: [{ type: "tmpfs", target: "/run", size: 4096, mode: 0o755 }] }, "/run", {
    destination: "/run",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "nodev", "mode=755", "noexec", "size=4096"],
  }],
  ["the host's sysfs beside the host's network", { namespaces: { network: "host" } }, "/sys", {
    destination: "/sys",
    type: "bind",
    source: "/sys",
    options: ["bind", "nosuid", "noexec", "nodev", "ro"],
  }],
  ["the host's procfs beside the host's processes", { namespaces: { pid: "host" } }, "/proc", {
    destination: "/proc",
    type: "bind",
    source: "/proc",
    options: ["bind", "nosuid", "noexec", "nodev"],
  }],
  ["as much shared memory as was asked for", { resources: { shmSize: 4096 } }, "/dev/shm", {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: ["nosuid", "noexec", "nodev", "mode=1777", "size=4096"],
  }],
];
for (const [what, wanted, destination, mount] of mounts) {
  Deno.test(`the plan mounts ${what}`, () => {
    assertEquals(mountAt(destination, plan(wanted)), mount);
  });
}

Deno.test("what lies below another mount comes after it", () => {
  const paths = plan({
    mounts: [{ type: "tmpfs", target: "/a/b/c" }, { type: "tmpfs", target: "/a" }],
  }).config.mounts.map(({ destination }) => destination);
  assertEquals(paths.slice(-2), ["/a", "/a/b/c"]);
});

Deno.test("a privileged container has the host's devices, and nothing is hidden from it", () => {
  const { kurma, config } = plan({ security: { privileged: true } }, { firstId: undefined });
  assertEquals(config.linux.maskedPaths, []);
  assertEquals(config.linux.devices?.map(({ path }) => path), ["/dev/fuse", "/dev/sda"]);
  assertEquals(config.linux.resources?.devices, [{ allow: true, access: "rwm" }]);
  assertEquals(config.process.noNewPrivileges, false);
  assertEquals(kurma.seccomp, "none");
});

Deno.test("who asks for all capabilities gets those that the host has to give", () => {
  const capabilities = ["CAP_CHOWN", "CAP_KILL"];
  const bounding = (wanted: Partial<ContainerSpec>, where: Partial<Place>) =>
    plan(wanted, { capabilities, ...where }).config.process.capabilities?.bounding;
  const host = { firstId: undefined };
  assertEquals(bounding({ security: { privileged: true } }, host), capabilities);
  assertEquals(bounding({ capabilities: { add: ["ALL"] } }, host), capabilities);
  assertEquals(bounding({ capabilities: { add: ["ALL"] } }, {})?.length, 41);
  const one = { capabilities: { drop: ["ALL"], add: ["CAP_BPF"] } };
  assertEquals(bounding(one, host), ["CAP_BPF"]);
});

Deno.test("a container in the host's UTS namespace does not name the host", () => {
  assertEquals("hostname" in plan({ namespaces: { uts: "host" } }).config, false);
});

Deno.test("the API is given where there is one", async () => {
  const security = { apiAccess: true };
  const given = (more: ContainerSpec["security"]) =>
    mountAt("/var/lib/kurma", plan({ security: { ...security, ...more } }, { apiFolder: "/api" }));
  assertEquals(given({})?.source, "/api/admin");
  assertEquals(given({ apiRole: "viewer" })?.source, "/api/viewer");
  assert(given({})?.options?.includes("ro"));
  const error = await rejection(() => plan({ security }));
  assertEquals(error.message, "Cannot give the container the API: nobody serves it");
});

const refused: [string, Partial<ContainerSpec>, string][] = [
  [
    "two containers' namespaces",
    { namespaces: { network: "container:a", ipc: "container:b" } },
    'Cannot join "b.1" and "a.1": each has users of its own',
  ],
  [
    "a container that does not run",
    { namespaces: { pid: "container:gone" } },
    'Cannot join container "gone": it does not run',
  ],
  [
    "a device that is not there",
    { devices: [{ path: "/dev/none" }] },
    'Cannot use "/dev/none": the host has no such device',
  ],
  [
    "a disk that is none",
    { resources: { io: { devices: [{ path: "/dev/fuse", readBps: 1 }] } } },
    'Cannot limit "/dev/fuse": no such block device',
  ],
  [
    "a volume that is not there",
    { mounts: [{ type: "volume", source: "gone", target: "/a" }] },
    'Cannot mount volume "gone": it is not there',
  ],
];
for (const [what, wanted, message] of refused) {
  Deno.test(`a plan with ${what} is refused`, async () => {
    assertEquals((await rejection(() => plan(wanted))).message, message);
  });
}

Deno.test("new limits alone are in the kernel's terms", () => {
  assertEquals(limitsOf(place, { pids: 5, cpus: 0.5 }), {
    cpu: { quota: 50_000, period: 100_000 },
    pids: { limit: 5 },
  });
});
