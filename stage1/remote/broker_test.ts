import { assert, assertEquals } from "../../tests/assert.ts";
import { type Peer, piecesOf, type Request, type Response } from "../api/http2/exchange.ts";
import { brokerHandler } from "./broker.ts";
import { openPolicy, type Policy } from "./policy.ts";
import type { Role } from "./roles.ts";

const known = (role: Role): Peer => ({
  ...{ kind: "tls", address: "192.0.2.1:1", name: "ci", role, credential: "token" },
  fingerprint: "0".repeat(64),
});

/** Asks a broker whose kurmad does not run. */
async function asked(
  {
    peer = known("viewer"),
    header = {},
    path = "/kurma.v1.System/Ping",
    body = "{}",
    policy = openPolicy,
  }: {
    peer?: Peer;
    header?: Record<string, string>;
    path?: string;
    body?: string;
    policy?: Policy;
  },
  times = 1,
): Promise<{ response: Response; said: string; refused: string[] }> {
  const refused: string[] = [];
  const bugs: unknown[] = [];
  using handler = brokerHandler({
    socket: "/nowhere/kurma.sock",
    policy: () => policy,
    hosts: ["box.example"],
    onAudit: () => {},
    onCall: () => {},
    onBug: (error) => bugs.push(error),
    onRefused: (_, reason) => refused.push(reason),
  });
  let response!: Response;
  let said = "";
  for (let n = 0; n < times; n++) {
    const controller = new AbortController();
    const request: Request = {
      ...{ httpVersion: "2", method: "POST", url: `http://kurma${path}`, path, peer },
      header: new Headers({ host: "box.example", "content-type": "application/json", ...header }),
      body: ReadableStream.from([new TextEncoder().encode(body)]),
      signal: controller.signal,
      cancel: (reason) => controller.abort(reason),
    };
    response = await handler(request);
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of piecesOf(response.body ?? new Uint8Array())) {
      parts.push(new Uint8Array(part));
    }
    said = await new Blob(parts).text();
  }
  // The call is told of behind its answer.
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(bugs, []);
  return { response, said, refused };
}

Deno.test("who is not known is not answered", async () => {
  for (
    const peer of [
      { kind: "tcp", address: "192.0.2.1:1" },
      { kind: "unix", pid: 1, uid: 0, gid: 0 },
    ] as const
  ) {
    const { response, refused } = await asked({ peer });
    assertEquals([response.status, refused], [401, ["Nobody knows who you are"]]);
  }
});

Deno.test("a call goes on to kurmad, whose absence is told", async () => {
  const { response, said } = await asked({});
  assertEquals(response.status, 503);
  assertEquals(
    JSON.parse(said).message,
    'Cannot reach kurmad at "/nowhere/kurma.sock"',
  );
});

Deno.test("a role's refusal has a code, a cause and a fix", async () => {
  const { response, said } = await asked({ path: "/kurma.v1.Containers/Prune" });
  const { code, message, details } = JSON.parse(said);
  assertEquals([response.status, code], [403, "permission_denied"]);
  assertEquals(message, 'Cannot call Containers/Prune: "ci" is a viewer');
  assertEquals(details[0].debug.fix, "Use a certificate or a token of the role operator");
});

Deno.test("what is no method is not passed on, whatever the role", async () => {
  for (const path of ["/kurma.v1.System/Nothing", "/client.Kurma/List", "/metrics", "/"]) {
    const { response } = await asked({ peer: known("admin"), path });
    assertEquals(response.status, 404, path);
    const grpc = await asked({
      peer: known("admin"),
      path,
      header: { "content-type": "application/grpc" },
    });
    assertEquals(grpc.response.header?.get("grpc-status"), "12", path);
  }
});

Deno.test("web pages get 403, in whatever protocol they ask", async () => {
  for (const type of ["application/json", "application/grpc-web", "application/grpc"]) {
    const header = { origin: "https://evil.example", "content-type": type };
    const { response, refused } = await asked({ peer: known("admin"), header });
    assertEquals(response.status, 403);
    assertEquals(refused, ['The web page "https://evil.example" may not call']);
  }
});

Deno.test("who calls too often is told when to call again", async () => {
  const limits = { callsPerSecond: 0.1, burst: 2, callsAtOnce: 10 };
  const policy = { ...openPolicy, limits };
  const { response, said } = await asked({ policy }, 3);
  assertEquals(response.status, 429);
  const seconds = Number(response.header?.get("retry-after"));
  assert(seconds >= 9 && seconds <= 10, `${seconds}`);
  assertEquals(JSON.parse(said), {
    code: "resource_exhausted",
    message: "You have made too many calls",
  });
  const grpc = await asked({ policy, header: { "content-type": "application/grpc+proto" } }, 3);
  assertEquals(grpc.response.status, 200);
  assertEquals(grpc.response.header?.get("grpc-status"), "8");
  assertEquals(grpc.response.header?.get("grpc-message"), "You%20have%20made%20too%20many%20calls");
});

Deno.test("a call that is over does not count, however it ended", async () => {
  const policy = {
    ...openPolicy,
    limits: { callsPerSecond: 1e6, burst: 1e6, callsAtOnce: 1 },
  };
  for (const path of ["/kurma.v1.System/Ping", "/kurma.v1.Containers/Prune", "/nothing"]) {
    assert((await asked({ policy, path }, 5)).response.status !== 429, path);
  }
});

Deno.test("a message that is too large is refused as a whole", async () => {
  const { response, said } = await asked({ body: `${" ".repeat(4 * 2 ** 20)}{}` });
  assertEquals([response.status, JSON.parse(said).code], [429, "resource_exhausted"]);
});
