/**
 * Clients that mean no good, or that are simply gone: kurmad goes on, and costs afterwards
 * what it cost before.
 *
 * @module
 */

import { create, toBinary } from "@bufbuild/protobuf";
import { FrameType, preface, settingsFrame } from "../../stage1/api/http2/frames.ts";
import { data, headers, TestClient } from "../../stage1/api/http2/testing.ts";
import {
  AttachRequestSchema,
  CopyInRequestSchema,
  ExecRequestSchema,
  ImportImageRequestSchema,
} from "../../stage1/api/kurma.gen.ts";
import { curl } from "../api/served.ts";
import { assert, assertEquals } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { count } from "../harness.ts";
import { pause, until } from "../stage2/served.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";

const mebibyte = 1024 * 1024;

/** What it costs. */
function cost({ pid }: Kurmad): { memory: number; descriptors: number } {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return {
    memory: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024,
    descriptors: [...Deno.readDirSync(`/proc/${pid}/fd`)].length,
  };
}

/**
 * Does it until kurmad's heap has found its size, and once more so that it counts.
 * Afterwards no descriptor more is open, and memory is what it was. The heap is let grow by
 * 40 MiB, since it is not collected before it has to be; what is kept of each of many is more.
 *
 * @returns What came of that, for people.
 */
async function flat(kurmad: Kurmad, work: () => Promise<unknown>): Promise<string> {
  const settled = async (descriptors: number) => {
    await until("descriptors to be closed", async () => {
      await kurmad.api.call("System", "Ping", {});
      return cost(kurmad).descriptors <= descriptors || undefined;
    });
    return cost(kurmad);
  };
  const idle = cost(kurmad);
  for (let warmUps = count(2, 1); warmUps > 0; warmUps--) await work();
  const before = await settled(idle.descriptors + 2);
  await work();
  const after = await settled(before.descriptors + 2);
  const grown = (after.memory - before.memory) / mebibyte;
  const figures = `${grown.toFixed(1)} MiB and ` +
    `${after.descriptors - before.descriptors} descriptors more`;
  assert(grown <= 40, figures);
  return figures;
}

async function connect(kurmad: Kurmad): Promise<TestClient> {
  const path = `${kurmad.dir}/kurma.sock`;
  return new TestClient(await Deno.connect({ transport: "unix", path }));
}

/** The beginning of a call. */
function request(stream: number, method: string): Uint8Array {
  return headers(stream, 4, [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", `/kurma.v1.${method}`],
    ["content-type", "application/grpc"],
  ]);
}

/** A message as gRPC frames it. */
function enveloped(message: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(5 + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, 5);
  return bytes;
}

/** Makes and starts a container. */
async function run({ api, image }: Kurmad, name: string, command: string[]): Promise<void> {
  const settings = { command, openInput: true };
  await api.call("Containers", "Create", { name, image, start: true, settings });
}

const random = new Mutator(20_261_127);

/** Connections that send bytes at random, every other one behind a right beginning. */
async function garbage(kurmad: Kurmad, times: number): Promise<void> {
  for (let n = 0; n < times; n++) {
    using client = await connect(kurmad);
    const bytes = new Uint8Array(1 + random.below(2_000));
    for (const at of bytes.keys()) bytes[at] = random.below(256);
    const parts = n % 2 ? [preface, settingsFrame([]), bytes] : [bytes];
    // kurmad may have closed it already.
    await client.send(...parts).catch((error) => assert(error instanceof Deno.errors.BrokenPipe));
    // It comes to all of them: who connects gets no place in a queue that is full.
    if (n % 20 === 0) await kurmad.api.call("System", "Ping", {});
  }
}

kurmadTest("200 connections that say nothing, and bytes that mean nothing", async (kurmad) => {
  const path = `${kurmad.dir}/kurma.sock`;
  const mute = await Promise.all(
    Array.from({ length: 200 }, () => Deno.connect({ transport: "unix", path })),
  );
  await run(kurmad, "web", ["sleep", "1000"]);
  assertEquals((await kurmad.list()).length, 1);
  for (const connection of mute) connection.close();
  const times = count(500, 10_000);
  const figures = await flat(kurmad, () => garbage(kurmad, times));
  console.log(`      ${times} senseless connections: ${figures}`);
});

