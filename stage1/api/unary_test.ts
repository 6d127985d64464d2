import { gunzipSync, gzipSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { HandlerContext, Interceptor } from "@connectrpc/connect";
import { KurmaError } from "../../ffi/errors.ts";
import { assertEquals } from "../../tests/assert.ts";
import { apiHandler } from "./handler.ts";
import { ClientGone, piecesOf, type Request } from "./http2/exchange.ts";
import {
  Containers,
  KillContainerRequestSchema,
  KillContainerResponseSchema,
} from "./kurma.gen.ts";

const path = "/kurma.v1.Containers/Kill";
const peer = { kind: "unix", pid: 1, uid: 0, gid: 0 } as const;

/** What a call is answered by a service whose `kill` does `work`. */
async function answered(
  body: string | Uint8Array,
  { header = {}, work = () => {}, interceptors = [], ...more }: {
    header?: Record<string, string>;
    work?: (container: string, context: HandlerContext) => unknown;
    interceptors?: Interceptor[];
    method?: string;
    signal?: AbortSignal;
  } = {},
) {
  const told: string[] = [];
  const handler = apiHandler({
    services: (router) =>
      void router.service(Containers, {
        async kill({ container }, context) {
          await work(container, context);
          return {};
        },
      }),
    onAudit: ({ outcome, subject }) => told.push(`${subject}: ${outcome}`),
    onCall: () => {},
    onBug: (error) => told.push(`bug: ${error}`),
    maxMessage: 1_000,
    interceptors,
  });
  const bytes = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const controller = new AbortController();
  const request: Request = {
    ...{ httpVersion: "1.1", method: "POST", url: `http://kurma${path}`, path, peer },
    signal: controller.signal,
    cancel: (reason) => controller.abort(reason),
    ...more,
    header: new Headers({ "content-type": "application/json", ...header }),
    // In two pieces.
    body: ReadableStream.from([bytes.subarray(0, 3), bytes.subarray(3)]),
  };
  const response = await handler(request);
  const parts: Uint8Array[] = [];
  for await (const part of piecesOf(response.body ?? new Uint8Array())) parts.push(part);
  const all = new Uint8Array(parts.flatMap((part) => [...part]));
  await new Promise((resolve) => setTimeout(resolve)); // What is told comes behind the answer.
  const { status, header: answer = new Headers() } = response;
  return { status, answer, bytes: all, text: new TextDecoder().decode(all), told };
}

const asked = '{"container":"web"}';

Deno.test("a unary call is answered as JSON, or binary as it was asked", async () => {
  const seen: string[] = [];
  const work = (container: string) => seen.push(container);
  const json = await answered(asked, {
    work,
    header: { "content-type": "application/json; charset=utf-8" },
  });
  assertEquals([json.status, json.text, json.told], [200, "{}", ["web: ok"]]);
  assertEquals([...json.answer], [["content-length", "2"], ["content-type", "application/json"]]);
  const message = toBinary(
    KillContainerRequestSchema,
    create(KillContainerRequestSchema, { container: "db" }),
  );
  const binary = await answered(message, { work, header: { "content-type": "application/proto" } });
  assertEquals([binary.status, binary.answer.get("content-type")], [200, "application/proto"]);
  fromBinary(KillContainerResponseSchema, binary.bytes);
  assertEquals(seen, ["web", "db"]);
});

Deno.test("what is wrong with a call has the protocol's status and words", async () => {
  const large = JSON.stringify({ container: "x".repeat(2_000) });
  const cases: [name: string, Parameters<typeof answered>, status: number, code: string][] = [
    ["no JSON", ["{"], 400, "invalid_argument"],
    ["an unknown field", ['{"containr":"web"}'], 400, "invalid_argument"],
    ["too large", [large], 429, "resource_exhausted"],
    [
      "too large, as it says",
      [asked, { header: { "content-length": "2000" } }],
      429,
      "resource_exhausted",
    ],
    [
      "too large once unpacked",
      [gzipSync(large), { header: { "content-encoding": "gzip" } }],
      429,
      "resource_exhausted",
    ],
    [
      "packed wrongly",
      [asked, { header: { "content-encoding": "gzip" } }],
      400,
      "invalid_argument",
    ],
    ["packed unknown", [asked, { header: { "content-encoding": "zstd" } }], 501, "unimplemented"],
    [
      "no time limit",
      [asked, { header: { "connect-timeout-ms": "soon" } }],
      400,
      "invalid_argument",
    ],
    [
      "a refusal",
      [asked, {
        work() {
          throw new KurmaError("missing", "Cannot find it", { fix: "Look again" });
        },
      }],
      404,
      "not_found",
    ],
    [
      "a time limit",
      [asked, {
        header: { "connect-timeout-ms": "20" },
        work: (_, { signal }) =>
          new Promise((resolve) => signal.addEventListener("abort", resolve)),
      }],
      504,
      "deadline_exceeded",
    ],
    [
      "a client that goes",
      [asked, {
        signal: AbortSignal.abort(new ClientGone()),
        work: () => new Promise(() => {}),
      }],
      499,
      "canceled",
    ],
  ];
  for (const [name, call, status, code] of cases) {
    const { text, ...rest } = await answered(...call);
    assertEquals([rest.status, JSON.parse(text).code], [status, code], name);
    assertEquals(rest.answer.get("content-type"), "application/json", name);
  }
  const bug = await answered(asked, {
    work() {
      throw new TypeError("undefined is no function");
    },
  });
  assertEquals([bug.status, bug.told], [500, [
    "bug: TypeError: undefined is no function",
    "web: internal",
  ]]);
});

Deno.test("what is no unary call by POST is left to who speaks that", async () => {
  assertEquals((await answered(asked, { method: "GET" })).status, 405);
  assertEquals((await answered(asked, { header: { "content-type": "text/plain" } })).status, 415);
});

Deno.test("a large answer is packed for who takes that", async () => {
  const value = "x".repeat(20_000);
  const large: Interceptor = (next) => async (request) => {
    const response = await next(request);
    response.header.set("x-one", "1");
    response.trailer.set("x-two", "2");
    if (!response.stream) {
      Object.assign(response.message, {
        $unknown: [{ no: 99, wireType: 2, data: new TextEncoder().encode(value) }],
      });
    }
    return response;
  };
  const message = toBinary(KillContainerRequestSchema, create(KillContainerRequestSchema));
  const header = { "content-type": "application/proto", "accept-encoding": "br, gzip" };
  const { answer, bytes } = await answered(message, { interceptors: [large], header });
  assertEquals(
    ["content-encoding", "x-one", "trailer-x-two"].map((name) => answer.get(name)),
    ["gzip", "1", "2"],
  );
  assertEquals(answer.get("content-length"), String(bytes.length));
  assertEquals(gunzipSync(bytes).length > value.length, true);
});

Deno.test("interceptors are passed from the first to the last, and know the time that is left", async () => {
  const order: string[] = [];
  const named = (name: string): Interceptor => (next) => async (request) => {
    order.push(name);
    const response = await next(request);
    order.push(`${name} again`);
    return response;
  };
  await answered(asked, {
    interceptors: [named("one"), named("two")],
    header: { "connect-timeout-ms": "60000" },
    work(container, { timeoutMs }) {
      const left = timeoutMs() ?? 0;
      order.push(`${container} ${Number.isInteger(left) && left > 50_000 && left <= 60_000}`);
    },
  });
  assertEquals(order, ["one", "two", "web true", "two again", "one again"]);
});
