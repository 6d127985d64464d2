/**
 * What passes through the broker: all kinds of calls as they are without it, and nothing that
 * is decided about in one form and carried out in another.
 *
 * @module
 */

import { gzipSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect";
import { openStreams, openTransport } from "../../stage1/api/client_streams.ts";
import { Containers, CreateContainerRequestSchema } from "../../stage1/api/kurma.gen.ts";
import { openPolicy } from "../../stage1/remote/policy.ts";
import type { Role } from "../../stage1/remote/roles.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { mustRun } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { until, within } from "../stage2/served.ts";
import { type Brokered, brokerTest, storedImage } from "./brokered.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (text: string) => new TextEncoder().encode(text);

/** Makes and starts a container, through the broker. */
async function run(broker: Brokered, name: string, script: string, settings = {}): Promise<void> {
  await broker.api("operator").call("Containers", "Create", {
    name,
    image: storedImage,
    start: true,
    settings: { command: ["sh", "-c", script], stopTimeout: "0.1s", ...settings },
  });
}

brokerTest(
  "exec, enter, attach, logs, copies and run are as they are without it",
  async (broker) => {
    await run(broker, "web", "while read line; do echo got $line; done", { openInput: true });
    using streams = broker.streams("operator");
    const { containers } = streams;
    let typed = "";
    async function* typing() {
      const value = { container: "web", command: ["sh", "-c", "cat; echo err >&2; exit 7"] };
      yield { message: { case: "start" as const, value: { ...value, openInput: true } } };
      yield { message: { case: "input" as const, value: bytes("one\n") } };
      // The second line goes when the first has come back: both ways are open at once.
      await until("an echo", () => Promise.resolve(typed.includes("one") || undefined));
      yield { message: { case: "input" as const, value: bytes("two\n") } };
    }
    let [errors, code] = ["", -1];
    for await (const { message } of containers.exec(typing())) {
      if (message.case === "output") typed += text(message.value);
      if (message.case === "errorOutput") errors += text(message.value);
      if (message.case === "exited") code = message.value.code;
    }
    assertEquals([typed, errors, code], ["one\ntwo\n", "err\n", 7]);

    let screen = "";
    async function* shell() {
      const terminalSize = { rows: 33, columns: 111 };
      yield { message: { case: "start" as const, value: { container: "web", terminalSize } } };
      yield { message: { case: "input" as const, value: bytes("stty size; exit 5\n") } };
      await until("the size", () => Promise.resolve(screen.includes("33 111\r\n") || undefined));
    }
    for await (const { message } of containers.enter(shell())) {
      if (message.case === "output") screen += text(message.value);
      if (message.case === "exited") code = message.value.code;
    }
    assertEquals(code, 5, screen);

    let shown = "";
    async function* attached() {
      yield { message: { case: "start" as const, value: { container: "web", input: true } } };
      yield { message: { case: "input" as const, value: bytes("hello\n") } };
      await until("an answer", () => Promise.resolve(shown.includes("got hello") || undefined));
      yield { message: { case: "closeInput" as const, value: true } };
    }
    for await (const { message } of containers.attach(attached())) {
      if (message.case === "output") shown += text(message.value);
    }
    assertEquals(shown, "got hello\n");
    let logged = "";
    for await (const { lines } of containers.logs({ container: "web" })) {
      for (const line of lines) logged += text(line.text);
    }
    assertEquals(logged, "got hello");

    const { dir } = broker.kurmad;
    await Deno.mkdir(`${dir}/send`);
    const content = crypto.getRandomValues(new Uint8Array(60_000));
    await Deno.writeFile(`${dir}/send/file`, content);
    await mustRun(["tar", "-C", `${dir}/send`, "-cf", `${dir}/send.tar`, "file"]);
    const archive = await Deno.readFile(`${dir}/send.tar`);
    async function* sent() {
      yield { message: { case: "start" as const, value: { container: "web", path: "/tmp" } } };
      for (let at = 0; at < archive.length; at += 10_000) {
        yield { message: { case: "chunk" as const, value: archive.subarray(at, at + 10_000) } };
      }
    }
    assertEquals(Number((await containers.copyIn(sent())).bytes), content.length);
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const { message } of containers.copyOut({ container: "web", path: "/tmp/file" })) {
      if (message.case === "chunk") parts.push(new Uint8Array(message.value));
    }
    await Deno.writeFile(`${dir}/back.tar`, new Uint8Array(await new Blob(parts).arrayBuffer()));
    await Deno.mkdir(`${dir}/back`);
    await mustRun(["tar", "-C", `${dir}/back`, "-xf", `${dir}/back.tar`]);
    assertEquals(await Deno.readFile(`${dir}/back/file`), content);

    let ran = "";
    async function* command() {
      const settings = { command: ["echo", "ran"], removeWhenEnded: true };
      const value = { name: "ran", image: storedImage, settings };
      yield await Promise.resolve({ message: { case: "start" as const, value } });
    }
    for await (const { message } of containers.run(command())) {
      if (message.case === "output") ran += text(message.value);
    }
    assertEquals(ran, "ran\n");
  },
);