kurmadTest("messages that are too large, too deep or grow are refused", async (kurmad) => {
  const { dir } = kurmad;
  const socket = `${dir}/kurma.sock`;
  const sent = async (body: string | Uint8Array | Blob, more: readonly string[] = []) => {
    await Deno.writeFile(`${dir}/body`, new Blob([body as BlobPart]).stream());
    const { status } = await curl(socket, "/kurma.v1.Containers/Create", undefined, [
      ...["-H", "content-type: application/json", "--data-binary", `@${dir}/body`],
      ...more,
    ]);
    return status;
  };
  const gzip = ["-H", "content-encoding: gzip"];
  const zeros = new Blob([new Uint8Array(100 * mebibyte)]).stream()
    .pipeThrough(new CompressionStream("gzip"));
  const bomb = await new Response(zeros).bytes();
  const tricks = async () => [
    await sent(`{"name":"${"x".repeat(5 * mebibyte)}"}`),
    await sent(bomb, gzip),
    await sent(`{"settings":${'{"x":'.repeat(100_000)}1${"}".repeat(100_000)}}`),
    await sent(`{"settings":{"command":[${"[".repeat(100_000)}${"]".repeat(100_000)}]}}`),
    await sent(`{"labels":{${Array.from({ length: 99_999 }, (_, n) => `"k${n}":"v"`)}}}`),
    await sent(`{"settings":{"env":[${'"A=b",'.repeat(500_000)}"A=b"]}}`),
  ];
  assertEquals(await tricks(), [429, 429, 400, 400, 400, 400]);
  // A message of which only the length comes takes no memory for what it claims to be.
  using liar = await connect(kurmad);
  const claim = Uint8Array.of(0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3);
  await liar.send(preface, settingsFrame([]), request(1, "Containers/Create"), data(1, claim));
  const told = await liar.find(({ fields }) => fields?.["grpc-status"] !== undefined);
  assertEquals(told?.fields?.["grpc-status"], "8");
  assertEquals(await kurmad.list(), []);
  console.log(`      bombs: ${await flat(kurmad, tricks)}`);
});

/** Attaches that say no more, 50 on a connection; every other connection is left in mid-frame. */
async function halfOpen(kurmad: Kurmad, attaches: number): Promise<void> {
  const start = { case: "start" as const, value: { container: "web", input: true } };
  const message = enveloped(
    toBinary(AttachRequestSchema, create(AttachRequestSchema, { message: start })),
  );
  for (let opened = 0; opened < attaches; opened += 50) {
    using client = await connect(kurmad);
    const frames = [preface, settingsFrame([])];
    for (let stream = 1; stream < 100; stream += 2) {
      frames.push(request(stream, "Containers/Attach"), data(stream, message));
    }
    await client.send(...frames);
    for (let answers = 0; answers < 50; answers++) {
      assert(await client.find(({ type }) => type === FrameType.data));
    }
    if (opened % 100) await client.send(data(1, message).subarray(0, 7));
  }
}

kurmadTest("half-open attaches leave nothing", async (kurmad) => {
  await run(kurmad, "web", ["cat"]);
  const attaches = count(1_500, 10_000);
  const figures = await flat(kurmad, () => halfOpen(kurmad, attaches));
  console.log(`      ${attaches} half-open attaches: ${figures}`);
});

