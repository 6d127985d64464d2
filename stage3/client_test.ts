import { assert, assertEquals, assertMatch, rejection } from "../tests/assert.ts";
import { KurmaError } from "../ffi/errors.ts";
import { Stage3Client, type StartRequest } from "./client.ts";
import vectors from "./vectors.json" with { type: "json" };

/** A server that reads the first 64 KiB of each request, answers, and closes. */
class FakeServer implements AsyncDisposable {
  readonly folder = Deno.makeTempDirSync();
  readonly path = `${this.folder}/socket`;
  readonly received: string[] = [];
  readonly #waiting: Deno.UnixConn[] = [];
  readonly #listener: Deno.UnixListener;
  readonly #serving: Promise<void>;

  /** @param answer What to send to a request; undefined keeps the client waiting. */
  constructor(answer: (request: string) => string | undefined) {
    this.#listener = Deno.listen({ transport: "unix", path: this.path });
    this.#serving = this.#serve(answer);
  }

  async #serve(answer: (request: string) => string | undefined): Promise<void> {
    for await (const connection of this.#listener) {
      const buffer = new Uint8Array(64 * 1024);
      const length = await connection.read(buffer) ?? 0;
      const request = new TextDecoder().decode(buffer.subarray(0, length));
      this.received.push(request);
      const reply = answer(request);
      if (reply === undefined) {
        this.#waiting.push(connection);
        continue;
      }
      await connection.write(new TextEncoder().encode(reply));
      connection.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#serving;
    for (const connection of this.#waiting) connection.close();
    await Deno.remove(this.folder, { recursive: true });
  }
}

const start: StartRequest = {
  name: "app",
  command: ["/bin/sleep", "60"],
  env: { K: "V" },
  stdout: "/o",
  stderr: "/e",
  user: "99",
  group: "99",
};

function wire(name: string): string {
  const vector = vectors.requests.find((vector) => vector.name === name);
  assert(vector, name);
  return vector.request;
}

Deno.test("each call sends the bytes of its worked example", async () => {
  await using server = new FakeServer(() => "REQUEST OK\n");
  const client = new Stage3Client(server.path);
  await client.chroot("/srv/c1", { privileged: true });
  await client.exec({
    command: ["/sbin/init", "x"],
    env: { A: "b" },
    stdout: "/o",
    stderr: "/e",
  });
  await client.start(start);
  await client.wait();
  await client.setHostname("box");
  assertEquals(server.received, [
    wire("CHROOT, privileged"),
    wire("EXEC"),
    wire("START a named process"),
    wire("WAIT with nothing running"),
    wire("SETHOSTNAME"),
  ]);
});

Deno.test("status() gives the state of each process by name", async () => {
  for (const { name, reply, status } of vectors.statusReplies) {
    await using server = new FakeServer(() => reply);
    const call = new Stage3Client(server.path).status();
    if (status === null) {
      assertMatch((await rejection(call)).message, /^Cannot ask for the status: /);
    } else assertEquals(Object.fromEntries(await call), status, name);
  }
});

const answers: [string, string, RegExp][] = [
  ["PROTOCOL ERROR\n", "invalid", /^Cannot wait: stage3 does not understand the request$/],
  ["INTERNAL ERROR\n", "kernel", /^Cannot wait: stage3 failed to do it$/],
  ["REQUEST OK", "kernel", /^Cannot wait: invalid response "REQUEST OK"$/],
  ["REQUEST OK\nEND\n", "kernel", /^Cannot wait: invalid response "REQUEST OK\\nEND\\n"$/],
  ["", "kernel", /^Cannot wait: stage3 closed without a reply$/],
];
for (const [reply, code, message] of answers) {
  Deno.test(`the reply ${JSON.stringify(reply)} is an error`, async () => {
    await using server = new FakeServer(() => reply);
    const error = await rejection(new Stage3Client(server.path).wait());
    assert(error instanceof KurmaError);
    assertEquals(error.code, code);
    assertMatch(error.message, message);
  });
}

Deno.test("a call fails when its time is over", async () => {
  await using server = new FakeServer(() => undefined);
  const error = await rejection(new Stage3Client(server.path).wait({ timeoutMs: 20 }));
  assertEquals(error.message, "Cannot wait: i/o timeout");
});

Deno.test("a call fails when nobody listens", async () => {
  const error = await rejection(new Stage3Client("/no/such/socket").wait());
  assert(error instanceof KurmaError);
  assertEquals([error.code, error.message], [
    "missing",
    'Cannot wait: no stage3 at "/no/such/socket"',
  ]);
});

Deno.test("stop() ends calls in progress and refuses later ones", async () => {
  await using server = new FakeServer(() => undefined);
  const client = new Stage3Client(server.path);
  const waiting = rejection(client.wait());
  while (server.received.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(client.stopped, false);
  await client.stop();
  assertEquals((await waiting).message, "client is stopped.");
  assertEquals((await rejection(client.wait())).message, "client is shutting down.");
  assertEquals(client.stopped, true);
  await client.stop();
});

Deno.test("stop() ends a call that is still connecting", async () => {
  await using server = new FakeServer(() => undefined);
  const client = new Stage3Client(server.path);
  const waiting = rejection(client.wait());
  await client.stop();
  assertEquals((await waiting).message, "client is stopped.");
});

Deno.test("waitForSocket() waits until there is one, but not for ever", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/socket`;
  const client = new Stage3Client(path);
  const error = await rejection(client.waitForSocket({ timeoutMs: 10 }));
  assertEquals(error.message, `Cannot see the socket "${path}": i/o timeout`);
  const waiting = client.waitForSocket({ timeoutMs: 5_000 });
  const listener = Deno.listen({ transport: "unix", path });
  await waiting;
  listener.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a reply that comes before the request is sent whole still counts", async () => {
  await using server = new FakeServer(() => "PROTOCOL ERROR\n");
  const command = ["/bin/true", "x".repeat(1_000_000)];
  const error = await rejection(new Stage3Client(server.path).start({ ...start, command }));
  assertEquals(error.message, 'Cannot start "/bin/true": stage3 does not understand the request');
});