brokerTest("errors, cancelling, deadlines and slow readers go through", async (broker) => {
  await run(broker, "web", "sleep 1000");
  const { message, fix, cause } = await rejection(
    broker.api("operator").call("Containers", "Get", { container: "nothing" }),
  ) as Error & { fix?: string };
  const direct = await rejection(
    broker.kurmad.api.call("Containers", "Get", { container: "nothing" }),
  ) as Error & { fix?: string };
  assertEquals([message, fix, cause], [direct.message, direct.fix, direct.cause]);

  using open = openTransport(broker.socket("operator"));
  const client = createClient(Containers, open.transport);
  const late = await rejection(client.wait({ container: "web" }, { timeoutMs: 200 }));
  assertEquals(ConnectError.from(late).code, Code.DeadlineExceeded);

  const sleepers = async () => {
    const { processes = [] } = await broker.kurmad.api.call("Containers", "Top", {
      container: "web",
    });
    return processes.filter(({ command }) => command?.[1] === "777").length;
  };
  const cancelled = new AbortController();
  async function* held() {
    const value = { container: "web", command: ["sleep", "777"], openInput: true };
    yield { message: { case: "start" as const, value } };
    await new Promise<void>((resolve) =>
      cancelled.signal.addEventListener("abort", () => resolve())
    );
  }
  const exec = rejection((async () => {
    for await (const _ of client.exec(held(), { signal: cancelled.signal })) continue;
  })());
  await until("the command", async () => await sleepers() === 1 || undefined);
  cancelled.abort();
  assertEquals(ConnectError.from(await exec).code, Code.Canceled);
  await until("its end", async () => await sleepers() === 0 || undefined);

  // What nobody reads is not made: the command waits with its output.
  async function* flood() {
    const script = "head -c 64000000 /dev/zero; touch /done";
    const value = { container: "web", command: ["sh", "-c", script] };
    yield await Promise.resolve({ message: { case: "start" as const, value } });
  }
  let received = 0;
  for await (const { message } of client.exec(flood())) {
    if (message.case !== "output") continue;
    if (received === 0) {
      await until("a command that is held up", async () => {
        const { processes } = await client.top({ container: "web" });
        const held = processes.filter(({ command }) => command[2]?.startsWith("head"));
        return (held.length === 2 && held.every(({ state }) => state === "S")) || undefined;
      });
      assertEquals(await codeOf(client, ["test", "-e", "/done"]), 1);
    }
    received += message.value.length;
  }
  assertEquals(received, 64_000_000);
  assertEquals(await codeOf(client, ["test", "-e", "/done"]), 0);

  // A kurmad that comes back is found again.
  await broker.kurmad.killed();
  await until("an answer", () => client.top({ container: "web" }).catch(() => undefined));
});

async function codeOf(client: Client<typeof Containers>, command: string[]): Promise<number> {
  async function* start() {
    const value = { container: "web", command };
    yield await Promise.resolve({ message: { case: "start" as const, value } });
  }
  let code = -1;
  for await (const { message } of client.exec(start())) {
    if (message.case === "exited") code = message.value.code;
  }
  return code;
}

