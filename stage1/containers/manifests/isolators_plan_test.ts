import type { Plan } from "../../../stage2/spec.ts";
import { assertEquals, rejection } from "../../../tests/assert.ts";
import { bareConfig } from "../../images/image.ts";
import { allCapabilities, defaultCapabilities } from "../capabilities.ts";
import { podUsesOwnIds } from "../claims.ts";
import { planContainer } from "../plan.ts";
import { resolve } from "../resolve.ts";
import type { ContainerSpec } from "../spec.ts";
import { parsePodSpec } from "../validate.ts";
import { podOfManifest, specOfApp } from "./pod_manifest.ts";
import type { Isolator } from "./isolators.ts";

const mebibyte = 1024 * 1024;

/** The plan of a container whose specification has come from isolators, or whose image has some. */
function planOf(spec: Partial<ContainerSpec>, image: readonly Isolator[] = []): Plan {
  const meant = resolve({ ...bareConfig, isolators: image }, {
    image: "web",
    command: ["/bin/serve"],
    ...spec,
  });
  const place = {
    id: "a1",
    layers: ["/low"],
    scratch: "/scratch",
    apiFolder: "/state/api",
    capabilities: allCapabilities,
    ...(meant.namespaces.user === "auto" ? { firstId: 1_000_000 } : {}),
  };
  return planContainer(place, meant);
}

/** As an app object of a request asks for it. */
function asked(name: string, value: unknown): Plan {
  const app = { ...bareConfig, command: ["/bin/serve"], isolators: [{ name, value }] };
  const { spec } = specOfApp(app, "the app");
  return planOf({ ...spec, imageDefaults: undefined });
}

const imaged = (name: string, value: unknown) => planOf({}, [{ name, value }]);

const bounding = ({ config }: Plan) => config.process.capabilities?.bounding.toSorted();
const namespaces = ({ config }: Plan) => config.linux.namespaces.map(({ type }) => type).sort();
const mounted = (target: string) => ({ config }: Plan) =>
  config.mounts.find(({ destination }) => destination === target)?.source;
const without = (...names: string[]) =>
  defaultCapabilities.filter((one) => !names.includes(one)).sort();
const allOwn = ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"];

/** What becomes of each isolator in the plan, from a request and from an image. */
const table: [
  name: string,
  value: unknown,
  what: (plan: Plan) => unknown,
  request: unknown,
  image: unknown,
][] = [
  [
    ...["resource/cpu", { request: "500m", limit: "1500m" }] as const,
    ({ config }) => config.linux.resources?.cpu,
    ...same({ shares: 512, quota: 150_000, period: 100_000 }),
  ],
  [
    ...["resource/memory", { request: "32Mi", limit: "64Mi" }] as const,
    ({ config }) => config.linux.resources?.memory,
    ...same({ limit: 64 * mebibyte, reservation: 32 * mebibyte }),
  ],
  [
    ...["resource/block-bandwidth", { default: true, limit: "2M" }] as const,
    ({ config }) => config.linux.resources,
    ...same(undefined),
  ],
  [
    ...["resource/network-bandwidth", { default: true, limit: "2M" }] as const,
    ({ config }) => config.linux.resources,
    ...same(undefined),
  ],
  [
    ...["os/linux/capabilities-retain-set", { set: ["CAP_KILL", "CAP_NET_ADMIN"] }] as const,
    bounding,
    // An image keeps no more than it would have had.
    ["CAP_KILL", "CAP_NET_ADMIN"],
    ["CAP_KILL"],
  ],
  [
    ...["os/linux/capabilities-remove-set", { set: ["CAP_KILL"] }] as const,
    bounding,
    ...same(without("CAP_KILL")),
  ],
  [
    ...["os/linux/capabilities-revoke-set", { set: ["CAP_CHOWN", "CAP_SETUID"] }] as const,
    bounding,
    ...same(without("CAP_CHOWN", "CAP_SETUID")),
  ],
  [
    ...["os/linux/seccomp-retain-set", { set: ["read"], errno: "EPERM" }] as const,
    ({ kurma, config }) => [kurma.seccomp, config.linux.seccomp?.defaultAction],
    ["none", "SCMP_ACT_ERRNO"],
    ["default", undefined],
  ],
  [
    ...["os/linux/seccomp-remove-set", { set: ["reboot"] }] as const,
    ({ kurma, config }) => [kurma.seccomp, config.linux.seccomp?.syscalls?.[0]],
    ["none", { names: ["reboot"], action: "SCMP_ACT_KILL_PROCESS" }],
    ["default", undefined],
  ],
  [
    ...["os/linux/no-new-privileges", false] as const,
    ({ config }) => config.process.noNewPrivileges,
    false,
    true,
  ],
  [
    ...["os/linux/no-new-privileges", true] as const,
    ({ config }) => config.process.noNewPrivileges,
    ...same(true),
  ],
  [
    ...["os/linux/namespaces", { net: "host", uts: "host" }] as const,
    namespaces,
    ["cgroup", "ipc", "mount", "pid", "user"],
    allOwn,
  ],
  [
    ...["os/linux/namespaces", ["ipc", "mount", "net", "pid", "uts"]] as const,
    namespaces,
    ...same(allOwn),
  ],
  [
    ...["os/unix/sysctl", { "net.core.somaxconn": "7" }] as const,
    ({ config }) => config.linux.sysctl,
    { "net.core.somaxconn": "7" },
    undefined,
  ],
];

