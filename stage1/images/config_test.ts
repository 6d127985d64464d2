import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { parseAciManifest } from "./aci_manifest.ts";
import { environment, parseOciConfig } from "./config.ts";

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const diffId = `sha256:${"0".repeat(64)}`;
const minimal = {
  os: "linux",
  architecture: Deno.build.arch === "x86_64" ? "amd64" : "arm64",
  rootfs: { type: "layers", diff_ids: [diffId] },
};

const aci = {
  acKind: "ImageManifest",
  acVersion: "0.8.11",
  name: "example.com/app",
  labels: [{ name: "version", value: "1.0" }, { name: "os", value: "linux" }],
};

Deno.test("parseOciConfig() takes what every field says", () => {
  const { config, diffIds } = parseOciConfig(
    encode({
      ...minimal,
      config: {
        User: "app:log",
        Env: ["A=1", "B=x=y", "A=2"],
        Entrypoint: ["/init"],
        Cmd: ["-v"],
        WorkingDir: "/srv",
        ExposedPorts: { "80": {}, "53/udp": {} },
        Volumes: { "/data": {} },
        Labels: { a: "b" },
        StopSignal: "SIGINT",
        Healthcheck: { Test: ["CMD", "true"], Interval: 1_000_000_000, Retries: 0 },
      },
    }),
    "config",
  );
  assertEquals(diffIds, [diffId]);
  assertEquals(config, {
    entrypoint: ["/init"],
    command: ["-v"],
    env: ["A=2", "B=x=y"],
    user: "app",
    group: "log",
    workingDir: "/srv",
    labels: { a: "b" },
    stopSignal: "SIGINT",
    volumes: ["/data"],
    exposedPorts: ["80/tcp", "53/udp"],
    healthcheck: { test: ["CMD", "true"], interval: 1_000_000_000 },
  });
});

const refusedConfigs: Record<string, [config: unknown, message: RegExp]> = {
  "a bare name, which could import the host's variable": [
    { ...minimal, config: { Env: ["SECRET"] } },
    /"SECRET" is not NAME=value/,
  ],
  "an empty name": [{ ...minimal, config: { Env: ["=x"] } }, /is not NAME=value/],
  "another machine": [{ ...minimal, architecture: "s390x" }, /it is for linux\/s390x/],
  "a digest that is a path": [
    { ...minimal, rootfs: { type: "layers", diff_ids: ["sha256:../../x"] } },
    /is not a sha256 digest/,
  ],
  "a relative working directory": [
    { ...minimal, config: { WorkingDir: "srv" } },
    /is not an absolute path/,
  ],
  "a user with a newline": [{ ...minimal, config: { User: "root\nx" } }, /is not allowed/],
  "a port beyond the last": [
    { ...minimal, config: { ExposedPorts: { "65536/tcp": {} } } },
    /is not PORT\/PROTOCOL/,
  ],
  "a command that is no list": [{ ...minimal, config: { Cmd: "sh" } }, /is not a list of texts/],
};
for (const [name, [config, message]] of Object.entries(refusedConfigs)) {
  Deno.test(`parseOciConfig() refuses ${name}`, async () => {
    const error = await rejection(() => parseOciConfig(encode(config), "config"));
    assertMatch(error.message, message);
  });
}

Deno.test("environment() keeps the last of each name", () => {
  assertEquals(environment(["A=1", "__proto__=2", "A="], "it"), ["A=", "__proto__=2"]);
});

Deno.test("parseAciManifest() takes an app as appc writes it", () => {
  const { name, config, dependencies, pathWhitelist } = parseAciManifest(
    encode({
      ...aci,
      app: {
        exec: ["/bin/app"],
        user: "0",
        group: "0",
        environment: [{ name: "A", value: "1" }],
        supplementaryGIDs: [400],
        ports: [{ name: "web", protocol: "tcp", port: 80, count: 2 }],
        mountPoints: [{ name: "data", path: "/data", readOnly: true }],
        isolators: [{ name: "os/linux/namespaces", value: ["net"] }],
        eventHandlers: [{ name: "pre-start", exec: ["/pre"] }],
      },
      dependencies: [{ app: "example.com/base", labels: [{ name: "version", value: "2" }] }],
      pathWhitelist: ["/bin/app"],
    }),
    "manifest",
  );
  assertEquals(name, "example.com/app");
  assertEquals(config.command, ["/bin/app"]);
  assertEquals(config.env, ["A=1"]);
  assertEquals(config.supplementaryGids, [400]);
  assertEquals(config.exposedPorts, ["80-81/tcp"]);
  assertEquals(config.mountPoints, [{ name: "data", path: "/data", readOnly: true }]);
  assertEquals(config.isolators, [{ name: "os/linux/namespaces", value: ["net"] }]);
  assertEquals(dependencies, [{ name: "example.com/base", labels: { version: "2" } }]);
  assertEquals(pathWhitelist, ["/bin/app"]);
});

const app = { exec: ["/x"], user: "0", group: "0" };
const refusedManifests: Record<string, [manifest: unknown, message: RegExp]> = {
  "another kind": [{ ...aci, acKind: "PodManifest" }, /its acKind is "PodManifest"/],
  "a name that is a path": [{ ...aci, name: "../x" }, /is not an appc identifier/],
  "a label called name": [
    { ...aci, labels: [{ name: "name", value: "x" }] },
    /label called "name"/,
  ],
  "another system": [{ ...aci, labels: [{ name: "os", value: "freebsd" }] }, /it is for "freebsd"/],
  "an app without a user": [{ ...aci, app: { exec: ["/x"], group: "0" } }, /no user or no group/],
  "a variable twice": [
    { ...aci, app: { ...app, environment: [{ name: "A" }, { name: "A" }] } },
    /"A" stands twice/,
  ],
  "a variable's name with =": [
    { ...aci, app: { ...app, environment: [{ name: "A=B" }] } },
    /is not a name of a variable/,
  ],
  "an unknown event": [
    { ...aci, app: { ...app, eventHandlers: [{ name: "boot", exec: ["/x"] }] } },
    /is not pre-start or post-stop/,
  ],
  "ports beyond the last": [
    { ...aci, app: { ...app, ports: [{ name: "p", protocol: "tcp", port: 65535, count: 2 }] } },
    /port "65535" is not one/,
  ],
};
for (const [name, [manifest, message]] of Object.entries(refusedManifests)) {
  Deno.test(`parseAciManifest() refuses ${name}`, async () => {
    const error = await rejection(() => parseAciManifest(encode(manifest), "manifest"));
    assertMatch(error.message, message);
  });
}
