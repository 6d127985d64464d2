import { assert, assertEquals } from "../../../tests/assert.ts";
import { Body } from "./body.ts";
import type { Request } from "./exchange.ts";
import { ErrorCode, frame, FrameType, preface, Setting, windowUpdateFrame } from "./frames.ts";
import { data, headers, requestFields, type TestClient, TestServer, until } from "./testing.ts";

const to = (path: string) => [...requestFields.slice(0, 2), [":path", path] as const];
const ping = frame(FrameType.ping, 0, 0, new Uint8Array(8));
const cancel = (stream: number) =>
  frame(FrameType.resetStream, 0, stream, new Uint8Array([0, 0, 0, 8]));

async function isAlive(client: TestClient): Promise<boolean> {
  await client.send(ping);
  return await client.find(({ type, flags }) => type === FrameType.ping && flags === 1) !== null;
}

Deno.test("a call is answered with its body and trailers, on a connection that goes on", async () => {
  await using server = new TestServer();
  using client = await server.client();
  for (const stream of [1, 3]) {
    await client.send(headers(stream, 4), data(stream, "hello"), data(stream, " there", 1));
    const head = await client.find(({ type }) => type === FrameType.headers);
    assertEquals(head?.fields, { ":status": "200", "x-http": "2" });
    let text = "";
    const end = await client.find(({ type, payload }) => {
      if (type === FrameType.data) text += new TextDecoder().decode(payload);
      return type === FrameType.headers;
    });
    assertEquals([text, end?.fields, end?.flags], ["hello there", { "x-end": "1" }, 5]);
  }
});

Deno.test("a client that takes nothing stops only its own answer, and costs one window", async () => {
  await using server = new TestServer();
  using slow = await server.client();
  using other = await server.client();
  await slow.send(headers(1, 5, to("/endless")));
  let bytes = 0;
  while (bytes < 65_535) {
    const answer = await slow.next();
    if (answer?.type === FrameType.data) bytes += answer.payload.length;
  }
  assertEquals(bytes, 65_535);
  await slow.send(ping);
  const next = await slow.find(({ type }) => type !== FrameType.settings);
  assertEquals(next?.type, FrameType.ping, "past the window nothing is sent");
  assert(await isAlive(other));
  await slow.send(windowUpdateFrame(1, 1000), windowUpdateFrame(0, 10));
  for (let more = 0; more < 10;) {
    const answer = await slow.find(({ type }) => type === FrameType.data);
    more += answer!.payload.length;
    assert(more <= 10, "the smaller of both windows holds");
  }
  await slow.send(ping);
  assertEquals((await slow.next())?.type, FrameType.ping);
});

Deno.test("a window made smaller by SETTINGS goes below zero and has to come back", async () => {
  await using server = new TestServer();
  using client = await server.client([[Setting.initialWindowSize, 10]]);
  await client.send(headers(1, 5, to("/endless")));
  const first = await client.find(({ type }) => type === FrameType.data);
  assertEquals(first?.payload.length, 10);
  await client.send(frame(FrameType.settings, 0, 0, new Uint8Array([0, 4, 0, 0, 0, 5])));
  await client.send(windowUpdateFrame(1, 5));
  assert(await isAlive(client)); // The window is 0: nothing came but the answer.
  await client.send(windowUpdateFrame(1, 3));
  const second = await client.find(({ type }) => type === FrameType.data);
  assertEquals(second?.payload.length, 3);
});