brokerTest(
  "more calls than a connection carries run at once, and no more than one may",
  async (broker) => {
    const [callsAtOnce, spare] = [200, 10];
    broker.policy = { ...openPolicy, limits: { callsPerSecond: 1e6, burst: 1e6, callsAtOnce } };
    await run(broker, "web", "sleep 1000");
    const cancelled = new AbortController();
    // A connection to kurmad carries 128 calls, one to the broker 64.
    const opens = Array.from({ length: 5 }, () => openTransport(broker.socket("operator")));
    const waits = Array.from({ length: callsAtOnce + spare }, (_, n) => {
      const client = createClient(Containers, opens[n % opens.length].transport);
      return rejection(client.wait({ container: "web" }, { signal: cancelled.signal }));
    });
    const ping = (role: Role) => broker.api(role).call("System", "Ping", {});
    // All that are too many were told so: the others run.
    let refused = 0;
    for (const wait of waits) {
      wait.then(({ message }) => {
        if (message.includes("200 calls of yours run already")) refused++;
      });
    }
    await until("a refusal", () => Promise.resolve(refused === spare || undefined));
    const { message } = await rejection(ping("operator"));
    assertEquals(message, "200 calls of yours run already");
    await ping("viewer"); // Others have their own.
    cancelled.abort();
    const codes = (await Promise.all(waits)).map((error) => ConnectError.from(error).code);
    assertEquals(codes.filter((code) => code === Code.Canceled).length, callsAtOnce);
    for (const open of opens) {
      open[Symbol.dispose]();
    }
    await until("an answer", () => ping("operator").catch(() => undefined));
  },
);

brokerTest("an upload that is cut off leaves nothing", async (broker) => {
  const { aci } = await images();
  const archive = await Deno.readFile(aci);
  const { dir, api } = broker.kurmad;
  // Without those that come by themselves, of containers to come.
  const files = async () =>
    (await mustRun(["find", `${dir}/state`, "-type", "f", "-not", "-name", "*.db*"])).split("\n")
      .filter((path) => !/\/state\/(containers\/|stage2\/|prepared)/.test(path)).sort();
  const stored = async () =>
    ((await api.call("Images", "List", {})).images ?? []).map(({ id }) => id);
  const before = { files: await files(), stored: await stored() };
  /** Sends the first half, waits until some of it is on disk, and then lets `end` end it. */
  const cut = async (socket: string, end: (cancelled: AbortController) => void) => {
    using streams = openStreams(socket);
    const half = archive.subarray(0, archive.length >> 1);
    const cancelled = new AbortController();
    const over = Promise.withResolvers<void>();
    async function* upload() {
      yield { message: { case: "start" as const, value: { name: "cut" } } };
      for (let at = 0; at < half.length; at += 65_536) {
        yield { message: { case: "chunk" as const, value: half.subarray(at, at + 65_536) } };
      }
      await over.promise;
    }
    const failed = rejection((async () => {
      const { signal } = cancelled;
      for await (const _ of streams.images.import(upload(), { signal })) continue;
    })());
    const isMore = async () => (await files()).length > before.files.length || undefined;
    await until("a file of the upload", isMore);
    end(cancelled);
    over.resolve();
    await failed;
    await until("nothing of it", async () => !await isMore() || undefined);
    assertEquals({ files: await files(), stored: await stored() }, before);
  };
  await cut(broker.socket("admin"), (cancelled) => cancelled.abort());
  await using cable = new Cable(`${dir}/cable.sock`, broker.socket("admin"));
  await cut(`${dir}/cable.sock`, () => cable.cut());
  // Whole, it is there.
  async function* whole() {
    yield { message: { case: "start" as const, value: { name: "whole" } } };
    for (let at = 0; at < archive.length; at += 1_000_000) {
      yield { message: { case: "chunk" as const, value: archive.subarray(at, at + 1_000_000) } };
    }
    await Promise.resolve();
  }
  using streams = broker.streams("admin");
  for await (const _ of streams.images.import(whole())) continue;
  assertEquals((await stored()).length, before.stored.length + 1);
});

/** A connection that can be cut. */
class Cable implements AsyncDisposable {
  readonly #listener: Deno.UnixListener;
  readonly #ends = new Set<Deno.Conn>();
  readonly #laid: Promise<void>;

  constructor(from: string, to: string) {
    this.#listener = Deno.listen({ transport: "unix", path: from });
    this.#laid = this.#lay(to);
  }

