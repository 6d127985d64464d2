/**
 * The daemon under clients that are not ours: Debian's grpcio and curl, and what the command
 * line of the first Kurma sent.
 *
 * @module
 */

import { curl, descriptors, python } from "../api/served.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { mustRun, root } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { kurmadTest } from "./daemon.ts";

/** Runs client.py; what it printed. */
async function client(dir: string, target: string, ...args: string[]) {
  const set = `${dir}/set.binpb`;
  await descriptors(set);
  const script = `${import.meta.dirname}/../api/client.py`;
  const said = await mustRun([python, script, set, target, ...args], { limitMs: 120_000 });
  return said.trim().split("\n").map((line) => JSON.parse(line));
}

kurmadTest("curl with JSON creates, lists and stops a container", async ({ dir, image }) => {
  const call = async (method: string, request: unknown) => {
    const { status, body } = await curl(
      `${dir}/kurma.sock`,
      `/kurma.v1.Containers/${method}`,
      request,
    );
    assertEquals(status, 200, body);
    return JSON.parse(body);
  };
  const settings = { command: ["sleep", "1000"], stopSignal: "SIGKILL" };
  const made = await call("Create", { name: "web", image, start: true, settings });
  assert(made.container.pid > 0);
  const { containers } = await call("List", {});
  assertEquals(
    containers.map(({ name, state }: Record<string, string>) => [name, state]),
    [["web", "CONTAINER_STATE_RUNNING"]],
  );
  const stopped = await call("Stop", { container: "web" });
  assertEquals(stopped.container.state, "CONTAINER_STATE_STOPPED");
});

const legacyPort = 12_311;

kurmadTest("a program of the first Kurma works unchanged", async ({ dir }) => {
  const manifest = {
    acKind: "ImageManifest",
    acVersion: "0.6.1",
    name: "example.com/busybox",
    app: {
      exec: ["/bin/sleep", "1000"],
      user: "0",
      group: "0",
      environment: [{ name: "A", value: "then" }],
    },
  };
  await Deno.writeTextFile(`${dir}/manifest`, JSON.stringify(manifest));
  const { aci } = await images();
  const target = `127.0.0.1:${legacyPort}`;
  const said = await client(dir, target, "legacy_life", `${dir}/manifest`, aci);
  const [uuid, state, pod] = said[3];
  assertEquals([uuid, state, pod.acKind, pod.apps[0].name], [36, 2, "PodManifest", "web"]);
  assertEquals(pod.apps[0].app.exec, manifest.app.exec);
  assertMatch(pod.apps[0].image.id, /^sha512-[0-9a-f]{128}$/);
  said.splice(3, 1);
  assertEquals(said, [
    "0a 03 77 65 62 12 02 7b 7d",
    [36, false],
    {},
    true,
    [true, true],
    {},
    {},
    "UNKNOWN",
  ]);
}, { flags: [`--legacy-api-address=127.0.0.1:${legacyPort}`] });