kurmadTest(
  "a client that does not read holds up what it runs, and nothing else",
  async (kurmad) => {
    await run(kurmad, "web", ["sleep", "1000"]);
    const start = {
      case: "start" as const,
      value: { container: "web", command: ["cat", "/dev/zero"] },
    };
    const message = enveloped(
      toBinary(ExecRequestSchema, create(ExecRequestSchema, { message: start })),
    );
    const writer = async () => {
      const { processes = [] } = await kurmad.api.call("Containers", "Top", { container: "web" });
      return processes.find(({ command }) => command?.[1] === "/dev/zero")?.pid;
    };
    const exec = async () => {
      const client = await connect(kurmad);
      await client.send(
        ...[preface, settingsFrame([]), request(1, "Containers/Exec"), data(1, message)],
      );
      const pid = await until("the writer", writer);
      const written = () => /^wchar: (\d+)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/io`))?.[1];
      // It writes no more: nobody takes it.
      await until("the writer to wait", async () => {
        const before = written();
        await pause(200);
        return Number(before) > 0 && before === written() || undefined;
      });
      return { client, bytes: Number(written()) };
    };
    const gone = () => until("the end", async () => await writer() === undefined || undefined);
    let bytes = 0;
    const many = async () => {
      const before = cost(kurmad).memory;
      const all = await Promise.all(Array.from({ length: 10 }, exec));
      const grown = cost(kurmad).memory - before;
      assert(grown < 30 * mebibyte, `${grown} bytes more are in use`);
      for (const { client } of all) client.close();
      bytes = all.reduce((sum, each) => sum + each.bytes, 0);
      // Nobody hears them any more, so they are ended.
      await gone();
    };
    const figures = await flat(kurmad, many);
    console.log(
      `      10 that write without end got rid of ${(bytes / mebibyte).toFixed(1)} MiB; ` +
        `afterwards ${figures}`,
    );
  },
);

kurmadTest("what a client runs ends with the client, however quiet it is", async (kurmad) => {
  await run(kurmad, "web", ["sleep", "1000"]);
  const start = { case: "start" as const, value: { container: "web", command: ["sleep", "99"] } };
  const message = enveloped(
    toBinary(ExecRequestSchema, create(ExecRequestSchema, { message: start })),
  );
  const client = await connect(kurmad);
  await client.send(
    ...[preface, settingsFrame([]), request(1, "Containers/Exec"), data(1, message)],
  );
  const running = async () => {
    const { processes = [] } = await kurmad.api.call("Containers", "Top", { container: "web" });
    return processes.some(({ command }) => command?.[1] === "99");
  };
  await until("the process", async () => await running() || undefined);
  client.close();
  await until("its end", async () => !await running() || undefined);
});

kurmadTest("a client that vanishes in the middle of an upload leaves nothing", async (kurmad) => {
  await run(kurmad, "web", ["sleep", "1000"]);
  const copyIn = (message: Parameters<typeof create<typeof CopyInRequestSchema>>[1]) =>
    enveloped(toBinary(CopyInRequestSchema, create(CopyInRequestSchema, message)));
  const imported = (message: Parameters<typeof create<typeof ImportImageRequestSchema>>[1]) =>
    enveloped(toBinary(ImportImageRequestSchema, create(ImportImageRequestSchema, message)));
  // The head of a file of 1 MiB, of which a part comes.
  const head = new Uint8Array(512 + 10_000).fill(120);
  head.fill(0, 0, 512);
  const put = (at: number, text: string) => head.set(new TextEncoder().encode(text), at);
  put(0, "half");
  put(100, "0000644\0" + "0000000\0" + "0000000\0" + "00004000000\0" + "00000000000\0");
  put(148, "        ");
  put(156, "0");
  put(257, "ustar\0" + "00");
  const sum = head.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  const vanish = async () => {
    for (let n = 0; n < 20; n++) {
      using client = await connect(kurmad);
      const chunk = { message: { case: "chunk" as const, value: head } };
      const [method, ...messages] = n % 2
        ? [
          "Containers/CopyIn",
          copyIn({
            message: { case: "start", value: { container: "web", path: "/tmp" } },
          }),
          copyIn(chunk),
        ] as const
        : [
          "Images/Import",
          imported({
            message: { case: "start", value: { name: "example.com/half:1" } },
          }),
          imported(chunk),
        ] as const;
      await client.send(
        ...[preface, settingsFrame([]), request(1, method)],
        ...messages.map((message) => data(1, message)),
      );
      // All of it was read when this is answered.
      await client.send(request(3, "System/Ping"), data(3, enveloped(new Uint8Array()), 1));
      assert(await client.find(({ stream, fields }) => stream === 3 && fields !== undefined));
    }
  };
  const left = () =>
    [...Deno.readDirSync(`${kurmad.dir}/state/images/tmp`)].map(({ name }) => name);
  const figures = await flat(kurmad, vanish);
  await until("no half image", () => Promise.resolve(left().length === 0 || undefined));
  const { images = [] } = await kurmad.api.call("Images", "List", {});
  assertEquals(images.some(({ names }) => names?.includes("example.com/half:1")), false);
  console.log(`      20 cut off: ${figures}`);
});
