/**
 * What RFC 9113 asks of a server, rule by rule: frames that a client sends behind a
 * correct preface, and what has to come back.
 *
 * @module
 */

import { assert, assertEquals } from "../../../tests/assert.ts";
import { ErrorCode, frame, FrameType, preface, settingsFrame } from "./frames.ts";
import { encode, type Field } from "./hpack.ts";
import { data, headers, requestFields, TestServer } from "./testing.ts";

const { data: DATA, headers: HEADERS, priority: PRIORITY, resetStream: RST, settings: SETTINGS } =
  FrameType;
const { pushPromise: PUSH, ping: PING, goAway: GOAWAY, windowUpdate: WINDOW } = FrameType;
const CONTINUATION = FrameType.continuation;

const bytes = (...values: number[]) => Uint8Array.from(values);
const zeros = (length: number) => new Uint8Array(length);
const word = (value: number) =>
  bytes(value >>> 24, value >>> 16 & 255, value >>> 8 & 255, value & 255);
const setting = (id: number, value: number) => settingsFrame([[id, value]]);
const reset = (stream: number) => frame(RST, 0, stream, word(8));
const window = (stream: number, by: number) => frame(WINDOW, 0, stream, word(by));
const block = encode(requestFields);
const fields = (...more: Field[]) => headers(1, 5, [...requestFields, ...more]);
const without = (name: string) => headers(1, 5, requestFields.filter(([own]) => own !== name));
const replaced = (name: string, value: string) =>
  headers(1, 5, requestFields.map(([own, old]) => [own, own === name ? value : old]));

/** `fine`: the connection goes on. The others: what ends the stream, or the connection. */
type Outcome = "fine" | `status ${number}` | `reset ${Code}` | `goaway ${Code}`;
type Code = keyof typeof ErrorCode;

interface Case {
  section: string;
  what: string;
  frames: Uint8Array[];
  outcome: Outcome;
}

const cases: Case[] = [];
const rule = (section: string, what: string, outcome: Outcome, ...frames: Uint8Array[]) =>
  cases.push({ section, what, frames, outcome });

rule(
  "4.1",
  "ignores the reserved bit and unknown flags of a PING",
  "fine",
  frame(PING, 0x16, 0x80000000, zeros(8)),
);
rule("4.1", "ignores a frame of an unknown type", "fine", frame(0x16, 0, 0, zeros(8)));
rule("4.1", "ignores an unknown frame of an idle stream", "fine", frame(0x16, 0xff, 7, zeros(8)));
rule(
  "4.2",
  "takes DATA of the size it allows",
  "status 200",
  headers(1, 4),
  data(1, zeros(65_536), 1),
);
rule(
  "4.2",
  "refuses a frame larger than it allows",
  "goaway frameSize",
  headers(1, 4),
  data(1, zeros(65_537)),
);
rule(
  "4.3",
  "refuses a header block that is coded wrongly",
  "goaway compression",
  frame(HEADERS, 5, 1, bytes(0xff, 0xff, 0xff, 0xff, 0xff, 0xff)),
);
rule(
  "4.3",
  "refuses another frame inside a header block",
  "goaway protocol",
  headers(1, 1),
  frame(PRIORITY, 0, 1, bytes(0, 0, 0, 0, 1)),
);
rule(
  "4.3",
  "refuses another stream's frame inside a header block",
  "goaway protocol",
  headers(1, 1),
  headers(3),
);
rule(
  "4.3",
  "refuses an unknown frame inside a header block",
  "goaway protocol",
  headers(1, 1),
  frame(0x16, 0, 1, zeros(4)),
);

