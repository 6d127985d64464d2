/**
 * The frames that the command line of 2015 sent, byte for byte as its protocol was: nothing
 * here is made from the .proto of today, so that a number that changes is noticed.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { frame, FrameType, preface, settingsFrame, uint32 } from "../../stage1/api/http2/frames.ts";
import { data, headers, TestClient } from "../../stage1/api/http2/testing.ts";
import { images } from "../images_fixture.ts";
import { kurmadTest } from "./daemon.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A field of bytes or text: its number, its length below 2^14, and what is in it. */
function field(number: number, value: string | Uint8Array): number[] {
  const bytes = typeof value === "string" ? encoder.encode(value) : value;
  const length = bytes.length < 128
    ? [bytes.length]
    : [bytes.length & 127 | 128, bytes.length >> 7];
  return [number << 3 | 2, ...length, ...bytes];
}

/** A message behind the five bytes that gRPC puts before it. */
function message(bytes: readonly number[]): Uint8Array {
  return Uint8Array.from([0, 0, 0, bytes.length >> 8, bytes.length & 255, ...bytes]);
}

/** The fields of a message by number, each as often as it is there. */
function fieldsOf(bytes: Uint8Array): Map<number, (Uint8Array | number)[]> {
  const fields = new Map<number, (Uint8Array | number)[]>();
  let at = 0;
  const number = () => {
    for (let value = 0, shift = 0;; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = number();
    const value = number();
    const all = fields.get(key >> 3) ?? [];
    fields.set(key >> 3, all);
    if ((key & 7) === 0) all.push(value);
    else all.push(bytes.slice(at, at += value));
  }
  return fields;
}

const textOf = (value: Uint8Array | number | undefined) => decoder.decode(value as Uint8Array);

/** The connection of a command, which made one call after the other. */
class Then implements Disposable {
  readonly #client: TestClient;
  #stream = -1;
  /** What may be sent yet: on the connection, and on the newest stream. */
  #credit = { all: 65_535, stream: 0 };
  #window = 65_535;

  constructor(client: TestClient) {
    this.#client = client;
  }

  static async connect(path: string): Promise<Then> {
    const client = new TestClient(await Deno.connect({ transport: "unix", path }));
    await client.send(preface, settingsFrame([]));
    const then = new Then(client);
    await then.#heard(FrameType.settings);
    return then;
  }

  /** Begins a call as grpc-go did. */
  async begin(method: string): Promise<void> {
    this.#stream += 2;
    this.#credit.stream = this.#window;
    await this.#client.send(headers(this.#stream, 4, [
      [":method", "POST"],
      [":scheme", "http"],
      [":path", `/client.Kurma/${method}`],
      [":authority", "127.0.0.1:12311"],
      ["content-type", "application/grpc"],
      ["user-agent", "grpc-go/0.11"],
      ["te", "trailers"],
    ]));
  }

  /** Sends a message, when its receiver is ready for it. */
  async send(bytes: readonly number[]): Promise<void> {
    const framed = message(bytes);
    const { length } = framed;
    while (Math.min(this.#credit.all, this.#credit.stream) < length) {
      await this.#heard(FrameType.windowUpdate);
    }
    this.#credit.all -= length;
    this.#credit.stream -= length;
    await this.#client.send(data(this.#stream, framed));
  }

  /** Says that there is no more, and waits for the answers and the status. */
  async end(): Promise<{ answers: Uint8Array[]; status: string; text: string }> {
    await this.#client.send(data(this.#stream, "", 1));
    return await this.answers();
  }

  /** Answers until the status comes, or until one has what is waited for. */
  async answers(
    awaited?: string,
  ): Promise<{ answers: Uint8Array[]; status: string; text: string }> {
    const answers: Uint8Array[] = [];
    let bytes = new Uint8Array();
    while (true) {
      const { type, payload, fields } = await this.#heard(FrameType.data, FrameType.headers);
      if (type === FrameType.headers) {
        const status = fields?.["grpc-status"];
        if (status === undefined) continue; // The head of the answer.
        return { answers, status, text: decodeURIComponent(fields?.["grpc-message"] ?? "") };
      }
      bytes = Uint8Array.from([...bytes, ...payload]);
      while (bytes.length >= 5 && bytes.length >= 5 + uint32(bytes, 1)) {
        const end = 5 + uint32(bytes, 1);
        answers.push(bytes.slice(5, end));
        bytes = bytes.slice(end);
      }
      const said = answers.map((answer) => textOf(fieldsOf(answer).get(2)?.[0])).join("");
      if (awaited !== undefined && said.includes(awaited)) return { answers, status: "", text: "" };
    }
  }

  /** The next frame of these types; takes note of what others say about windows. */
  async #heard(...types: number[]) {
    while (true) {
      const answer = await this.#client.next();
      assert(answer !== null, "kurmad ended the connection");
      const { type, flags, stream, payload } = answer;
      if (type === FrameType.settings && (flags & 1) === 0) {
        for (let at = 0; at < payload.length; at += 6) {
          if (payload[at + 1] === 4) this.#window = uint32(payload, at + 2);
        }
        await this.#client.send(frame(FrameType.settings, 1, 0, new Uint8Array()));
      }
      if (type === FrameType.windowUpdate) {
        if (stream === 0) this.#credit.all += uint32(payload, 0);
        else if (stream === this.#stream) this.#credit.stream += uint32(payload, 0);
      }
      if (types.includes(type) && (stream === 0 || stream === this.#stream)) return answer;
    }
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

kurmadTest("the frames of 2015 are understood, and answered with theirs", async ({ dir }) => {
  // The samples that the protocol was written down with.
  const hex = (bytes: readonly number[]) => Uint8Array.from(bytes).toHex();
  assertEquals(hex([...field(1, "web"), ...field(2, "{}")]), "0a0377656212027b7d");
  assertEquals(
    hex([...field(1, "up-1"), ...field(2, Uint8Array.of(0x1f, 0x8b))]),
    "0a0475702d3112021f8b",
  );

  using then = await Then.connect(`${dir}/old.sock`);
  const manifest = JSON.stringify({
    acKind: "ImageManifest",
    acVersion: "0.6.1",
    name: "example.com/busybox",
    app: { exec: ["/bin/sleep", "1000"], user: "0", group: "0" },
  });
  await then.begin("Create");
  await then.send([...field(1, "web"), ...field(2, manifest)]);
  const created = await then.end();
  assertEquals([created.status, created.answers.length], ["0", 1]);
  const upload = fieldsOf(created.answers[0]);
  assertEquals([...upload.keys()], [1]);
  const uploadId = textOf(upload.get(1)?.[0]);
  assertMatch(uploadId, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);

  await then.begin("UploadImage");
  const image = await Deno.readFile((await images()).aci);
  for (let at = 0; at < image.length; at += 4096) {
    await then.send([...field(1, uploadId), ...field(2, image.subarray(at, at + 4096))]);
  }
  const uploaded = await then.end();
  assertEquals([uploaded.status, uploaded.answers], ["0", [new Uint8Array()]], uploaded.text);

  await then.begin("List");
  await then.send([]);
  const listed = await then.end();
  const [container] = fieldsOf(listed.answers[0]).get(1) ?? [];
  const known = fieldsOf(container as Uint8Array);
  const uuid = textOf(known.get(1)?.[0]);
  assertEquals([uuid.length, known.get(3)], [36, [2]]);
  assertEquals(JSON.parse(textOf(known.get(2)?.[0])).acKind, "PodManifest");

  await then.begin("Get");
  await then.send(field(1, uuid));
  assertEquals((await then.end()).answers, [container]);

  await then.begin("Enter");
  await then.send(field(1, uuid));
  await then.send([...field(1, uuid), ...field(2, encoder.encode("echo $((40 + 2))\n"))]);
  const { answers } = await then.answers("\n42\r\n");
  assert(answers.every((answer) => textOf(fieldsOf(answer).get(1)?.[0]) === uuid));
  await then.send([...field(1, uuid), ...field(2, encoder.encode("exit\n"))]);
  assertEquals((await then.answers()).status, "0");

  await then.begin("Destroy");
  await then.send(field(1, uuid));
  const destroyed = await then.end();
  assertEquals([destroyed.status, destroyed.answers], ["0", [new Uint8Array()]]);
  await then.begin("Get");
  await then.send(field(1, uuid));
  const missing = await then.end();
  assertEquals([missing.status, missing.answers], ["2", []]);
  assertMatch(missing.text, /Cannot find/);
  console.log("      6 calls of 2015, byte for byte");
}, { flags: ["--legacy-api-address=unix:DIR/old.sock"] });