  async #lay(to: string): Promise<void> {
    for await (const one of this.#listener) {
      const other = await Deno.connect({ transport: "unix", path: to });
      for (const end of [one, other]) this.#ends.add(end);
      // Either way ends when it is cut.
      one.readable.pipeTo(other.writable).catch(() => undefined);
      other.readable.pipeTo(one.writable).catch(() => undefined);
    }
  }

  cut(): void {
    for (const end of this.#ends) {
      try {
        end.close();
      } catch (error) {
        if (!(error instanceof Deno.errors.BadResource)) throw error;
      }
    }
    this.#ends.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#laid;
    this.cut();
  }
}

async function send(connection: Deno.Conn, ...parts: readonly Uint8Array[]): Promise<void> {
  for (const part of parts) {
    for (let at = 0; at < part.length;) at += await connection.write(part.subarray(at));
  }
}

/** What a request of raw bytes is answered: the status of HTTP, and all of it. */
async function raw(
  broker: Brokered,
  role: Role,
  parts: readonly Uint8Array[],
): Promise<{ status: number; said: string }> {
  const connection = await Deno.connect({ transport: "unix", path: broker.socket(role) });
  try {
    // It may be refused before it is whole.
    const sending = send(connection, ...parts).catch(() => undefined);
    let said = "";
    const buffer = new Uint8Array(65_536);
    while (true) {
      const count = await within("an answer", connection.read(buffer)).catch(() => null);
      if (count === null) break;
      said += text(buffer.subarray(0, count));
    }
    await sending;
    return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(said)?.[1] ?? 0), said };
  } finally {
    connection.close();
  }
}

brokerTest("a request has one meaning, however it is wrapped", async (broker) => {
  const privileged = { command: ["true"], security: { privileged: true } };
  const request = { name: "evil", image: storedImage, settings: privileged };
  const json = JSON.stringify(request);
  const path = "/kurma.v1.Containers/Create";
  const head = (lines: readonly string[], target = path, method = "POST") =>
    bytes(
      [`${method} ${target} HTTP/1.1`, "host: kurma", "connection: close", ...lines, "", ""]
        .join("\r\n"),
    );
  const type = "content-type: application/json";
  const sized = (content: Uint8Array, ...lines: string[]) => [
    head([type, `content-length: ${content.length}`, ...lines]),
    content,
  ];
  const chunked = (content: Uint8Array<ArrayBuffer>, size: number, ...lines: string[]) => {
    const parts = [head([type, "transfer-encoding: chunked", ...lines])];
    for (let at = 0; at < content.length; at += size) {
      const part = content.slice(at, at + size);
      parts.push(bytes(`${part.length.toString(16)}\r\n`), part, bytes("\r\n"));
    }
    return [...parts, bytes("0\r\n\r\n")];
  };
  const proto = toBinary(
    CreateContainerRequestSchema,
    create(CreateContainerRequestSchema, request),
  );
  const security = json.replace(/^.*"security":(.*?\}).*$/, "$1");
  const twice = json.replace(security, `${security},"security":{}`);
  const wrapped: Record<string, readonly Uint8Array[]> = {
    "as it is": sized(bytes(json)),
    "in chunks": chunked(bytes(json), 1_000),
    "in chunks of one byte": chunked(bytes(json), 1),
    "with a length of 0 and in chunks": chunked(bytes(json), 1_000, "content-length: 0"),
    "with two lengths": sized(bytes(json), "content-length: 0"),
    "behind 1 MiB and 1 byte of spaces": sized(bytes(" ".repeat(2 ** 20 + 1) + json)),
    "before 1 MiB and 1 byte of spaces": sized(bytes(json + " ".repeat(2 ** 20 + 1))),
    "behind 5 MiB of spaces": sized(bytes(" ".repeat(5 * 2 ** 20) + json)),
    "compressed": sized(gzipSync(bytes(json)), "content-encoding: gzip"),
    "compressed, which it does not say": sized(gzipSync(bytes(json))),
    "compressed 1:1000 to 20 MiB": sized(
      gzipSync(bytes(" ".repeat(20 * 2 ** 20) + json)),
      "content-encoding: gzip",
    ),
    "with a key of another name for it": sized(bytes(json.replace("privileged", "Privileged"))),
    "with settings twice, the second privileged": sized(
      bytes(json.replace('"settings":', '"settings":{},"settings":')),
    ),
    "with security twice, the second empty": sized(bytes(twice)),
    "with garbage behind it": sized(bytes(`${json}{}`)),
    "with another request behind it": sized(bytes(json + json)),
    "as a protocol buffer": [
      head(["content-type: application/proto", `content-length: ${proto.length}`]),
      proto,
    ],
    "as a protocol buffer twice": [
      head(["content-type: application/proto", `content-length: ${2 * proto.length}`]),
      proto,
      proto,
    ],
    "by GET": [head([], `${path}?encoding=json&message=${encodeURIComponent(json)}`, "GET")],
    "at a path with two slashes": [
      head([type, `content-length: ${json.length}`], path.replace("/C", "//C")),
      bytes(json),
    ],
    "at a path with an escape": [
      head([type, `content-length: ${json.length}`], path.replace("Create", "%43reate")),
      bytes(json),
    ],
    "at an absolute URL of another host": [
      head([type, `content-length: ${json.length}`], `http://evil${path}`),
      bytes(json),
    ],
    "with a method of the same service in a header": sized(
      bytes(json),
      "x-http-method-override: PUT",
      "x-original-url: /kurma.v1.System/Ping",
    ),
    "on behalf of root": sized(
      bytes(json),
      `kurma-via: ${encodeURIComponent('{"name":"root","role":"admin"}')}`,
    ),
  };
  const seen: Record<string, number> = {};
  for (const [how, parts] of Object.entries(wrapped)) {
    const { status, said } = await raw(broker, "operator", parts);
    assert(status >= 400 && status < 500, `${how}: ${status} ${said}`);
    seen[status] = (seen[status] ?? 0) + 1;
    const { containers = [] } = await broker.kurmad.api.call("Containers", "List", {});
    assertEquals(containers, [], how);
  }
  // Over HTTP/2, a byte a frame.
  const http = Deno.createHttpClient({
    proxy: { transport: "unix", path: broker.socket("operator") },
    http1: false,
    http2: true,
  });
  const slow = await fetch(`http://kurma${path}`, {
    client: http,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: ReadableStream.from((function* () {
      for (const byte of bytes(json)) yield new Uint8Array([byte]);
    })()),
  });
  assertEquals([slow.status, (await slow.json()).code], [403, "permission_denied"]);
  http.close();
  const total = Object.keys(wrapped).length + 1;
  const counted = Object.entries(seen).map(([status, count]) => `${count} x ${status}`).join(", ");
  console.log(`wrapped: ${total} forms of one request, none of them privileged (${counted})`);
});