rule("5.1", "refuses DATA of an idle stream", "goaway protocol", data(1, "x", 1));
rule("5.1", "refuses RST_STREAM of an idle stream", "goaway protocol", reset(1));
rule("5.1", "refuses WINDOW_UPDATE of an idle stream", "goaway protocol", window(1, 100));
rule(
  "5.1",
  "refuses CONTINUATION of an idle stream",
  "goaway protocol",
  frame(CONTINUATION, 4, 1, block),
);
rule(
  "5.1",
  "refuses DATA behind the end of the request",
  "reset streamClosed",
  headers(1, 5, [...requestFields.slice(0, 2), [":path", "/never"]]),
  data(1, "x", 1),
);
rule(
  "5.1",
  "refuses HEADERS behind the end of the request",
  "reset streamClosed",
  headers(1, 5, [...requestFields.slice(0, 2), [":path", "/never"]]),
  headers(1),
);
rule(
  "5.1",
  "refuses DATA behind a reset of the client",
  "goaway streamClosed",
  headers(1, 4),
  reset(1),
  data(1, "x", 1),
);
rule(
  "5.1",
  "refuses HEADERS behind a reset of the client",
  "goaway streamClosed",
  headers(1, 4),
  reset(1),
  headers(1),
);
rule("5.1", "takes WINDOW_UPDATE behind the end", "fine", headers(1), window(1, 1));
rule("5.1", "takes RST_STREAM behind the end", "fine", headers(1), reset(1));
rule(
  "5.1",
  "takes PRIORITY of an idle stream",
  "fine",
  frame(PRIORITY, 0, 9, bytes(0, 0, 0, 1, 1)),
);
rule("5.1.1", "refuses an even stream", "goaway protocol", headers(2));
rule(
  "5.1.1",
  "refuses a stream below one that was opened",
  "goaway protocol",
  headers(5),
  headers(3),
);
rule(
  "5.1.2",
  "refuses calls past the limit and goes on",
  "reset refusedStream",
  ...Array.from(
    { length: 9 },
    (_, index) => headers(index * 2 + 1, 5, [...requestFields.slice(0, 2), [":path", "/never"]]),
  ),
);
rule(
  "5.3.1",
  "refuses HEADERS that depend on themselves",
  "goaway protocol",
  frame(HEADERS, 0x25, 1, bytes(0, 0, 0, 1, 16, ...block)),
);
rule(
  "5.3.1",
  "refuses PRIORITY that depends on itself",
  "goaway protocol",
  frame(PRIORITY, 0, 3, bytes(0, 0, 0, 3, 16)),
);
rule("5.5", "ignores unknown SETTINGS", "fine", setting(0x99, 1));

rule("6.1", "refuses DATA of stream 0", "goaway protocol", data(0, "x"));
rule(
  "6.1",
  "refuses more padding than payload",
  "goaway protocol",
  headers(1, 4),
  frame(DATA, 9, 1, bytes(6, 1, 2, 3)),
);
rule("6.1", "takes padding", "status 200", headers(1, 4), frame(DATA, 9, 1, bytes(2, 65, 0, 0)));
rule(
  "6.1",
  "refuses a padded frame without a length",
  "goaway protocol",
  headers(1, 4),
  frame(DATA, 9, 1, zeros(0)),
);
rule("6.2", "refuses HEADERS of stream 0", "goaway protocol", headers(0));
rule(
  "6.2",
  "refuses HEADERS with more padding than payload",
  "goaway protocol",
  frame(HEADERS, 0x0d, 1, bytes(200, ...block)),
);
rule(
  "6.2",
  "takes HEADERS with padding and priority",
  "status 200",
  frame(HEADERS, 0x2d, 1, bytes(1, 0, 0, 0, 0, 16, ...block, 0)),
);
rule(
  "6.2",
  "refuses HEADERS too short for their priority",
  "goaway frameSize",
  frame(HEADERS, 0x25, 1, zeros(3)),
);
rule(
  "6.3",
  "refuses PRIORITY of stream 0",
  "goaway protocol",
  frame(PRIORITY, 0, 0, bytes(0, 0, 0, 1, 1)),
);
rule(
  "6.3",
  "refuses PRIORITY of another length",
  "goaway frameSize",
  frame(PRIORITY, 0, 1, zeros(4)),
);
rule("6.4", "refuses RST_STREAM of stream 0", "goaway protocol", reset(0));
rule(
  "6.4",
  "refuses RST_STREAM of another length",
  "goaway frameSize",
  headers(1, 4),
  frame(RST, 0, 1, zeros(3)),
);
rule("6.5", "refuses SETTINGS of a stream", "goaway protocol", frame(SETTINGS, 0, 1, zeros(0)));
rule(
  "6.5",
  "refuses an acknowledgement with content",
  "goaway frameSize",
  frame(SETTINGS, 1, 0, zeros(6)),
);
rule(
  "6.5",
  "refuses SETTINGS of another length",
  "goaway frameSize",
  frame(SETTINGS, 0, 0, zeros(5)),
);
rule("6.5.2", "refuses ENABLE_PUSH of 2", "goaway protocol", setting(2, 2));
rule(
  "6.5.2",
  "refuses INITIAL_WINDOW_SIZE past the largest",
  "goaway flowControl",
  setting(4, 0x80000000),
);
rule("6.5.2", "refuses MAX_FRAME_SIZE below the smallest", "goaway protocol", setting(5, 16_383));
rule("6.5.2", "refuses MAX_FRAME_SIZE past the largest", "goaway protocol", setting(5, 16_777_216));
rule(
  "6.6",
  "refuses PUSH_PROMISE",
  "goaway protocol",
  frame(PUSH, 4, 1, bytes(0, 0, 0, 2, ...block)),
);
rule(
  "6.7",
  "does not answer an acknowledgement",
  "fine",
  frame(PING, 1, 0, bytes(9, 9, 9, 9, 9, 9, 9, 9)),
);
rule("6.7", "refuses PING of a stream", "goaway protocol", frame(PING, 0, 1, zeros(8)));
rule("6.7", "refuses PING of another length", "goaway frameSize", frame(PING, 0, 0, zeros(6)));
rule("6.8", "refuses GOAWAY of a stream", "goaway protocol", frame(GOAWAY, 0, 1, zeros(8)));
rule("6.8", "refuses a short GOAWAY", "goaway frameSize", frame(GOAWAY, 0, 0, zeros(7)));
rule("6.9", "refuses WINDOW_UPDATE by 0", "goaway protocol", window(0, 0));
rule(
  "6.9",
  "refuses WINDOW_UPDATE of a stream by 0",
  "reset protocol",
  headers(1, 4),
  window(1, 0),
);
rule(
  "6.9",
  "refuses WINDOW_UPDATE of another length",
  "goaway frameSize",
  frame(WINDOW, 0, 0, zeros(3)),
);
rule("6.9.1", "refuses a window past the largest", "goaway flowControl", window(0, 0x7fffffff));
rule(
  "6.9.1",
  "refuses a stream's window past the largest",
  "reset flowControl",
  headers(1, 4),
  window(1, 0x7fffffff),
);
rule(
  "6.9.2",
  "refuses a window that SETTINGS make too large",
  "goaway flowControl",
  headers(1, 4),
  window(1, 1000),
  setting(4, 0x7fffffff),
);
rule(
  "6.10",
  "refuses CONTINUATION of nothing",
  "goaway protocol",
  headers(1),
  frame(CONTINUATION, 4, 1, block),
);
rule(
  "6.10",
  "takes a block in several frames",
  "status 200",
  frame(HEADERS, 1, 1, block.slice(0, 3)),
  frame(CONTINUATION, 0, 1, block.slice(3, 5)),
  frame(CONTINUATION, 4, 1, block.slice(5)),
);
rule(
  "6.10",
  "refuses CONTINUATION of stream 0",
  "goaway protocol",
  headers(1, 1),
  frame(CONTINUATION, 4, 0, block),
);
rule(
  "6.10",
  "refuses CONTINUATION of another stream",
  "goaway protocol",
  headers(1, 1),
  frame(CONTINUATION, 4, 3, block),
);
rule(
  "6.10",
  "refuses an endless block",
  "goaway enhanceYourCalm",
  headers(1, 1),
  ...Array.from({ length: 6 }, () => frame(CONTINUATION, 0, 1, zeros(16_000))),
);

