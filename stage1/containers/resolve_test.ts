import { bareConfig, type ImageConfig } from "../images/image.ts";
import { assert, assertEquals, rejection } from "../../tests/assert.ts";
import { allCapabilities } from "./capabilities.ts";
import { resolve, type Resolved, type ResolveOptions } from "./resolve.ts";
import type { ContainerSpec } from "./spec.ts";

const image: ImageConfig = {
  ...bareConfig,
  command: ["/bin/serve"],
  env: ["PATH=/bin", "A=image"],
};

/** What an image and a request that differ from the above come to. */
function meant(
  inImage: Partial<ImageConfig> = {},
  wanted: Partial<ContainerSpec> = {},
  options?: ResolveOptions,
): Resolved {
  return resolve({ ...image, ...inImage }, { image: "web", ...wanted }, options);
}

/** What is asked: of the image, of the request, and a part of what it comes to. */
const table: [
  what: string,
  inImage: Partial<ImageConfig>,
  wanted: Partial<ContainerSpec>,
  part: Partial<Resolved>,
][] = [
  ["the image's command", {}, {}, { args: ["/bin/serve"] }],
  ["the request's command", {}, { command: ["id", "-u"] }, { args: ["id", "-u"] }],
  ["an empty command, which is none", {}, { command: [] }, { args: ["/bin/serve"] }],
  ["the entrypoint before the image's command", { entrypoint: ["/init"] }, {}, {
    args: ["/init", "/bin/serve"],
  }],
  ["the entrypoint before the request's", { entrypoint: ["/init"] }, { command: ["id"] }, {
    args: ["/init", "id"],
  }],
  ["the request's entrypoint alone", { entrypoint: ["/init"] }, { entrypoint: ["/bin/sh"] }, {
    args: ["/bin/sh"],
  }],
  ["variables over the image's", {}, { env: ["A=mine", "B=x=y"] }, {
    env: ["PATH=/bin", "container=kurma", "A=mine", "B=x=y"],
  }],
  ["a PATH where the image has none", { env: [] }, { terminal: true }, {
    env: [
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "container=kurma",
      "TERM=xterm",
    ],
  }],
  ["nothing of the image's settings", { entrypoint: ["/init"], user: "web" }, {
    imageDefaults: false,
    command: ["sh"],
    env: ["PATH=/b"],
  }, { args: ["sh"], env: ["PATH=/b", "container=kurma"], user: "0" }],
  ["root", {}, {}, { user: "0" }],
  ["the image's user", { user: "web" }, {}, { user: "web" }],
  ["the image's user and group", { user: "web", group: "log" }, {}, { user: "web:log" }],
  ["both in the image's user", { user: "web:srv", group: "log" }, {}, { user: "web:srv" }],
  ["the request's user without the image's group", { user: "web", group: "log" }, {
    user: "1000",
  }, { user: "1000" }],
  ["the request's group with the image's user", { user: "web", group: "log" }, {
    group: "adm",
  }, { user: "web:adm" }],
  ["both of the request", {}, { user: "a", group: "b" }, { user: "a:b" }],
  ["groups of both, each once", { supplementaryGids: [5, 6] }, { extraGroups: [6, 7] }, {
    extraGroups: [5, 6, 7],
  }],
  ["the image's working directory", { workingDir: "/srv" }, {}, { workingDir: "/srv" }],
  ["the request's", { workingDir: "/srv" }, { workingDir: "/a" }, { workingDir: "/a" }],
  ["the image's stop signal", { stopSignal: "SIGQUIT" }, {}, {
    stop: { signal: 3, limitMs: 10_000 },
  }],
  ["the request's", { stopSignal: "SIGQUIT" }, { stop: { signal: "RTMIN+3", limitMs: 5 } }, {
    stop: { signal: 37, limitMs: 5 },
  }],
  [
    "an ACI's event handlers",
    {
      eventHandlers: [{ name: "pre-start", exec: ["/a"] }, { name: "post-stop", exec: ["/b"] }],
    },
    { eventHandlers: { postStop: ["/c"] } },
    {
      eventHandlers: { preStart: ["/a"], postStop: ["/c"], limitMs: 60_000 },
    },
  ],
  [
    "the image's health check",
    {
      healthcheck: { test: ["CMD-SHELL", "curl x"], interval: 5e9, timeout: 1, retries: 2 },
    },
    { healthCheck: { action: "restart" } },
    {
      healthCheck: {
        command: ["/bin/sh", "-c", "curl x"],
        intervalMs: 5_000,
        limitMs: 1,
        startPeriodMs: 0,
        retries: 2,
        action: "restart",
      },
    },
  ],
  ["no health check where the image has none", { healthcheck: { test: ["NONE"] } }, {}, {
    healthCheck: undefined,
  }],
  [
    "no health check where the request turns it off",
    {
      healthcheck: { test: ["CMD", "true"] },
    },
    { healthCheck: { command: [] } },
    { healthCheck: undefined },
  ],
  ["users of its own", {}, {}, {
    namespaces: {
      network: "none",
      ipc: "private",
      pid: "private",
      uts: "private",
      cgroup: "private",
      user: "auto",
    },
  }],
  ["memory for an image's volume under a root that cannot be written", { volumes: ["/data"] }, {
    security: { readOnlyRoot: true },
  }, { mounts: [{ type: "tmpfs", target: "/data", mode: 0o755, exec: true }] }],
  ["nothing for it otherwise", { volumes: ["/data"] }, {}, { mounts: [] }],
  ["capabilities of a privileged container", {}, { security: { privileged: true } }, {
    capabilities: allCapabilities,
  }],
];
for (const [what, inImage, wanted, part] of table) {
  Deno.test(`resolve() takes ${what}`, () => {
    const all = meant(inImage, wanted);
    const names = Object.keys(part) as (keyof Resolved)[];
    assertEquals(Object.fromEntries(names.map((name) => [name, all[name]])), part);
  });
}