function same(value: unknown): [unknown, unknown] {
  return [value, value];
}

for (const [name, value, what, request, image] of table) {
  Deno.test(`${name} ${JSON.stringify(value)} is in the plan as far as its owner may`, () => {
    assertEquals(what(asked(name, value)), request);
    assertEquals(what(imaged(name, value)), image);
  });
}

/** What gives the machine away: a request has it, an image not by itself. */
const privileges: [name: string, what: (plan: Plan) => unknown, value: unknown][] = [
  ["os/linux/privileged", (plan) => [
    plan.kurma.seccomp,
    bounding(plan)?.length,
    namespaces(plan).includes("user"),
    plan.config.linux.maskedPaths,
  ], ["none", allCapabilities.length, false, []]],
  ["host/privileged", (plan) => [
    mounted("/host")(plan),
    namespaces(plan).includes("user"),
    bounding(plan)?.includes("CAP_SYS_ADMIN"),
  ], ["/", false, false]],
  ["host/api-access", mounted("/var/lib/kurma"), "/state/api/admin"],
];
for (const [name, what, value] of privileges) {
  Deno.test(`${name} is in the plan where the request says so`, async () => {
    assertEquals(what(asked(name, true)), value);
    const error = await rejection(() => imaged(name, true));
    assertEquals(error.message, `Cannot run image "web": it wants ${name}`);
    const grant: ContainerSpec["security"] = name === "host/api-access"
      ? { apiAccess: true }
      : name === "host/privileged"
      ? { hostTree: true }
      : { privileged: true };
    assertEquals(what(planOf({ security: grant }, [{ name, value: true }])), value);
  });
}

Deno.test("isolators of an app in a pod manifest are the app's, those of the pod all apps'", async () => {
  const app = (isolators: Isolator[]) => ({
    name: "web",
    image: { id: `sha512-${"0".repeat(128)}` },
    app: { exec: ["/bin/serve"], user: "0", group: "0", isolators },
  });
  const { spec } = podOfManifest({
    acKind: "PodManifest",
    acVersion: "0.8.11",
    apps: [
      app([
        { name: "host/privileged", value: true },
        { name: "resource/memory", value: { limit: "64Mi" } },
      ]),
    ],
    isolators: [
      { name: "resource/memory", value: { limit: "128Mi" } },
      { name: "os/linux/namespaces", value: { net: "host" } },
    ],
  }, "the manifest");
  assertEquals(spec.resources, { memory: 128 * mebibyte });
  assertEquals(spec.namespaces?.network, "host");
  const [web] = spec.apps;
  assertEquals(web.resources, { memory: 64 * mebibyte });
  assertEquals(web.security, { hostTree: true });
  // Of all apps, since they share them.
  assertEquals(podUsesOwnIds(spec), false);
  const own = { ...spec, namespaces: { user: "auto" as const } };
  const error = await rejection(() => parsePodSpec(own));
  assertEquals(
    error.message,
    'Cannot use the pod: namespaces.user: "web" has the host\'s ids, and apps share them',
  );
});