kurmadTest("grpcio calls every method that reflection lists", async ({ dir, image }) => {
  const socket = `${dir}/kurma.sock`;
  const archive = `${dir}/one.tar`;
  await Deno.writeTextFile(`${dir}/one`, "content");
  await mustRun(["tar", "-C", dir, "-cf", archive, "one"]);
  const base64 = async (path: string) => (await Deno.readFile(path)).toBase64();
  const { docker } = await images();
  const settings = {
    command: ["sh", "-c", "echo said; while :; do sleep 0.1; done"],
    stopSignal: "SIGKILL",
    openInput: true,
  };
  const container = { container: "web" };
  const pod = { pod: "duo" };
  const start = (value: unknown) => [{ start: value }];
  const calls = (service: string, table: [string, unknown, string?][]) =>
    table.map(([method, request, outcome = "OK"]) => ({
      path: `kurma.v1.${service}/${method}`,
      requests: Array.isArray(request) ? request : [request],
      outcome,
    }));
  const all = [
    ...calls("System", [["Ping", {}], ["Version", {}], ["Status", {}], ["Reload", {}]]),
    ...calls("Volumes", [
      ["Create", { name: "data" }],
      ["Update", { volume: "data", labels: { a: "b" } }],
      ["Get", { volume: "data" }],
      ["List", {}],
      ["Remove", { volume: "data" }],
      ["Prune", {}],
    ]),
    ...calls("Images", [
      ["Import", [{ start: { name: "example.com/box:1" } }, { chunk: await base64(docker) }]],
      ["Tag", { image: "example.com/box:1", name: "example.com/box:2" }],
      ["Get", { image: "example.com/box:2" }],
      ["List", {}],
      ["Export", { image: "example.com/box:2" }],
      ["Verify", { checkOnly: true }],
      // There is no network here: what was asked for is understood, and refused with the reason.
      ["Pull", { reference: "127.0.0.1:1/box:1" }, "UNAVAILABLE"],
      ["Push", { image: "example.com/box:2", target: "127.0.0.1:1/box:1" }, "UNAVAILABLE"],
      ["Remove", { image: "example.com/box:2" }],
      ["Prune", {}],
    ]),
    ...calls("Containers", [
      ["Create", { name: "web", image, settings }],
      [
        "Run",
        start({ name: "ran", image, settings: { command: ["true"], removeWhenEnded: true } }),
      ],
      ["Start", container],
      ["Get", container],
      ["List", {}],
      ["Exec", start({ ...container, command: ["true"] })],
      ["Enter", start(container)],
      ["Attach", start({ ...container, tail: 1 })],
      ["Logs", { ...container, follow: true }],
      ["Top", container],
      ["Stats", { containers: ["web"] }],
      ["CopyIn", [...start({ ...container, path: "/tmp" }), { chunk: await base64(archive) }]],
      ["CopyOut", { ...container, path: "/tmp/one" }],
      ["Update", { ...container, labels: { a: "b" } }],
      ["Pause", container],
      ["Resume", container],
      ["Restart", container],
      ["Rename", { ...container, name: "front" }],
      ["Kill", { container: "front" }],
      ["Wait", { container: "front" }],
      ["Stop", { container: "front" }],
      ["Remove", { container: "front" }],
      ["Prune", {}],
    ]),
    ...calls("Pods", [
      ["Create", { name: "duo", apps: [{ name: "a", image, settings }] }],
      ["Start", pod],
      ["Get", pod],
      ["List", {}],
      ["Pause", pod],
      ["Resume", pod],
      ["Restart", pod],
      ["Rename", { ...pod, name: "pair" }],
      ["Kill", { pod: "pair" }],
      ["Stop", { pod: "pair" }],
      ["Remove", { pod: "pair" }],
      ["Prune", {}],
    ]),
    ...calls("Events", [["Watch", { after: "0" }]]),
  ];
  const file = `${dir}/script.json`;
  await Deno.writeTextFile(file, JSON.stringify(all.map(({ path, requests }) => [path, requests])));
  const said = await client(dir, `unix:${socket}`, "script", file);
  const wrong = said.filter(([, outcome], at) => outcome !== all[at].outcome);
  assertEquals(wrong, []);
  const services: [string, string[]][] = await client(
    ...[dir, `unix:${socket}`, "reflection", "grpc.reflection.v1"] as const,
  );
  const listed = services.filter(([name]) => name.startsWith("kurma.v1."))
    .flatMap(([name, methods]) => methods.map((method) => `${name}/${method}`));
  const written = await methodsOf(`${root}/stage1/api/kurma.proto`);
  assertEquals(listed.sort(), written.sort());
  assertEquals(all.map(({ path }) => path).sort(), written);
  console.log(
    `grpcio called all ${written.length} methods of kurma.proto, and reflection lists them`,
  );
});

/** The methods of a .proto file, as `PACKAGE.SERVICE/METHOD`. */
async function methodsOf(path: string): Promise<string[]> {
  const text = await Deno.readTextFile(path);
  const [, name] = /^package (\S+);$/m.exec(text) ?? [];
  return [...text.matchAll(/^service (\w+) \{\n([^]*?)^\}/gm)].flatMap(([, service, body]) =>
    [...body.matchAll(/^ {2}rpc (\w+)\(/gm)].map(([, method]) => `${name}.${service}/${method}`)
  );
}
