import { assert, assertEquals, rejection } from "../../tests/assert.ts";
import { InvalidFields } from "../schema.ts";
import type { ContainerSpec, PodSpec } from "./spec.ts";
import { parseContainerSpec, parsePodSpec, parseResourceSpec } from "./validate.ts";

/** For each field: values it takes, and values it refuses with the path that is named. */
const fields: {
  [Name in keyof ContainerSpec]-?: { good: unknown[]; bad: [value: unknown, path: string][] };
} = {
  image: {
    good: ["hello", "docker.io/library/busybox:1", "/srv/app.aci", "sha256:" + "0".repeat(64)],
    bad: [[undefined, "image"], ["", "image"], [" x", "image"], ["a\nb", "image"]],
  },
  name: {
    good: ["web", "Web_1.a-b"],
    bad: [["", "name"], ["a/b", "name"], ["-a", "name"], ["x".repeat(129), "name"], [1, "name"]],
  },
  labels: {
    good: [{}, { "com.example/a": "b c", "__proto__": "x" }],
    bad: [[{ "a b": "" }, 'labels["a b"]'], [{ a: 1 }, "labels.a"], [[], "labels"]],
  },
  annotations: { good: [{ a: "b" }], bad: [["a", "annotations"]] },
  command: {
    good: [[], ["sh", "-c", ""]],
    bad: [["sh", "command"], [["a\0"], "command[0]"], [[""], "command"]],
  },
  entrypoint: { good: [["/init"]], bad: [[[1], "entrypoint[0]"]] },
  env: {
    good: [["A=b", "C=", "A.b=x=y"]],
    bad: [[["A"], "env[0]"], [["A=b", "=x"], "env[1]"], [["A=\0"], "env[0]"]],
  },
  workingDir: {
    good: ["/", "/srv/a b"],
    bad: [["srv", "workingDir"], ["/a/../b", "workingDir"], [
      `/${"ü".repeat(2_048)}`,
      "workingDir",
    ]],
  },
  user: { good: ["web", "1000"], bad: [["a:b", "user"], ["", "user"], ["-1", "user"]] },
  group: { good: ["web", "0"], bad: [["a\nb", "group"]] },
  extraGroups: { good: [[27]], bad: [[["audio"], "extraGroups[0]"], [[-1], "extraGroups[0]"]] },
  imageDefaults: { good: [false], bad: [["no", "imageDefaults"]] },
  umask: { good: [0, 0o777], bad: [[-1, "umask"], [0o1000, "umask"], [1.5, "umask"]] },
  terminal: { good: [true, false], bad: [["yes", "terminal"]] },
  consoleSize: {
    good: [{ height: 24, width: 80 }],
    bad: [[{ height: 24 }, "consoleSize.width"], [
      { height: 1, width: 65_536 },
      "consoleSize.width",
    ]],
  },
  openStdin: { good: [true], bad: [[1, "openStdin"]] },
  hostname: {
    good: ["a", "web-1.example.com"],
    bad: [["a_b", "hostname"], ["-a", "hostname"], ["a..b", "hostname"], [
      "a".repeat(65),
      "hostname",
    ]],
  },
  namespaces: {
    good: [{ network: "none" }, {
      network: "container:db",
      ipc: "host",
      pid: "private",
      user: "host",
    }],
    bad: [
      [{ network: "bridge" }, "namespaces.network"],
      [{ pid: "container:../x" }, "namespaces.pid"],
      [{ mount: "host" }, "namespaces.mount"],
    ],
  },
  mounts: {
    good: [
      [{ type: "volume", source: "data", target: "/data", subPath: "a/b", readOnly: true }],
      [{ type: "bind", source: "/srv", target: "/srv", propagation: "slave", create: true }],
      [{ type: "tmpfs", target: "/tmp", size: 1, mode: 0o1777 }],
    ],
    bad: [
      [[{ type: "volume", source: "/data", target: "/data" }], "mounts[0].source"],
      [[{ type: "volume", source: "a", target: "/a", subPath: "../b" }], "mounts[0].subPath"],
      [[{ type: "bind", source: "srv", target: "/srv" }], "mounts[0].source"],
      [[{ type: "bind", source: "/", target: "/" }], "mounts[0].target"],
      [[{ type: "tmpfs", target: "//proc/./sys" }], "mounts[0].target"],
      [[{ type: "tmpfs", target: "/a" }, { type: "tmpfs", target: "/a/" }], "mounts[1].target"],
      [[{ type: "overlay", target: "/a" }], "mounts[0].type"],
      [[{ target: "/a" }], "mounts[0].type"],
      [[null], "mounts[0]"],
    ],
  },
  devices: {
    good: [[{ path: "/dev/fuse", access: "rw" }]],
    bad: [
      [[{ path: "/etc/passwd" }], "devices[0].path"],
      [[{ path: "/dev/fuse", access: "wr" }], "devices[0].access"],
      [[{ path: "/dev/../etc" }], "devices[0].path"],
    ],
  },
  resources: {
    good: [{ cpus: 1.5, memory: 1 << 20, swap: 0, pids: -1, cpuset: "0-2,7" }, {
      io: { weight: 10, devices: [{ path: "/dev/sda", readBps: 1 }] },
      hugepages: { "2MB": 0 },
    }],
    bad: [
      [{ cpus: 0 }, "resources.cpus"],
      [{ memory: 1 }, "resources.memory"],
      [{ swap: 1 }, "resources.swap"],
      [{ memory: 4096, memoryReservation: 8192 }, "resources.memoryReservation"],
      [{ pids: 0 }, "resources.pids"],
      [{ cpuset: "a" }, "resources.cpuset"],
      [{ hugepages: { "2 MB": 1 } }, 'resources.hugepages["2 MB"]'],
      [{ io: { devices: [{ path: "/dev/sda", readBps: 0 }] } }, "resources.io.devices[0].readBps"],
    ],
  },
  ulimits: {
    good: [[{ name: "nofile", soft: 1, hard: 2 }, { name: "core", soft: -1 }]],
    bad: [
      [[{ name: "files", soft: 1 }], "ulimits[0].name"],
      [[{ name: "nofile", soft: 2, hard: 1 }], "ulimits[0].soft"],
      [[{ name: "nofile", soft: 1 }, { name: "nofile", soft: 1 }], "ulimits[1].name"],
    ],
  },
  sysctls: {
    good: [{ "net.core.somaxconn": "1024", "kernel.sem": "1\t2 3 4" }],
    bad: [
      [{ "kernel.core_pattern": "|/x" }, 'sysctls["kernel.core_pattern"]'],
      [{ "net/../kernel": "1" }, 'sysctls["net/../kernel"]'],
      [{ "net.ipv4.ip_forward": "1\n" }, 'sysctls["net.ipv4.ip_forward"]'],
    ],
  },
  capabilities: {
    good: [{ add: ["CAP_NET_ADMIN"], drop: ["ALL"] }],
    bad: [
      [{ add: ["CAP_FLY"] }, "capabilities.add[0]"],
      [{ add: ["CAP_KILL"], drop: ["KILL"] }, "capabilities.add[0]"],
    ],
  },
  security: {
    good: [{ seccomp: "unconfined", readOnlyRoot: true }, {
      seccomp: {
        defaultAction: "SCMP_ACT_ERRNO",
        syscalls: [{ names: ["read"], action: "SCMP_ACT_ALLOW" }],
      },
      landlock: { handled: ["write_file"], rules: [{ path: "/tmp", allowed: ["write_file"] }] },
    }],
    bad: [
      [{ seccomp: "off" }, "security.seccomp"],
      [{ seccomp: {} }, "security.seccomp.defaultAction"],
      [{ landlock: { handled: [] } }, "security.landlock.handled"],
      [
        { landlock: { handled: ["read_file"], rules: [{ port: 1, allowed: ["bind_tcp"] }] } },
        "security.landlock.rules[0].allowed",
      ],
      [{ privileged: true, noNewPrivileges: true }, "security.noNewPrivileges"],
    ],
  },
  stop: {
    good: [{ signal: "SIGRTMIN+3", limitMs: 0 }, { signal: "15" }],
    bad: [[{ signal: "SIGNOPE" }, "stop.signal"], [{ signal: "65" }, "stop.signal"]],
  },
  restart: {
    good: [{ policy: "on-failure", maxRetries: 3 }, { policy: "unless-stopped" }],
    bad: [[{ policy: "maybe" }, "restart.policy"], [
      { policy: "no", maxRetries: 1 },
      "restart.maxRetries",
    ]],
  },
  healthCheck: {
    good: [{ command: [] }, { command: ["true"], intervalMs: 1, action: "restart" }],
    bad: [[{ intervalMs: 0 }, "healthCheck.intervalMs"], [{ retries: 0 }, "healthCheck.retries"]],
  },
  log: { good: [{ maxSize: 4_096, maxFiles: 1 }], bad: [[{ maxFiles: 0 }, "log.maxFiles"]] },
  eventHandlers: {
    good: [{ preStart: ["/setup"] }],
    bad: [[{ preStart: [] }, "eventHandlers.preStart"], [{ stop: ["x"] }, "eventHandlers.stop"]],
  },
  autoRemove: { good: [true], bad: [["true", "autoRemove"]] },
};

