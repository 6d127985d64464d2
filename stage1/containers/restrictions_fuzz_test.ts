/** Whatever is asked for in whatever combination: what passes is a plan with nothing of the host. */

import { KurmaError } from "../../ffi/errors.ts";
import type { Plan } from "../../stage2/spec.ts";
import { assert } from "../../tests/assert.ts";
import { fuzz, type Mutator } from "../../tests/fuzz.ts";
import { bareConfig } from "../images/image.ts";
import { defaultCapabilities } from "./capabilities.ts";
import { usesOwnIds } from "./claims.ts";
import { planContainer } from "./plan.ts";
import { resolve } from "./resolve.ts";
import { forbiddenHold, holdsOf, hostThings } from "./restrictions.ts";
import { parseContainerSpec } from "./validate.ts";

const restrictions = { forbid: hostThings, hostPaths: [] };

/** What a request may say, each with what gives nothing of the host and what may. */
const parts: Record<string, readonly unknown[]> = {
  capabilities: [
    ...[{ drop: ["ALL"] }, { add: ["CHOWN"] }, { add: ["SYS_ADMIN"] }, { add: ["ALL"] }],
    { drop: ["ALL"], add: ["NET_ADMIN"] },
  ],
  devices: [[], [{ path: "/dev/kvm" }]],
  mounts: [
    [{ type: "volume", source: "v", target: "/v" }],
    [{ type: "tmpfs", target: "/t" }],
    [{ type: "bind", source: "/etc", target: "/e", readOnly: true }],
    [{ type: "bind", source: "/volumes/v", target: "/e" }],
  ],
  namespaces: [
    ...[{ network: "none" }, { user: "auto" }, { user: "host" }, { network: "host" }],
    ...[{ pid: "host" }, { ipc: "host" }, { uts: "host" }, { cgroup: "host" }, { pid: "private" }],
  ],
  resources: [{ memory: 1 << 26 }, { oomScoreAdj: 10 }, { oomScoreAdj: -10 }],
  security: [
    ...[{ readOnlyRoot: true }, { noNewPrivileges: false }, { seccomp: "default" }],
    ...[{ privileged: true }, { privileged: false }, { hostTree: true }, { apiAccess: true }],
    ...[{ seccomp: "unconfined" }, { maskedPaths: [] }, { readOnlyPaths: ["/x"] }],
    { seccomp: { defaultAction: "SCMP_ACT_ALLOW" } },
  ],
  sysctls: [{}, { "net.core.somaxconn": "1" }],
  ulimits: [[{ name: "nofile", soft: 9 }], [{ name: "rtprio", soft: 9 }]],
  imageDefaults: [true, false],
  terminal: [true],
};

/** What an image may say. */
const isolators = [
  { name: "os/linux/privileged", value: true },
  { name: "host/privileged", value: true },
  { name: "host/api-access", value: true },
  { name: "os/linux/capabilities-retain-set", value: { set: ["CAP_SYS_ADMIN", "CAP_KILL"] } },
  { name: "os/linux/seccomp-remove-set", value: { set: ["reboot"] } },
  { name: "os/linux/namespaces", value: { net: "host", user: "host" } },
  { name: "os/unix/sysctl", value: { "net.core.somaxconn": "1" } },
  { name: "os/linux/no-new-privileges", value: false },
];

fuzz("holdsOf()", 20_000, (mutator) => {
  const spec = parseContainerSpec({ image: "a", command: ["true"], ...someOf(mutator, parts) });
  const image = {
    ...bareConfig,
    isolators: isolators.filter(() => mutator.below(8) === 0),
  };
  const own = usesOwnIds(spec);
  let meant: ReturnType<typeof resolve>;
  try {
    meant = resolve(image, spec);
  } catch (error) {
    // An image that wants what the request does not grant.
    if (error instanceof KurmaError && error.code === "denied") throw refused();
    throw error;
  }
  if (forbiddenHold(holdsOf(meant, !own), restrictions)) throw refused();
  const plan = planContainer({
    ...{ id: "0123456789abcdef", layers: ["/low"], scratch: "/scratch", apiFolder: "/api" },
    firstId: own ? 1_000_000 : undefined,
    volumes: new Map([["v", { path: "/volumes/v" }]]),
    devices: new Map([["/dev/kvm", { type: "c", major: 10, minor: 232, mode: 0o660 }]]),
  }, meant);
  assert(hasNothingOfTheHost(plan), JSON.stringify(plan));
});

function refused(): KurmaError {
  return new KurmaError("invalid", "It is refused");
}

/** Some of the parts; of an object among them, one or two together. */
function someOf(mutator: Mutator, from: typeof parts): Record<string, unknown> {
  const chosen = Object.entries(from).filter(() => mutator.below(4) === 0);
  return Object.fromEntries(chosen.map(([name, values]) => {
    const [one, other] = [mutator.pick(values), mutator.pick(values)];
    const isPlain = typeof one === "object" && !Array.isArray(one) && mutator.below(3) === 0;
    return [name, isPlain ? { ...one, ...other as object } : one];
  }));
}

/** Judged by what stage2 is told, which knows nothing of how it came about. */
function hasNothingOfTheHost({ kurma, config }: Plan): boolean {
  const { linux, process, mounts } = config;
  const { bounding = [], effective = [], permitted = [] } = process.capabilities ?? {};
  const kinds = (linux.namespaces ?? []).map(({ type }) => type);
  const wanted = ["mount", "pid", "ipc", "uts", "cgroup", "network", "user"] as const;
  return wanted.every((kind) => kinds.includes(kind)) &&
    linux.uidMappings?.[0].hostID === 1_000_000 &&
    [...bounding, ...effective, ...permitted].every((name) => defaultCapabilities.includes(name)) &&
    mounts.every(({ type, source = "", destination, options = [] }) =>
      type === "bind"
        ? source === "/volumes/v" && destination === "/v"
        : ["proc", "tmpfs", "devpts", "mqueue"].includes(type ?? "") ||
          (type === "sysfs" && options.includes("ro"))
    ) &&
    linux.devices === undefined && linux.resources?.devices === undefined &&
    linux.sysctl === undefined && linux.seccomp === undefined && kurma.seccomp === "default" &&
    (linux.maskedPaths ?? []).length >= 12 && (linux.readonlyPaths ?? []).length >= 5 &&
    (process.rlimits ?? []).every(({ type }) => type !== "RLIMIT_RTPRIO") &&
    (process.oomScoreAdj ?? 0) >= 0 && kurma.join === undefined;
}
