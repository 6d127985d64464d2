/** What users write, with what is almost right: it is a plan in the end, or refused as data. */

import { KurmaError } from "../../ffi/errors.ts";
import { assert, assertEquals } from "../../tests/assert.ts";
import { fuzz } from "../../tests/fuzz.ts";
import { checkSettings } from "../config/load.ts";
import { exampleText } from "../config/text.ts";
import { bareConfig } from "../images/image.ts";
import { parseMapping } from "../images/sources/yaml.ts";
import { isolate } from "./manifests/isolators.ts";
import { parsePodManifest } from "./manifests/pod_manifest.ts";
import { quantity } from "./manifests/quantity.ts";
import { planContainer } from "./plan.ts";
import { resolve } from "./resolve.ts";
import { parseContainerSpec, parsePodSpec } from "./validate.ts";

const container = {
  image: "docker.io/library/busybox:1",
  name: "web",
  labels: { "com.example/a": "b" },
  command: ["sh", "-c", "true"],
  env: ["A=b", "C="],
  workingDir: "/srv",
  user: "web",
  group: "1000",
  hostname: "web-1",
  namespaces: { network: "none", ipc: "private" },
  mounts: [
    { type: "tmpfs", target: "/a", size: 4096 },
    { type: "bind", source: "/srv", target: "/b", readOnly: true },
  ],
  resources: { cpus: 1.5, memory: 1 << 26, pids: 10, hugepages: { "2MB": 0 } },
  ulimits: [{ name: "nofile", soft: 1, hard: 2 }],
  sysctls: { "net.core.somaxconn": "1" },
  capabilities: { add: ["NET_RAW"], drop: ["KILL"] },
  security: {
    seccomp: {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["reboot"], action: "SCMP_ACT_KILL" }],
    },
    landlock: { handled: ["write_file"], rules: [{ path: "/tmp", allowed: ["write_file"] }] },
  },
  stop: { signal: "SIGINT", limitMs: 5 },
  restart: { policy: "on-failure", maxRetries: 3 },
  healthCheck: { command: ["true"], intervalMs: 1000 },
};

const place = {
  id: "0123456789abcdef",
  layers: ["/low"],
  scratch: "/scratch",
  firstId: 1_000_000,
};

fuzz("parseContainerSpec()", 5_000, (mutator) => {
  const spec = parseContainerSpec(parsed(mutator.json(container)));
  assertEquals(parseContainerSpec(JSON.parse(JSON.stringify(spec))), spec);
  try {
    const { config } = planContainer(place, resolve(bareConfig, spec));
    assert(config.mounts.every(({ destination }) => destination.startsWith("/")));
    assert(config.process.args.length > 0 && !JSON.stringify(config).includes("\\u0000"));
  } catch (error) {
    // What is well formed may still need something that this host does not have.
    if (!(error instanceof KurmaError && ["missing", "state"].includes(error.code))) throw error;
  }
});

const pod = {
  name: "shop",
  apps: [
    { name: "web", image: "a", mounts: [{ type: "volume", source: "v", target: "/v" }] },
    { name: "db", image: "b", namespaces: { cgroup: "private" } },
  ],
  share: ["network", "ipc"],
  namespaces: { network: "none" },
  volumes: [{ name: "v", kind: "empty", mode: 0o700 }, { name: "h", kind: "host", source: "/h" }],
  resources: { memory: 1 << 26 },
};

fuzz("parsePodSpec()", 5_000, (mutator) => {
  const spec = parsePodSpec(parsed(mutator.json(pod)));
  assertEquals(new Set(spec.apps.map(({ name }) => name)).size, spec.apps.length);
});

const manifest = {
  acKind: "PodManifest",
  acVersion: "0.8.4",
  apps: [{
    name: "backup",
    image: { name: "example.com/backup", labels: [{ name: "version", value: "1.0.0" }] },
    app: {
      exec: ["/bin/backup"],
      user: "0",
      group: "0",
      environment: [{ name: "A", value: "b" }],
      mountPoints: [{ name: "work", path: "/work", readOnly: true }],
      eventHandlers: [{ name: "pre-start", exec: ["/setup"] }],
      isolators: [{ name: "resource/memory", value: { limit: "1G" } }],
    },
    mounts: [{ volume: "work", path: "/mnt" }],
  }],
  volumes: [{ name: "work", kind: "host", source: "/opt/work", readOnly: true }],
  isolators: [{ name: "os/linux/namespaces", value: { net: "host" } }],
  annotations: [{ name: "a", value: "b" }],
  ports: null,
};

fuzz("parsePodManifest()", 5_000, (mutator) => {
  const { spec, outcomes } = parsePodManifest(mutator.json(manifest), "it");
  assertEquals(parsePodSpec(spec), spec);
  for (const { outcome, reason } of outcomes) assert(outcome === "enforced" || reason);
});

const isolators = [
  { name: "resource/cpu", value: { request: "250m", limit: "1" } },
  { name: "resource/memory", value: { limit: "64Mi" } },
  { name: "resource/block-iops", value: { default: true, limit: "1k" } },
  { name: "os/linux/capabilities-retain-set", value: { set: ["CAP_KILL", "CAP_SYS_ADMIN"] } },
  { name: "os/linux/seccomp-remove-set", value: { set: ["reboot"], errno: "EPERM" } },
  { name: "os/linux/namespaces", value: { net: "host" } },
  { name: "os/unix/sysctl", value: { "net.core.somaxconn": "1" } },
  { name: "os/linux/no-new-privileges", value: false },
];

fuzz("isolate()", 20_000, (mutator) => {
  const one = mutator.pick(isolators);
  const value = JSON.parse(new TextDecoder().decode(jsonOnly(mutator, one.value)));
  const isolation = isolate([{ name: one.name, value }], "image", "it");
  // Whatever an image writes, it has nothing that it was not given.
  assertEquals([isolation.namespaces, isolation.sysctls, isolation.hostTree], [{}, {}, false]);
  assertEquals(isolation.capabilities?.add, undefined);
  const { privileged, seccomp, apiAccess, noNewPrivileges } = isolation.security;
  assertEquals([privileged, seccomp, apiAccess], [undefined, undefined, undefined]);
  assert(noNewPrivileges !== false);
});

fuzz("quantity()", 20_000, (mutator) => {
  const text = mutator.text(mutator.pick(["500m", "1.5", "64Mi", "1G", "0"]), [
    ...["0", "9", ".", "m", "Ki", "E", "-", "e", " ", "x", "99999999999999999999"],
  ]);
  const amount = quantity(text);
  if (amount === undefined) throw new KurmaError("invalid", "No amount");
  assert(amount >= 0 && amount <= Number.MAX_SAFE_INTEGER, text);
});

const settingsText = exampleText().replace(/^( *)#(?! \S)/gm, "$1");

fuzz("checkSettings()", 500, (mutator) => {
  const text = mutator.text(settingsText, [
    ...["\n", ":", "[", "}", "- ", "&a *a", "\t", "!!x", "1", '"', "~", "999999999999999999999"],
  ]);
  const wrong = (why: string) => new KurmaError("invalid", why);
  const { settings } = checkSettings(parseMapping(text, wrong), "it");
  assert(settings.log.maxFiles >= 1 && settings.socketPath.startsWith("/"));
});

/** Bytes as JSON; what is none is refused, as the API does it. */
function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new KurmaError("invalid", "No JSON", { cause });
  }
}

/** A mutation that is JSON still. */
function jsonOnly(mutator: { json(seed: unknown): Uint8Array }, seed: unknown): Uint8Array {
  const bytes = mutator.json(seed);
  parsed(bytes);
  return bytes;
}