rule(
  "8.1",
  "refuses HEADERS inside a body",
  "reset protocol",
  headers(1, 4),
  headers(1, 4, [["x", "y"]]),
);
rule(
  "8.1",
  "takes trailers",
  "status 200",
  headers(1, 4),
  data(1, "x"),
  headers(1, 5, [["x", "y"]]),
);
rule(
  "8.1",
  "refuses a pseudo-header in a trailer",
  "reset protocol",
  headers(1, 4),
  headers(1, 5, [[":method", "GET"]]),
);
rule(
  "8.1.1",
  "refuses a body longer than its content-length",
  "reset protocol",
  headers(1, 4, [...requestFields, ["content-length", "1"]]),
  data(1, "two"),
);
rule(
  "8.1.1",
  "refuses a body shorter than its content-length",
  "reset protocol",
  headers(1, 4, [...requestFields, ["content-length", "4"]]),
  data(1, "two", 1),
);
rule(
  "8.1.1",
  "refuses no body where content-length says one",
  "reset protocol",
  fields(["content-length", "4"]),
);
rule(
  "8.1.1",
  "refuses a content-length that is no number",
  "reset protocol",
  fields(["content-length", "-1"]),
);
rule(
  "8.1.1",
  "refuses two content-lengths",
  "reset protocol",
  fields(["content-length", "0"], ["content-length", "0"]),
);
rule("8.2", "refuses names in upper case", "reset protocol", fields(["X-Upper", "1"]));
rule("8.2.1", "refuses a name with a space", "reset protocol", fields(["x y", "1"]));
rule("8.2.1", "refuses an empty name", "reset protocol", fields(["", "1"]));
rule("8.2.1", "refuses a value with a line feed", "reset protocol", fields(["x", "a\nb"]));
rule("8.2.1", "refuses a value with a NUL", "reset protocol", fields(["x", "a\0b"]));
rule("8.2.1", "refuses a value with a space in front", "reset protocol", fields(["x", " a"]));
rule("8.2.2", "refuses connection", "reset protocol", fields(["connection", "keep-alive"]));
rule(
  "8.2.2",
  "refuses transfer-encoding",
  "reset protocol",
  fields(["transfer-encoding", "chunked"]),
);
rule("8.2.2", "refuses te but for trailers", "reset protocol", fields(["te", "gzip"]));
rule("8.2.2", "takes te of trailers", "status 200", fields(["te", "trailers"]));
rule(
  "8.3",
  "refuses unknown pseudo-headers",
  "reset protocol",
  headers(1, 5, [[":test", "ok"], ...requestFields]),
);
rule(
  "8.3",
  "refuses those of answers",
  "reset protocol",
  headers(1, 5, [[":status", "200"], ...requestFields]),
);
rule(
  "8.3",
  "refuses pseudo-headers behind others",
  "reset protocol",
  headers(1, 5, [["x", "y"], ...requestFields]),
);
rule("8.3.1", "refuses no method", "reset protocol", without(":method"));
rule("8.3.1", "refuses no scheme", "reset protocol", without(":scheme"));
rule("8.3.1", "refuses no path", "reset protocol", without(":path"));
rule("8.3.1", "takes no authority", "status 200", without(":authority"));
rule(
  "8.3.1",
  "refuses a host that is not the authority",
  "reset protocol",
  headers(1, 5, [...requestFields, ["host", "other"]]),
);
rule("8.3.1", "refuses an empty path", "reset protocol", replaced(":path", ""));
rule("8.3.1", "refuses a path that is none", "reset protocol", replaced(":path", "http://x/"));
rule(
  "8.3.1",
  "refuses two methods",
  "reset protocol",
  headers(1, 5, [[":method", "GET"], ...requestFields]),
);
rule(
  "8.3.1",
  "refuses two paths",
  "reset protocol",
  headers(1, 5, [[":path", "/"], ...requestFields]),
);
rule(
  "8.5",
  "refuses CONNECT",
  "reset protocol",
  headers(1, 5, [[":method", "CONNECT"], [":authority", "x"]]),
);