brokerTest("what nobody knows is denied, and a web page is no caller", async (broker) => {
  const curl = async (...args: string[]) =>
    await mustRun([
      ...["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "--unix-socket"],
      ...[broker.socket("admin"), ...args],
    ]);
  const ping = "http://kurma/kurma.v1.System/Ping";
  const json = ["-H", "content-type: application/json", "-d", "{}"];
  assertEquals(await curl(...json, ping), "{}\n200");
  assertMatch(await curl(...json, "http://kurma/kurma.v1.System/Nothing"), /\n404$/);
  assertMatch(await curl(...json, "http://kurma/metrics"), /\n404$/);
  assertMatch(
    await curl("--http2-prior-knowledge", "http://evil.example/kurma.v1.System/Ping"),
    /This is not the host \\"evil\.example\\"[^]*\n403$/,
  );
  const pages: string[][] = [
    ["-H", "origin: https://evil.example", ...json, ping],
    ["-H", "host: evil.example", ...json, ping],
    ["-H", "sec-fetch-site: cross-site", ping],
    ["-H", "content-type: text/plain", "-d", "{}", ping],
    ["-X", "OPTIONS", "-H", "origin: https://evil.example", ping],
    [
      ...["-H", "connection: upgrade", "-H", "upgrade: websocket"],
      ...["-H", "sec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==", ping],
    ],
    [
      ...["-H", "origin: https://evil.example", "-H", "content-type: application/grpc-web"],
      ...["--data-binary", "x", ping],
    ],
  ];
  for (const args of pages) assertMatch(await curl(...args), /\n403$/, args.join(" "));
  broker.policy = { ...openPolicy, origins: ["https://dash.example.com"], hosts: ["box.example"] };
  const allowed = ["-H", "origin: https://dash.example.com", "-H", "host: box.example:12312"];
  assertEquals(await curl(...allowed, ...json, ping), "{}\n200");
});