Deno.test("a handler that does not read stops its sender at the window, and no other call", async () => {
  let read = () => {};
  const reading = new Promise<void>((resolve) => (read = resolve));
  await using server = new TestServer({ streamWindow: 65_535 }, async (request: Request) => {
    if (request.path === "/slow") await reading;
    let bytes = 0;
    for await (const piece of request.body) bytes += piece.length;
    return { status: 200, header: new Headers({ bytes: String(bytes) }) };
  });
  using client = await server.client();
  await client.send(headers(1, 4, to("/slow")));
  const piece = new Uint8Array(13_107);
  for (let sent = 0; sent < 65_535; sent += piece.length) await client.send(data(1, piece));
  await until("the window's bytes", () => server.server.buffered === 65_535);
  // Five times the stream's window on another call goes through meanwhile.
  await client.send(headers(3, 4, to("/quick")));
  const windows = { stream: 65_535, connection: 65_535 };
  for (let sent = 0; sent < 5 * 65_535; sent += piece.length) {
    while (Math.min(windows.stream, windows.connection) < piece.length) {
      const more = await client.find(({ type }) => type === FrameType.windowUpdate);
      const by = new DataView(more!.payload.buffer).getUint32(0);
      if (more?.stream === 3) windows.stream += by;
      if (more?.stream === 0) windows.connection += by;
    }
    windows.stream -= piece.length;
    windows.connection -= piece.length;
    await client.send(data(3, piece));
  }
  await client.send(data(3, "", 1));
  const quick = await client.find(({ type, stream }) => type === FrameType.headers && stream === 3);
  assertEquals(quick?.fields?.bytes, String(5 * 65_535));
  read();
  await client.send(data(1, "", 1));
  const slow = await client.find(({ type, stream }) => type === FrameType.headers && stream === 1);
  assertEquals([slow?.fields?.bytes, server.server.buffered], ["65535", 0]);
});

Deno.test("DATA past the window of a stream, or of the connection, is refused", async () => {
  await using server = new TestServer({ streamWindow: 65_535 });
  using client = await server.client();
  await client.send(headers(1, 4, to("/never")));
  for (let at = 0; at < 6; at++) await client.send(data(1, new Uint8Array(13_107)));
  const refused = await client.find(({ type }) => type === FrameType.resetStream);
  assertEquals(refused?.code, ErrorCode.flowControl);
  assert(await isAlive(client));
});

Deno.test("a server that holds too many bytes takes no more from anyone until some are read", async () => {
  let read = () => {};
  const reading = new Promise<void>((resolve) => (read = resolve));
  const limits = { streamWindow: 65_535, buffered: 100_000 };
  await using server = new TestServer(limits, async (request: Request) => {
    await reading;
    for await (const _ of request.body);
    return { status: 200 };
  });
  using client = await server.client();
  const piece = new Uint8Array(13_107);
  // Four streams would hold 262,140 bytes; the connection's window is twice a stream's.
  for (const stream of [1, 3]) {
    await client.send(headers(stream, 4), ...Array.from({ length: 5 }, () => data(stream, piece)));
  }
  await until("two windows", () => server.server.buffered === 131_070);
  await client.send(headers(5, 4), ...Array.from({ length: 5 }, () => data(5, piece)));
  assert(await isAlive(client).catch(() => true));
  assert(server.server.buffered <= 2 * 131_070);
  read();
});

Deno.test("a call that its client resets is cancelled, one whose client is gone as well", async () => {
  const cancelled: string[] = [];
  await using server = new TestServer({}, async (request: Request) => {
    await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
    cancelled.push(String(request.signal.reason.message));
    return { status: 204 };
  });
  using client = await server.client();
  await client.send(headers(1), cancel(1));
  await until("the first", () => cancelled.length === 1);
  await client.send(headers(3));
  assert(await isAlive(client));
  client.close();
  await until("the second", () => cancelled.length === 2);
  assertEquals(cancelled, ["The client cancelled the call", "The client is gone"]);
});

Deno.test("calls that were reset still count while they run: rapid resets start no more", async () => {
  let running = 0;
  let most = 0;
  await using server = new TestServer({ streams: 10 }, async () => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setTimeout(resolve, 200)); // Deaf to its signal.
    running--;
    return { status: 204 };
  });
  using client = await server.client();
  for (let stream = 1; stream < 400; stream += 2) {
    await client.send(headers(stream), cancel(stream));
  }
  assert(await isAlive(client));
  assertEquals(most, 10);
  await until("their end", () => running === 0);
});

