/**
 * The API under clients that are not ours: Debian's grpcio and curl.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { count, mustRun, root, Running, test } from "../harness.ts";
import { FrameType, preface, settingsFrame } from "../../stage1/api/http2/frames.ts";
import { data, headers, TestClient } from "../../stage1/api/http2/testing.ts";
import { ExecRequestSchema } from "../../stage1/api/kurma.gen.ts";
import { create, toBinary } from "@bufbuild/protobuf";
import { curl, descriptors, python, Served } from "./served.ts";

/** Runs `body` with a daemon, and grpcio ready to call it. */
function served(
  name: string,
  body: (daemon: Served, client: Client, dir: string) => Promise<void>,
): void {
  test(name, async ({ dir }) => {
    await descriptors(`${dir}/set.binpb`);
    await using daemon = await Served.start(dir);
    const command = (target: string, args: readonly string[]) => [
      ...[python, `${import.meta.dirname}/client.py`, `${dir}/set.binpb`, target],
      ...args,
    ];
    const client: Client = async (...args) => {
      const said = await mustRun(command(`unix:${daemon.socket}`, args), { limitMs: 60_000 });
      return said.trim().split("\n").map((line) => JSON.parse(line));
    };
    client.start = (...args) => new Running(command(`unix:${daemon.socket}`, args));
    client.legacy = async () => {
      const said = await mustRun(command(`127.0.0.1:${daemon.port}`, ["legacy"]));
      return said.trim().split("\n").map((line) => JSON.parse(line));
    };
    await body(daemon, client, dir);
  });
}

/** What a client printed, as JSON; each test says what it has to be. */
type Said = ReturnType<typeof JSON.parse>;

interface Client {
  (...args: string[]): Promise<Said[]>;
  start(...args: string[]): Running;
  legacy(): Promise<Said[]>;
}

served(
  "grpcio calls, is told errors with their details, and talks both ways",
  async (daemon, client) => {
    const version = { kurma: "1", commit: "c", deno: "d", zig: "z", kernel: "k", api: "kurma.v1" };
    assertEquals(await client("call", "kurma.v1.System/Version", "[{}]"), [version, {
      status: "OK",
    }]);
    assertEquals(await client("call", "kurma.v1.Containers/Get", '[{"container":"x"}]'), [
      { status: "NOT_FOUND", message: 'Cannot find container "x"', detail: true },
    ]);
    const [bug] = await client("call", "kurma.v1.Containers/Get", '[{"container":"bug"}]');
    assertEquals([bug.status, bug.detail], ["INTERNAL", true]);
    await daemon.says(/"bug":"TypeError: deliberate"/);
    const [unknown] = await client("call", "kurma.v1.Volumes/List", "[{}]");
    assertEquals([unknown.status, unknown.message], [
      "UNIMPLEMENTED",
      "Kurma has no method kurma.v1.Volumes/List",
    ]);
    assertEquals(await client("dialogue"), [[52, { started: { pid: 7 } }, {
      exited: { code: 3 },
    }]]);
    await daemon.says(/"ended":"exec"/);
  },
);

served("many calls at once on one connection are all answered", async (_, client) => {
  const [{ failures }] = await client("concurrent", "16", String(count(50, 1000)));
  assertEquals(failures, []);
});

served(
  "deadlines and cancellations hold, also against a handler that is deaf",
  async (daemon, client) => {
    assertEquals(await client("deadline"), [{ status: "DEADLINE_EXCEEDED", early: true }]);
    await curl(daemon.socket, "/kurma.v1.Containers/Create", { name: "held" });
    assertEquals(await client("cancelled"), [{ cancelled: true }]);
    await daemon.says(/"ended":"stop"/);
    await daemon.says(/"method":"kurma.v1.Containers\/Stop","subject":"held","outcome":"canceled"/);
  },
);

