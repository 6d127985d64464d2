import { assert, assertEquals, assertMatch } from "../../../tests/assert.ts";
import { type Connection, type Request, textResponse } from "./exchange.ts";
import type { Limits } from "./limits.ts";
import { HttpServer } from "./server.ts";
import { nobody, TestServer, until } from "./testing.ts";

async function exchange(server: TestServer, text: string, answers = 1): Promise<string> {
  using connection = await server.connect();
  await connection.write(new TextEncoder().encode(text));
  return await answersOf(connection, answers);
}

async function answersOf(connection: Deno.UnixConn, answers: number, said = ""): Promise<string> {
  const buffer = new Uint8Array(65_536);
  while (
    said.split(/HTTP\/1\.1 [2-5]/).length - 1 < answers || !said.endsWith("x-end: 1\r\n\r\n")
  ) {
    const count = await connection.read(buffer);
    if (count === null) break;
    said += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return said;
}

Deno.test("HTTP/1.1: bodies with a length and in chunks, one request behind the other", async () => {
  await using server = new TestServer();
  const said = await exchange(
    server,
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello" +
      "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    2,
  );
  assertMatch(
    said,
    /^HTTP\/1\.1 200 \r\n.*x-http: 1\.1.*\r\n\r\n5\r\nhello\r\n0\r\nx-end: 1\r\n\r\n/s,
  );
  assertMatch(said, /abc.*de.*0\r\nx-end: 1\r\n\r\n$/s);
});

Deno.test("HTTP/1.1: a large request leaves room for the next ones", async () => {
  await using server = new TestServer();
  using connection = await server.connect();
  for (const size of [10, 10_000, 20, 100_000, 2_000, 5]) {
    const body = `<${"x".repeat(size - 2)}>`;
    const head = `POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\n\r\n`;
    const request = new TextEncoder().encode(head + body);
    for (let at = 0; at < request.length;) at += await connection.write(request.subarray(at));
    const said = await answersOf(connection, 1);
    // Two of them are in the names of fields.
    assertEquals(said.match(/x/g)?.length, size - 2 + 2, said.slice(0, 200));
  }
});

Deno.test("HTTP/1.1: a client that waits to be asked for its body is asked", async () => {
  await using server = new TestServer();
  using connection = await server.connect();
  const head =
    "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  await connection.write(new TextEncoder().encode(head));
  const buffer = new Uint8Array(1000);
  let asked = "";
  while (!asked.includes("100 Continue")) {
    asked += new TextDecoder().decode(buffer.subarray(0, await connection.read(buffer) ?? 0));
  }
  await connection.write(new TextEncoder().encode("ok"));
  assertMatch(await answersOf(connection, 1, asked), /ok.*0\r\nx-end/s);
});

/** A server that reads no body, and says that all are too large. */
function refusing(limits: Partial<Limits> = {}): TestServer {
  return new TestServer(limits, () => Promise.resolve(textResponse(413, "x-end: 1\r\n")));
}

Deno.test("HTTP/1.1: a client that sends more than is read gets its answer, however slow it is", async () => {
  await using server = refusing();
  using connection = await server.connect();
  const piece = new Uint8Array(100_000);
  const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
  await connection.write(new TextEncoder().encode(head));
  for (let n = 0; n < 10; n++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    for (let at = 0; at < piece.length;) at += await connection.write(piece.subarray(at));
  }
  const said = await new Response(connection.readable).text();
  assertMatch(said, /^HTTP\/1\.1 413 [^]*connection: close\r\n[^]*x-end: 1\r\n/);
  await until("the end of the connection", () => server.server.connections === 0);
});

Deno.test("HTTP/1.1: a client that goes on sending after its answer is not heard for ever", async () => {
  await using server = refusing({ lingerMs: 200 });
  using connection = await server.connect();
  const head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  await connection.write(new TextEncoder().encode(head));
  const chunk = new TextEncoder().encode("1\r\nx\r\n");
  const end = performance.now() + 5_000;
  await assert.rejects(async () => {
    while (performance.now() < end) {
      await connection.write(chunk);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }, Deno.errors.BrokenPipe);
});

Deno.test("HTTP/1.1: a client whose body nobody wants is not asked for it", async () => {
  await using server = refusing();
  const head = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
  assertMatch(await exchange(server, head), /^HTTP\/1\.1 413 /);
});

const bad: Record<string, [request: string, status: number]> = {
  "no HTTP": ["hello\r\n\r\n", 400],
  "HTTP/1.0": ["GET / HTTP/1.0\r\nHost: x\r\n\r\n", 505],
  "no host": ["GET / HTTP/1.1\r\n\r\n", 400],
  "a folded field": ["GET / HTTP/1.1\r\nHost: x\r\n y: z\r\n\r\n", 400],
  "a space before the colon": ["GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400],
  "two lengths": [
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    400,
  ],
  "a length beside chunks": [
    "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    400,
  ],
  "an unknown coding": ["POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501],
  "a path that is none": ["GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400],
  "a head that is too large": [
    `GET / HTTP/1.1\r\nHost: x\r\nx: ${"y".repeat(40_000)}\r\n\r\n`,
    431,
  ],
};
for (const [what, [request, status]] of Object.entries(bad)) {
  Deno.test(`HTTP/1.1: ${what} is refused with ${status}, and the connection ends`, async () => {
    await using server = new TestServer();
    using connection = await server.connect();
    await connection.write(new TextEncoder().encode(request));
    let said = "";
    const buffer = new Uint8Array(4096);
    for (let count; (count = await connection.read(buffer).catch(() => null)) !== null;) {
      said += new TextDecoder().decode(buffer.subarray(0, count));
    }
    assertMatch(said, new RegExp(`^HTTP/1\\.1 ${status} .*connection: close`, "s"));
  });
}

/**
 * A client that was heard by a server whose answers wait for `answer`; `isEnded` once it is
 * taken for gone.
 */
async function waiting(request: string, how: { endsInput?: boolean } = {}) {
  const answer = Promise.withResolvers<void>();
  const seen = { isAsked: false, isEnded: false };
  const server = new TestServer({}, async ({ signal, body }: Request) => {
    for await (const _ of body);
    seen.isAsked = true;
    signal.addEventListener("abort", () => {
      seen.isEnded = true;
      answer.resolve();
    });
    await answer.promise;
    return { status: 200, header: new Headers({ "x-end": "1" }) };
  });
  const connection = await server.connect();
  await connection.write(new TextEncoder().encode(request));
  if (how.endsInput) await connection.closeWrite();
  await until("the request", () => seen.isAsked);
  return { server, connection, seen, answer: answer.resolve };
}

const requests = {
  "without a body": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
  "with a body": "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok",
};
for (const [kind, request] of Object.entries(requests)) {
  Deno.test(`HTTP/1.1: a client that goes away ends its request ${kind}`, async () => {
    const took = async () => {
      const { server, connection, seen } = await waiting(request);
      await using _server = server;
      assertEquals(seen.isEnded, false);
      connection.close();
      const before = performance.now();
      await until("the end", () => seen.isEnded);
      return performance.now() - before;
    };
    // On a busy machine one of them may take as long as if the server had to look for the client.
    const quickest = Math.min(await took(), await took(), await took());
    assert(quickest < 500, "it was waited for");
  });

  Deno.test(`HTTP/1.1: a client that sends nothing more is answered, ${kind}`, async () => {
    const { server, connection, seen, answer } = await waiting(request, { endsInput: true });
    await using _server = server;
    using _connection = connection;
    // The server looks once a second.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assertEquals(seen.isEnded, false);
    answer();
    const said = await new Response(connection.readable).text();
    assertMatch(said, /^HTTP\/1\.1 200 [^]*x-end: 1\r\n/);
    await until("the end of the connection", () => server.server.connections === 0);
  });

  Deno.test(`HTTP/1.1: one that goes away later ends its request ${kind}`, async () => {
    const { server, connection, seen } = await waiting(request, { endsInput: true });
    await using _server = server;
    await new Promise((resolve) => setTimeout(resolve, 50));
    assertEquals(seen.isEnded, false);
    connection.close();
    await until("the end", () => seen.isEnded);
  });
}

Deno.test("HTTP/1.1: an answer goes at the pace of who reads it", async () => {
  let made = 0;
  await using server = new TestServer({}, () => {
    async function* many() {
      for (; made < 10_000; made++) yield await Promise.resolve(new Uint8Array(65_536));
    }
    return Promise.resolve({ status: 200, body: many() });
  });
  using connection = await server.connect();
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  await until("the first pieces", () => made > 0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert(made < 100, `${made} pieces were made`);
});

Deno.test("HTTP/1.1: what is answered at once takes one read and one write", async () => {
  const server = new HttpServer({
    handler: async ({ body }) => {
      for await (const _ of body);
      return { status: 200, body: new TextEncoder().encode("{}") };
    },
    onBug: (error) => {
      throw error;
    },
  });
  const request = new TextEncoder().encode(
    "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
  );
  const done: string[] = [];
  const duplex: Connection = {
    read(into) {
      done.push("read");
      into.set(request);
      return Promise.resolve(request.length);
    },
    write(bytes) {
      done.push(`write ${new TextDecoder().decode(bytes)}`);
      return Promise.resolve(bytes.length);
    },
    closeWrite: () => Promise.reject(new Error("Nothing is left to be read")),
    close: () => done.push("close"),
  };
  await server.serve(duplex, nobody);
  await server.stop(0);
  const head = "HTTP/1.1 200 \r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
  assertEquals(done, ["read", `write ${head}{}`, "close"]);
});