for (const [name, { good, bad }] of Object.entries(fields)) {
  Deno.test(`a container's ${name}: ${good.length} right, ${bad.length} wrong`, async () => {
    for (const value of good) parseContainerSpec({ image: "hello", [name]: value });
    for (const [value, path] of bad) {
      const error = await rejection(() => parseContainerSpec({ image: "hello", [name]: value }));
      assert(error instanceof InvalidFields, String(error));
      assertEquals(error.fields.map((field) => field.path), [path], JSON.stringify(value));
    }
  });
}

Deno.test("an unknown field is refused, even one that every object has", async () => {
  for (const name of ["ports", "constructor", "toString"]) {
    const error = await rejection(() => parseContainerSpec({ image: "hello", [name]: 1 }));
    assert(error.message.startsWith(`Cannot use the container: ${name}: unknown field;`));
  }
});

Deno.test("every wrong field is named, the first one in the message", async () => {
  const wrong = { image: "hello", env: ["A"], mounts: [{ type: "tmpfs", target: "tmp" }] };
  const error = await rejection(() => parseContainerSpec(wrong));
  assert(error instanceof InvalidFields);
  assertEquals(
    error.message,
    "Cannot use the container: env[0]: is not NAME=value (and 1 more)",
  );
  assertEquals(error.fields[1], {
    path: "mounts[0].target",
    problem: 'expected an absolute path without .., not "tmp"',
  });
});