const floods: Record<string, Uint8Array> = {
  "resets": new Uint8Array(), // Made anew for each stream below.
  "PING": ping,
  "SETTINGS": frame(FrameType.settings, 0, 0, new Uint8Array()),
  "PRIORITY": frame(FrameType.priority, 0, 1, new Uint8Array([0, 0, 0, 3, 1])),
  "unknown frames": frame(99, 0, 0, new Uint8Array(8)),
  "WINDOW_UPDATE": windowUpdateFrame(0, 1),
};
for (const [what, one] of Object.entries(floods)) {
  Deno.test(`a flood of ${what} ends its connection and no other`, async () => {
    await using server = new TestServer();
    using client = await server.client();
    using other = await server.client();
    const flood = async () => {
      for (let batch = 0; batch < 200; batch++) {
        const frames = Array.from({ length: 100 }, (_, index) => {
          const stream = (batch * 100 + index) * 2 + 1;
          return one.length > 0 ? [one] : [headers(stream), cancel(stream)];
        }).flat();
        await client.send(...frames);
      }
    };
    const flooding = flood().catch((error) => {
      if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
    });
    const end = await client.find(({ type }) => type === FrameType.goAway);
    assertEquals(end?.code, ErrorCode.enhanceYourCalm);
    assert(await isAlive(other));
    await flooding;
  });
}

Deno.test("a flood of empty DATA ends its connection", async () => {
  await using server = new TestServer();
  using client = await server.client();
  await client.send(headers(1, 4, to("/never")));
  const many = Array.from({ length: 10_000 }, () => data(1, ""));
  await client.send(...many).catch(() => assert(true));
  const end = await client.find(({ type }) => type === FrameType.goAway);
  assertEquals(end?.code, ErrorCode.enhanceYourCalm);
});

Deno.test("one byte a frame takes about one byte of memory", async () => {
  const read: number[] = [];
  const body = new Body((bytes) => read.push(bytes));
  for (let at = 0; at < 100_000; at++) body.push(new Uint8Array([at]));
  body.end();
  let pieces = 0;
  let bytes = 0;
  for await (const piece of body) {
    for (const value of piece) assertEquals(value, bytes++ % 256);
    pieces++;
  }
  assertEquals([bytes, pieces < 10], [100_000, true]);
});

Deno.test("a body is what was pushed, whatever the sizes and whenever it is read", async () => {
  let seed = 5;
  const random = () => (seed = (seed * 48_271) % 0x7fff_ffff);
  for (let round = 0; round < 10; round++) {
    const body = new Body(() => {});
    const sent: number[] = [];
    const got: number[] = [];
    for (let piece = 0; piece < 40; piece++) {
      const length = random() % (random() % 2 ? 10 : 20_000);
      const bytes = Uint8Array.from({ length }, () => random());
      body.push(bytes);
      sent.push(...bytes);
      if (random() % 4 === 0 && body.held > 0) got.push(...(await body.next()).value);
    }
    body.end();
    for await (const piece of body) got.push(...piece);
    assertEquals(got.length, sent.length);
    assertEquals(got.findIndex((value, at) => value !== sent[at]), -1);
  }
});

Deno.test("200 connections that say nothing stop no other, and are closed in time", async () => {
  await using server = new TestServer({ handshakeMs: 1500 });
  const mute = await Promise.all(Array.from({ length: 200 }, () => server.connect()));
  const half = await server.connect();
  await half.write(preface.subarray(0, 10));
  const noSettings = await server.connect();
  await noSettings.write(preface);
  using client = await server.client();
  assert(await isAlive(client));
  for (const connection of [...mute, half, noSettings]) {
    const buffer = new Uint8Array(100);
    while (await connection.read(buffer) !== null);
    connection.close();
  }
  assert(await isAlive(client));
  assertEquals(server.server.connections, 1);
});

