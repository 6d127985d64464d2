import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import { digestOf } from "./digest.ts";
import { download } from "./download.ts";
import { impatient, MemorySink, part, RawServer, TestRegistry } from "./testing.ts";
import { Transport } from "./transport.ts";
import { Hosts } from "./hosts.ts";

const file = crypto.getRandomValues(new Uint8Array(50_000));
const digest = digestOf(file);

/** A web server with one file; honest unless told otherwise. */
function serve(server: TestRegistry, etag?: string) {
  server.intercept = (request) => {
    const fresh = !request.headers.has("if-range") || request.headers.get("if-range") === etag;
    const response = part(file, fresh ? request.headers.get("range") : null);
    if (etag) response.headers.set("etag", etag);
    return response;
  };
}

Deno.test("download() brings a file and its digest", async () => {
  await using server = new TestRegistry();
  serve(server);
  using transport = new Transport(server.hosts(), impatient);
  const url = `http://${server.host}/a.aci`;
  const sink = new MemorySink();
  assertEquals(await download(transport, { url }, sink), { digest, size: file.length, url });
  assertEquals(Uint8Array.from(sink.bytes), file);
});

const resumes: Record<
  string,
  { given: object; pin?: boolean; requests: string[]; cleared: number }
> = {
  "with a digest": { given: {}, pin: true, requests: ["bytes=20000-"], cleared: 0 },
  "with the file's validator": {
    given: { validator: '"v1"' },
    requests: ["bytes=20000-"],
    cleared: 0,
  },
  "with another file's validator": {
    given: { validator: '"v0"' },
    requests: ["bytes=20000-"],
    cleared: 1,
  },
  "with neither": { given: {}, requests: [""], cleared: 1 },
};
for (const [name, { given, pin, requests, cleared }] of Object.entries(resumes)) {
  Deno.test(`download() goes on from an earlier one ${name}`, async () => {
    await using server = new TestRegistry();
    serve(server, '"v1"');
    using transport = new Transport(server.hosts(), impatient);
    const sink = new MemorySink(file.subarray(0, 20_000));
    const url = `http://${server.host}/a.aci`;
    const validators: unknown[] = [];
    const result = await download(transport, { url, ...(pin ? { digest } : {}) }, sink, {
      ...given,
      onValidator: (validator) => void validators.push(validator),
    });
    assertEquals([result.digest, sink.cleared, validators], [digest, cleared, ['"v1"']]);
    assertEquals(server.log, requests.map((range) => `GET /a.aci ${range}`.trim()));
  });
}

Deno.test("download() starts over when what it inherited is of another file", async () => {
  await using server = new TestRegistry();
  serve(server);
  using transport = new Transport(server.hosts(), impatient);
  const sink = new MemorySink(new Uint8Array(20_000));
  await download(transport, { url: `http://${server.host}/a.aci`, digest }, sink);
  assertEquals([Uint8Array.from(sink.bytes), sink.cleared], [file, 1]);
});

Deno.test("download() starts over where a server sends a part of another file", async () => {
  await using server = new TestRegistry();
  server.intercept = (request) => { // It heeds no If-Range.
    const response = part(file, request.headers.get("range"));
    response.headers.set("etag", '"v2"');
    return response;
  };
  using transport = new Transport(server.hosts(), impatient);
  const sink = new MemorySink(new Uint8Array(20_000));
  const url = `http://${server.host}/a.aci`;
  const validators: unknown[] = [];
  await download(transport, { url }, sink, {
    validator: '"v1"',
    onValidator: (validator) => void validators.push(validator),
  });
  assertEquals([Uint8Array.from(sink.bytes), sink.cleared, validators], [file, 1, ['"v2"']]);
  assertEquals(server.log, ["GET /a.aci bytes=20000-", "GET /a.aci"]);
});

Deno.test("download() takes up a connection that closes in the middle", async () => {
  let asked: string[] = [];
  await using server = new RawServer(async (connection, head) => {
    asked = [...asked, /^range: (.*)/im.exec(head)?.[1].trim() ?? "all"];
    const start = asked.length === 1 ? 0 : 10_000;
    const status = start ? `206 Partial\r\ncontent-range: bytes ${start}-49999/50000` : "200 OK";
    const headers = `HTTP/1.1 ${status}\r\netag: "v"\r\ncontent-length: ${50_000 - start}\r\n\r\n`;
    await connection.write(new TextEncoder().encode(headers));
    const end = start ? 50_000 : 10_000;
    for (let at = start; at < end;) at += await connection.write(file.subarray(at, end));
  });
  const plain = { mirrors: [], plainHttp: true, tokenHosts: [] };
  using transport = new Transport(new Hosts([[server.host, plain]]), impatient);
  const sink = new MemorySink();
  const result = await download(transport, { url: `http://${server.host}/a` }, sink);
  assertEquals([result.digest, asked], [digest, ["all", "bytes=10000-"]]);
});

Deno.test("download() refuses what is not what it should be", async () => {
  await using server = new TestRegistry();
  serve(server);
  using open = new Transport(server.hosts(), impatient);
  using strict = new Transport(new Hosts(), impatient);
  const url = `http://${server.host}/a.aci`;
  const other = digestOf(new Uint8Array());
  const cases: [() => Promise<unknown>, RegExp][] = [
    [() => download(open, { url, digest: other }, new MemorySink()), /invalid: .*its digest is/],
    [
      () => download(open, { url }, new MemorySink(), { maxBytes: 49_999 }),
      /larger than 49999 bytes/,
    ],
    [() => download(strict, { url }, new MemorySink()), /denied: .*would be asked without TLS/],
  ];
  for (const [work, message] of cases) {
    const error = await rejection(work);
    assert(error instanceof KurmaError);
    assertMatch(`${error.code}: ${error.message}`, message);
  }
  await download(strict, { url, digest }, new MemorySink()); // The digest makes up for TLS.
  server.intercept = () => undefined;
  const error = await rejection(download(open, { url }, new MemorySink()));
  assertMatch(error.message, /answered 404/);
});