Deno.test("the configuration's defaults come after request and image", () => {
  const options: ResolveOptions = {
    defaults: {
      resources: { pids: 10, memory: 1 << 30 },
      ulimits: [{ name: "nofile", soft: 1 }, { name: "core", soft: 0 }],
      stopLimitMs: 7,
    },
  };
  const isolators = [{ name: "resource/memory", value: { limit: "64Mi" } }];
  const { resources, ulimits, stop } = meant({ isolators }, {
    resources: { pids: 20 },
    ulimits: [{ name: "core", soft: -1 }],
  }, options);
  assertEquals(resources, { pids: 20, memory: 64 << 20 });
  assertEquals(ulimits, [{ name: "core", soft: -1 }, { name: "nofile", soft: 1 }]);
  assertEquals(stop.limitMs, 7);
});

Deno.test("a container that has the API is told where it is", () => {
  const where = "KURMA_HOST=/var/lib/kurma/kurma.sock";
  assert(meant({}, { security: { apiAccess: true } }).env.includes(where));
  assert(!meant({}).env.includes(where));
});

Deno.test("an ACI knows its name, and its mount points take the pod's volumes of their names", () => {
  const { env, mounts } = meant(
    {
      isolators: [],
      mountPoints: [
        { name: "work", path: "/work", readOnly: true },
        { name: "other", path: "/other", readOnly: false },
        { name: "tmp", path: "/tmp", readOnly: false },
      ],
    },
    { mounts: [{ type: "tmpfs", target: "/tmp" }] },
    {
      podVolumes: ["work", "tmp"],
      appName: "worker",
    },
  );
  assert(env.includes("AC_APP_NAME=worker"));
  assertEquals(mounts, [
    { type: "tmpfs", target: "/tmp" },
    { type: "volume", source: "work", target: "/work", readOnly: true },
  ]);
});

Deno.test("an image narrows its capabilities and cannot widen them", () => {
  const isolators = [{
    name: "os/linux/capabilities-retain-set",
    value: { set: ["CAP_CHOWN", "CAP_SYS_ADMIN"] },
  }];
  const alone = meant({ isolators });
  assertEquals(alone.capabilities, ["CAP_CHOWN"]);
  assertEquals(alone.isolators, [{
    name: "os/linux/capabilities-retain-set",
    outcome: "modified",
    reason: "an image does not give itself CAP_SYS_ADMIN",
  }]);
  const granted = meant({ isolators }, { capabilities: { add: ["CAP_SYS_ADMIN"] } });
  assertEquals(granted.capabilities, ["CAP_CHOWN", "CAP_SYS_ADMIN"]);
});

Deno.test("an image that wants the host gets it only from the request", async () => {
  const inImage = { isolators: [{ name: "host/privileged", value: true }] };
  const error = await rejection(() => meant(inImage));
  assertEquals(error.message, 'Cannot run image "web": it wants host/privileged');
  const granted = meant(inImage, { security: { hostTree: true } });
  assertEquals([granted.security.hostTree, granted.namespaces.user], [true, "host"]);
});

const wrong: [what: string, inImage: Partial<ImageConfig>, message: string][] = [
  ["no command", { command: [] }, "Cannot start a container without a command"],
  ["a command without a name", { command: [""] }, "Cannot start a container without a command"],
  [
    "a relative working directory",
    { workingDir: "srv" },
    'Cannot start in "srv": it is not an absolute path',
  ],
  [
    "a stop signal of another system",
    { stopSignal: "SIGINFO" },
    'Cannot use image "web": its stop signal is "SIGINFO"',
  ],
];
for (const [what, inImage, message] of wrong) {
  Deno.test(`an image with ${what} is refused`, async () => {
    assertEquals((await rejection(() => meant(inImage))).message, message);
  });
}