Deno.test("past the most connections the one idle longest makes room, a busy one never", async () => {
  await using server = new TestServer({ connections: 3 });
  using busy = await server.client();
  await busy.send(headers(1, 5, to("/never")));
  assert(await isAlive(busy));
  using idle = await server.client();
  using later = await server.client();
  assert(await isAlive(idle) && await isAlive(later));
  using newest = await server.client();
  assert(await isAlive(newest) && await isAlive(busy) && await isAlive(later));
  assertEquals(await idle.find(({ type }) => type === FrameType.goAway), null);
});

Deno.test("header fields past the limit get status 431, and the connection goes on", async () => {
  await using server = new TestServer({ headerList: 1000 });
  using client = await server.client();
  await client.send(
    headers(1, 5, [...requestFields, ["x", "y".repeat(900)], ["z", "z".repeat(900)]]),
  );
  const answer = await client.find(({ type }) => type === FrameType.headers);
  assertEquals(answer?.fields?.[":status"], "431");
  assert(await isAlive(client));
});

Deno.test("stop() tells clients, lets calls that run end, and starts no other", async () => {
  let finish = () => {};
  const finished = new Promise<void>((resolve) => (finish = resolve));
  const server = new TestServer({}, async () => {
    await finished;
    return { status: 200 };
  });
  using client = await server.client();
  await client.send(headers(1));
  assert(await isAlive(client));
  const stopped = server.server.stop(5000);
  const goAway = await client.find(({ type }) => type === FrameType.goAway);
  assertEquals([goAway?.code, goAway?.payload[3]], [ErrorCode.none, 1]);
  await client.send(headers(3));
  finish();
  const answer = await client.find(({ type }) => type === FrameType.headers);
  assertEquals([answer?.stream, await client.find(() => false)], [1, null]);
  await stopped;
});

Deno.test("stop() cancels what does not end in time", async () => {
  const server = new TestServer();
  using client = await server.client();
  await client.send(headers(1, 5, to("/never")));
  assert(await isAlive(client));
  await server.server.stop(20);
  assertEquals(await client.find(({ type }) => type === FrameType.headers), null);
});

Deno.test("a client that falls silent during a call is asked, and dropped without an answer", async () => {
  await using server = new TestServer({ pingAfterMs: 100, pingAnswerMs: 500 });
  using client = await server.client();
  await client.send(headers(1, 5, to("/never")));
  assert(await client.find(({ type, flags }) => type === FrameType.ping && flags === 0));
  assertEquals(await client.find(() => false), null);
});

Deno.test("a bug of a handler is told, and is status 500 for the client alone", async () => {
  const server = new TestServer();
  using client = await server.client();
  await client.send(headers(1, 5, to("/bug")));
  const answer = await client.find(({ type }) => type === FrameType.headers);
  assertEquals([answer?.fields?.[":status"], String(server.bugs)], ["500", "Error: deliberate"]);
  assert(await isAlive(client));
  await server.server.stop(0);
});

Deno.test("whatever bytes come behind the preface, the server goes on", async () => {
  let seed = 7;
  const random = () => (seed = (seed * 48_271) % 0x7fff_ffff);
  await using server = new TestServer();
  let rounds = 0;
  for (; rounds < 600; rounds++) {
    const connection = await server.connect();
    const type = random() % 11;
    const wild = random() % 3 === 0;
    const bytes = Uint8Array.from({ length: random() % 300 }, () => random() >> 7);
    const framed = frame(type, random() & 0xff, random() % 4, bytes);
    const sent = random() % 2
      ? [preface, frame(FrameType.settings, 0, 0, new Uint8Array())]
      : [preface];
    for (const part of [...sent, headers(1, 4), wild ? bytes : framed]) {
      await connection.write(part).catch((error) =>
        assert(error instanceof Deno.errors.BrokenPipe)
      );
    }
    connection.close();
  }
  using client = await server.client();
  assert(await isAlive(client));
  await until("their end", () => server.server.connections === 1);
  assertEquals([server.server.buffered, rounds], [0, 600]);
});