Deno.test("what is written in several ways comes out in one", () => {
  const spec = parseContainerSpec({
    image: "hello",
    capabilities: { add: ["net_admin"], drop: ["all"] },
    mounts: [{ type: "tmpfs", target: "//a/./b/" }],
  });
  assertEquals(spec.capabilities, { add: ["CAP_NET_ADMIN"], drop: ["ALL"] });
  assertEquals(spec.mounts?.[0].target, "/a/b");
});

const contradictions: [Partial<ContainerSpec>, string][] = [
  [{ hostname: "a", namespaces: { uts: "host" } }, "hostname"],
  [
    { sysctls: { "net.core.somaxconn": "1" }, namespaces: { network: "host" } },
    'sysctls["net.core.somaxconn"]',
  ],
  [
    { sysctls: { "kernel.shmmax": "1" }, namespaces: { ipc: "container:a" } },
    'sysctls["kernel.shmmax"]',
  ],
  [{ security: { privileged: true }, namespaces: { user: "auto" } }, "namespaces.user"],
  [{
    mounts: [{ type: "bind", source: "/a", target: "/a", idmap: true }],
    namespaces: { user: "host" },
  }, "mounts[0].idmap"],
];
for (const [parts, path] of contradictions) {
  Deno.test(`${JSON.stringify(parts)} contradicts itself at ${path}`, async () => {
    const error = await rejection(() => parseContainerSpec({ image: "hello", ...parts }));
    assert(error instanceof InvalidFields, String(error));
    assertEquals(error.fields.map((field) => field.path), [path]);
  });
}

const app = { name: "a", image: "hello" };
const pods: [what: string, pod: unknown, path: string][] = [
  ["no apps", { apps: [] }, "apps"],
  ["an app without a name", { apps: [{ image: "hello" }] }, "apps[0].name"],
  ["two apps of one name", { apps: [app, app] }, "apps[1].name"],
  ["two volumes of one name", {
    apps: [app],
    volumes: [{ name: "v", kind: "empty" }, { name: "v", kind: "empty" }],
  }, "volumes[1].name"],
  ["a host volume without a path", {
    apps: [app],
    volumes: [{ name: "v", kind: "host" }],
  }, "volumes[0].source"],
  ["an empty volume with a source", {
    apps: [app],
    volumes: [{ name: "v", kind: "empty", source: "/a" }],
  }, "volumes[0].source"],
  ["an app with a network of its own", {
    apps: [{ ...app, namespaces: { network: "none" } }],
  }, "apps[0].namespaces.network"],
  ["an app with a host name of its own", {
    apps: [{ ...app, hostname: "x" }],
  }, "apps[0].hostname"],
  ["a namespace that is not shared", {
    apps: [app],
    namespaces: { pid: "host" },
  }, "namespaces.pid"],
  ["an app that removes itself", { apps: [{ ...app, autoRemove: true }] }, "apps[0].autoRemove"],
];
for (const [what, pod, path] of pods) {
  Deno.test(`a pod with ${what} is refused`, async () => {
    const error = await rejection(() => parsePodSpec(pod));
    assert(error instanceof InvalidFields, String(error));
    assertEquals(error.fields.map((field) => field.path), [path]);
  });
}

Deno.test("a pod of three apps with all that it may have passes", () => {
  const pod: PodSpec = {
    name: "shop",
    hostname: "shop",
    share: ["network", "ipc", "uts", "pid"],
    namespaces: { network: "none", pid: "host" },
    apps: [app, { ...app, name: "b", restart: { policy: "always" } }, { ...app, name: "c" }],
    volumes: [
      { name: "data", kind: "empty", mode: 0o700, uid: 1, gid: 1 },
      { name: "etc", kind: "host", source: "/etc", readOnly: true },
      { name: "logs", kind: "named" },
    ],
    resources: { memory: 1 << 28, pids: 100 },
    sysctls: { "net.core.somaxconn": "1024" },
  };
  assertEquals(parsePodSpec(pod), pod);
});

Deno.test("limits alone are checked as within a container", async () => {
  assertEquals(parseResourceSpec({ pids: 10 }), { pids: 10 });
  const error = await rejection(() => parseResourceSpec({ memory: "1G" }));
  assertEquals(
    error.message,
    "Cannot use the limits: memory: " +
      'expected a whole number of bytes from 4096 to 9007199254740991, not "1G"',
  );
});
