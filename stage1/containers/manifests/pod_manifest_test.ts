import { assertEquals, rejection } from "../../../tests/assert.ts";
import { type FromManifest, parsePodManifest } from "./pod_manifest.ts";

function parse(manifest: unknown): FromManifest {
  return parsePodManifest(new TextEncoder().encode(JSON.stringify(manifest)), "the manifest");
}

const app = { name: "web", image: { name: "example.com/web" } };

Deno.test("a manifest as the original wrote it is a pod", () => {
  const { spec, outcomes } = parse({
    acKind: "PodManifest",
    acVersion: "0.8.4",
    apps: [{
      name: "web",
      image: { id: `sha512-${"0".repeat(128)}` },
      readOnlyRootFS: true,
      mounts: [{ volume: "data", path: "/srv/data" }],
    }],
    volumes: [{ name: "data", kind: "empty" }],
    isolators: [{ name: "os/linux/namespaces", value: { net: "host" } }],
    annotations: null,
    ports: null,
  });
  assertEquals(outcomes, [{ name: "os/linux/namespaces", outcome: "enforced" }]);
  assertEquals(spec, {
    apps: [{
      name: "web",
      image: `sha512-${"0".repeat(128)}`,
      mounts: [{ type: "volume", source: "data", target: "/srv/data" }],
      security: { readOnlyRoot: true },
    }],
    namespaces: { network: "host" },
    volumes: [{ name: "data", kind: "empty" }],
    annotations: {},
    labels: {},
    resources: {},
    sysctls: {},
  });
});

Deno.test("an app object takes the place of the image's", () => {
  const { spec, outcomes } = parse({
    apps: [{
      name: "backup",
      image: { name: "example.com/backup", labels: [{ name: "version", value: "1.0.0" }] },
      app: {
        exec: ["/bin/backup", "-v"],
        user: "backup",
        group: "0",
        supplementaryGIDs: [27],
        workingDirectory: "/srv",
        environment: [{ name: "A", value: "b" }],
        mountPoints: [{ name: "work", path: "/mnt/work", readOnly: true }, {
          name: "other",
          path: "/mnt/other",
        }],
        eventHandlers: [{ name: "pre-start", exec: ["/setup"] }],
        isolators: [
          { name: "resource/memory", value: { limit: "1G" } },
          { name: "host/privileged", value: false },
          { name: "example.com/own", value: 1 },
        ],
      },
      annotations: [{ name: "foo", value: "baz" }],
    }],
    volumes: [{ name: "work", kind: "host", source: "/opt/work", readOnly: true }],
  });
  assertEquals(spec.apps, [{
    name: "backup",
    image: "example.com/backup:1.0.0",
    imageDefaults: false,
    command: ["/bin/backup", "-v"],
    env: ["A=b"],
    user: "backup",
    group: "0",
    extraGroups: [27],
    workingDir: "/srv",
    eventHandlers: { preStart: ["/setup"] },
    resources: { memory: 1e9 },
    annotations: { foo: "baz" },
    mounts: [{ type: "volume", source: "work", target: "/mnt/work", readOnly: true }],
  }]);
  assertEquals(spec.volumes, [{ name: "work", kind: "host", source: "/opt/work", readOnly: true }]);
  assertEquals(outcomes.map(({ name, outcome }) => [name, outcome]), [
    ["backup: resource/memory", "enforced"],
    ["backup: host/privileged", "enforced"],
    ["backup: example.com/own", "ignored"],
  ]);
});

Deno.test("apps see each other's processes only where they see the host's", () => {
  const isolators = [{ name: "os/linux/namespaces", value: { pid: "host" } }];
  const { spec } = parse({ apps: [app], isolators });
  assertEquals(spec.share, ["network", "ipc", "uts", "pid"]);
  assertEquals(spec.namespaces, { pid: "host" });
  assertEquals(parse({ apps: [app] }).spec.share, undefined);
});

Deno.test("limits of a pod bound all its apps, and what is an app's alone is told", () => {
  const { spec, outcomes } = parse({
    name: "shop",
    apps: [app],
    isolators: [
      { name: "resource/cpu", value: { limit: "2" } },
      { name: "os/unix/sysctl", value: { "net.core.somaxconn": "1" } },
      { name: "host/privileged", value: true },
    ],
    volumes: [{ name: "v", kind: "empty", mode: "0700", uid: 5, gid: 6 }],
    ports: [{ name: "http", hostPort: 80 }],
  });
  assertEquals([spec.name, spec.resources, spec.sysctls], [
    "shop",
    { cpus: 2 },
    { "net.core.somaxconn": "1" },
  ]);
  assertEquals(spec.volumes, [{ name: "v", kind: "empty", mode: 0o700, uid: 5, gid: 6 }]);
  assertEquals(outcomes.map(({ name, outcome }) => [name, outcome]), [
    ["resource/cpu", "enforced"],
    ["os/unix/sysctl", "enforced"],
    ["host/privileged", "ignored"],
    ["ports", "ignored"],
  ]);
});

const wrong: [what: string, manifest: unknown, message: string][] = [
  [
    "another kind",
    { acKind: "ImageManifest", apps: [app] },
    'acKind: expected "PodManifest", not "ImageManifest"',
  ],
  ["no apps", { apps: [] }, "apps: expected one app at least, not a list"],
  ["an unknown field", { apps: [app], hooks: [] }, "hooks: unknown field; there are acVersion,"],
  [
    "an app without an image",
    { apps: [{ name: "web", image: {} }] },
    "its image has no name and no id",
  ],
  [
    "two apps of one name",
    { apps: [app, app] },
    'apps[1].name: another app is called "web"',
  ],
  [
    "a mount of no volume",
    { apps: [{ ...app, mounts: [{ volume: "v", path: "/v" }] }] },
    'apps[0].mounts[0].volume: the pod has no volume "v"',
  ],
  [
    "a host volume that leads anywhere",
    { apps: [app], volumes: [{ name: "v", kind: "host", source: "../etc" }] },
    "volumes[0].source: expected an absolute path of the host without ..",
  ],
  [
    "an image for another system",
    { apps: [{ ...app, image: { name: "a", labels: [{ name: "os", value: "darwin" }] } }] },
    'its image has the label "os"',
  ],
  [
    "a setting of the machine",
    { apps: [app], isolators: [{ name: "os/unix/sysctl", value: { "kernel.panic": "1" } }] },
    'sysctls["kernel.panic"]: expected a setting that containers have for themselves',
  ],
];
for (const [what, manifest, message] of wrong) {
  Deno.test(`a pod manifest with ${what} is refused`, async () => {
    const error = await rejection(() => parse(manifest));
    assertEquals(error.message.includes(message), true, error.message);
  });
}