served("who only ends what it sends is answered, who goes away cancels it", async (daemon) => {
  const { socket: path } = daemon;
  const asked = async (method: string, body: string) => {
    const connection = await Deno.connect({ transport: "unix", path });
    const request = `POST /kurma.v1.Containers/${method} HTTP/1.1\r\nHost: kurma\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    await connection.write(new TextEncoder().encode(request));
    await connection.closeWrite();
    return connection;
  };
  {
    using listing = await asked("List", "{}");
    assertMatch(await new Response(listing.readable).text(), /^HTTP\/1\.1 200 /);
  }
  await curl(path, "/kurma.v1.Containers/Create", { name: "held" });
  {
    using _stopping = await asked("Stop", '{"container":"held","timeout":"2000s"}');
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await daemon.says(/"ended":"stop"/);
  await daemon.says(/"method":"kurma.v1.Containers\/Stop","subject":"held","outcome":"canceled"/);
});

served("reflection lists every service with every method, in both versions", async (_, client) => {
  for (const version of ["grpc.reflection.v1", "grpc.reflection.v1alpha"]) {
    const said = await client("reflection", version);
    const methods = Object.fromEntries(said);
    assertEquals(methods["grpc.health.v1.Health"], ["Check", "Watch"]);
    assertEquals(methods["kurma.v1.System"], ["Ping", "Version", "Status", "Reload"]);
    assertEquals(methods["kurma.v1.Containers"].length, 23);
    assertEquals([methods.error, said.length], [5, 7]);
  }
});

served("health says that each service can be called, and which is not there", async (_, client) => {
  const check = (service: string) =>
    client("call", "grpc.health.v1.Health/Check", JSON.stringify([{ service }]));
  assertEquals(await check(""), [{ status: "SERVING" }, { status: "OK" }]);
  assertEquals(await check("kurma.v1.System"), [{ status: "SERVING" }, { status: "OK" }]);
  assertEquals((await check("no.Service"))[0].status, "NOT_FOUND");
});

served("curl with JSON creates, lists and stops", async ({ socket }) => {
  const created = await curl(socket, "/kurma.v1.Containers/Create", { name: "web", start: true });
  assertEquals([created.status, JSON.parse(created.body).container.state], [
    200,
    "CONTAINER_STATE_RUNNING",
  ]);
  const listed = await curl(socket, "/kurma.v1.Containers/List", {});
  assertEquals(JSON.parse(listed.body).containers[0].name, "web");
  const stopped = await curl(socket, "/kurma.v1.Containers/Stop", { container: "web" });
  assertMatch(stopped.body, /CONTAINER_STATE_STOPPED/);
  const missing = await curl(socket, "/kurma.v1.Containers/Stop", { container: "db" });
  const { code, message, details: [{ type, debug }] } = JSON.parse(missing.body);
  assertEquals([missing.status, code, message, type], [
    404,
    "not_found",
    'Cannot find container "db"',
    "kurma.v1.ErrorDetail",
  ]);
  assertEquals([debug.fix, debug.causes, debug.code], [
    "`kurma list` shows them",
    ["outer", "inner"],
    "missing",
  ]);
});

served("curl is told what it did wrong", async ({ socket }) => {
  const get = "/kurma.v1.System/Version?encoding=json&message=%7B%7D";
  assertEquals((await curl(socket, get)).status, 200);
  assertEquals(
    (await curl(socket, "/kurma.v1.Containers/Create?encoding=json&message=%7B%7D")).status,
    405,
  );
  assertEquals((await curl(socket, "/nothing")).status, 404);
  assertEquals(
    (await curl(socket, "/kurma.v1.System/Version", {}, ["-H", "content-type: text/xml"])).status,
    415,
  );
  const unknown = await curl(socket, "/kurma.v1.Containers/Get", { no: "such field" });
  assertEquals(unknown.status, 400);
  assertMatch(unknown.body, /invalid_argument/);
  // Whatever the length claims, what is decoded is all that there is.
  const twice = await curl(socket, "/kurma.v1.Containers/Get", undefined, [
    ...["-H", "content-type: application/json", "-d", '{"container":"x"}{"container":"y"}'],
  ]);
  assertEquals(twice.status, 400);
});

served("gRPC-Web and Connect are spoken over HTTP/2 as well", async ({ socket }, _, dir) => {
  await Deno.writeFile(`${dir}/empty`, new Uint8Array(5));
  const h2 = ["--http2-prior-knowledge", "-H"];
  const web = await curl(socket, "/kurma.v1.System/Ping", undefined, [
    ...[...h2, "content-type: application/grpc-web+proto", "--data-binary", `@${dir}/empty`],
    ...["--output", `${dir}/answer`],
  ]);
  assertEquals(web.status, 200);
  assertMatch(await Deno.readTextFile(`${dir}/answer`), /grpc-status: 0/);
  const connect = await curl(socket, "/kurma.v1.System/Version", {}, ["--http2-prior-knowledge"]);
  assertEquals(JSON.parse(connect.body).api, "kurma.v1");
});

served(
  "messages too large, and ones that grow when they are unpacked, are refused",
  async ({ socket }, client, dir) => {
    assertEquals(await client("large", "5000000"), [{ status: "RESOURCE_EXHAUSTED" }]);
    const bomb = new Blob([new Uint8Array(100_000_000)]).stream()
      .pipeThrough(new CompressionStream("gzip"));
    await Deno.writeFile(`${dir}/bomb`, bomb);
    const answer = await curl(socket, "/kurma.v1.System/Ping", undefined, [
      ...["-H", "content-type: application/json", "-H", "content-encoding: gzip"],
      ...["--data-binary", `@${dir}/bomb`],
    ]);
    assertEquals([answer.status, JSON.parse(answer.body).code], [429, "resource_exhausted"]);
    const deep = `{"settings":${'{"x":'.repeat(100_000)}1${"}".repeat(100_000)}}`;
    await Deno.writeTextFile(`${dir}/deep`, deep);
    const refused = await curl(socket, "/kurma.v1.Containers/Create", undefined, [
      ...["-H", "content-type: application/json", "--data-binary", `@${dir}/deep`],
    ]);
    assertEquals(refused.status, 400);
    assertEquals((await curl(socket, "/kurma.v1.System/Ping", {})).status, 200);
  },
);

served(
  "a client that is paused costs nothing and stops nobody; one that is killed is cancelled",
  async (daemon, client) => {
    const follower = client.start("follow");
    await follower.says(/following/);
    follower.signal("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, 500));
    const before = daemon.memory();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const grown = daemon.memory() - before;
    assert(grown < 16 * 1024 * 1024, `a paused client made it grow by ${grown} bytes`);
    assertEquals((await curl(daemon.socket, "/kurma.v1.System/Ping", {})).status, 200);
    follower.signal("SIGKILL");
    await daemon.says(/"ended":"logs"/);
    const holder = client.start("hold");
    await holder.says(/holding/);
    holder.signal("SIGKILL");
    await daemon.says(/"ended":"exec"/);
    await Promise.all([follower.output, holder.output]);
  },
);

served(
  "each changing call leaves a line for the audit log, with who called",
  async (daemon, _, dir) => {
    await Deno.chmod(dir, 0o755);
    const as = (uid: number, gid: number) => [
      ...["setpriv", `--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
      ...["curl", "-sS", "--unix-socket", daemon.socket, "-H", "content-type: application/json"],
      ...["-d", '{"name":"mine"}', "http://kurma/kurma.v1.Containers/Create"],
    ];
    await mustRun(as(1234, 0));
    const [, line] = await daemon.says(/^(\{"audit".*Create.*)$/m);
    const { peer, subject, outcome } = JSON.parse(line).audit;
    assertEquals([peer.uid, peer.gid, subject, outcome], [1234, 0, "mine", "ok"]);
    await curl(daemon.socket, "/kurma.v1.Containers/List", {});
    await curl(daemon.socket, "/kurma.v1.Containers/Stop", { container: "db" });
    const [all] = await daemon.says(/^\{"audit"[^]*Stop.*$/m);
    assert(!all.includes("Containers/List"), "what changes nothing is not told");
    assertMatch(
      all,
      /"subject":"db","outcome":"not_found","message":"Cannot find container \\"db\\""/,
    );
    // The socket is of root and its group alone.
    const refused = await new Running(as(1234, 1234)).output;
    assert(refused.status !== 0);
  },
);

served("many who connect at the same time are each told apart", async (daemon) => {
  const uids = Array.from({ length: count(30, 300) }, (_, index) => 2000 + index);
  await Deno.chmod(daemon.socket.replace(/\/[^/]*$/, ""), 0o755);
  await Promise.all(uids.map((uid) =>
    mustRun([
      ...["setpriv", `--reuid=${uid}`, "--regid=0", "--clear-groups"],
      ...["curl", "-sS", "--unix-socket", daemon.socket, "-H", "content-type: application/json"],
      ...["-d", `{"name":"of${uid}"}`, "http://kurma/kurma.v1.Containers/Create"],
    ])
  ));
  for (const uid of uids) {
    await daemon.says(new RegExp(`"uid":${uid},"gid":0\\}.*"subject":"of${uid}"`));
  }
});

served(
  "connections that come and go, and streams that are dropped, leave nothing",
  async (daemon) => {
    await halfOpen(daemon.socket, 1000);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const before = { live: await daemon.live(), descriptors: daemon.descriptors() };
    const streams = count(2000, 10_000);
    await halfOpen(daemon.socket, streams);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const grown = await daemon.live() - before.live;
    console.log(`      ${streams} half-open streams: ${Math.round(grown / 1024)} KiB more in use`);
    // A stream that is kept takes more than 5 KiB.
    assert(grown < 4 * 1024 * 1024, `${grown} bytes more are in use`);
    assertEquals(daemon.descriptors(), before.descriptors);
  },
);

/** Opens streams of Exec that say no more, 50 on a connection, and closes the connections. */
async function halfOpen(socket: string, streams: number): Promise<void> {
  const start = { message: { case: "start" as const, value: { container: "c" } } };
  const message = toBinary(ExecRequestSchema, create(ExecRequestSchema, start));
  const envelope = Uint8Array.from([0, 0, 0, 0, message.length, ...message]);
  const fields: [string, string][] = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/kurma.v1.Containers/Exec"],
    ["content-type", "application/grpc"],
  ];
  for (let opened = 0; opened < streams; opened += 50) {
    using client = new TestClient(await Deno.connect({ transport: "unix", path: socket }));
    const frames = [preface, settingsFrame([])];
    for (let id = 1; id < 100; id += 2) frames.push(headers(id, 4, fields), data(id, envelope));
    await client.send(...frames);
    for (let answers = 0; answers < 50; answers++) {
      assert(await client.find(({ type }) => type === FrameType.data));
    }
  }
}

served("a program of the first Kurma works unchanged", async (daemon, client) => {
  assertEquals(await client.legacy(), [
    {},
    { containers: [{ uuid: "web", manifest: "e30=", state: "RUNNING" }] },
    { uuid: "web", manifest: "e30=", state: "RUNNING" },
    [["web", "ls\n"]],
    {},
    { status: "UNKNOWN", message: 'Cannot find container "web"' },
    { status: "UNKNOWN", message: 'Cannot find container "web"' },
    { status: "UNKNOWN", message: "Cannot upload: no such upload id" },
  ]);
  const [, made] = await daemon.says(/^(\{"create".*)$/m);
  assertEquals(JSON.parse(made), {
    create: "web",
    manifest: '{"acKind":"ImageManifest"}',
    bytes: [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2],
  });
});

served("grpc-js under Node calls, streams both ways and cancels", async (daemon, _, dir) => {
  await Deno.symlink(`${root}/build/node/node_modules`, `${dir}/node_modules`);
  await Deno.copyFile(`${import.meta.dirname}/client.mjs`, `${dir}/client.mjs`);
  const proto = `${root}/stage1/api/kurma.proto`;
  const said = await mustRun(["node", `${dir}/client.mjs`, proto, daemon.socket]);
  assertEquals(said.trim().split("\n").map((line) => JSON.parse(line)), [
    "web",
    ["web"],
    "NOT_FOUND",
    "DEADLINE_EXCEEDED",
    [21, "0", 3],
    "5000000",
    "CANCELLED",
  ]);
  await daemon.says(/"ended":"logs"/);
});