const names = Object.entries(ErrorCode);
const nameOf = (code: number | undefined) => names.find(([, own]) => own === code)?.[0];

for (const { section, what, frames, outcome } of cases) {
  Deno.test(`RFC 9113, ${section}: the server ${what}`, async () => {
    await using server = new TestServer({ streams: 8 });
    using client = await server.client();
    const marker = bytes(1, 2, 3, 4, 5, 6, 7, 8);
    // Behind the mistake comes a PING: on a connection that goes on it is answered.
    await client.send(...frames, frame(PING, 0, 0, marker)).catch(gone);
    const wanted = outcome.split(" ")[0];
    const found = await client.find(({ type, flags, payload, code }) =>
      type === GOAWAY || (type === RST && code !== 0 && wanted !== "status") ||
      (type === HEADERS && wanted === "status") ||
      (type === PING && flags === 1 && wanted === "fine" && payload[0] === 1)
    );
    assert(found, "the connection ended without a word");
    const seen = found.type === GOAWAY
      ? `goaway ${nameOf(found.code)}`
      : found.type === RST
      ? `reset ${nameOf(found.code)}`
      : found.type === PING
      ? "fine"
      : `status ${found.fields?.[":status"]}`;
    assertEquals(seen, outcome);
    if (wanted !== "goaway") {
      await client.send(frame(PING, 0, 0, bytes(7, 7, 7, 7, 7, 7, 7, 7)));
      assert(
        await client.find(({ type, flags, payload }) =>
          type === PING && flags === 1 && payload[0] === 7
        ),
      );
    }
  });
}

Deno.test(`RFC 9113: ${cases.length} rules of sections 4 to 8 have a test`, () => {
  assert(cases.length >= 90, `${cases.length}`);
});

Deno.test("RFC 9113, 3.4: a connection whose first frame is no SETTINGS ends", async () => {
  await using server = new TestServer();
  using client = await server.client();
  using other = await server.client();
  await client.send(headers(1));
  const raw = await server.connect();
  await raw.write(preface);
  await raw.write(headers(1));
  let last = -1;
  const buffer = new Uint8Array(1024);
  for (let count; (count = await raw.read(buffer)) !== null;) last = buffer[count - 1];
  assert(last >= 0, "GOAWAY was to come");
  raw.close();
  await other.send(frame(PING, 0, 0, zeros(8)));
  assert(await other.find(({ type }) => type === PING));
});

function gone(error: Error): void {
  if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
}
