/**
 * Sockets that a service manager passes on.
 *
 * @module
 */

import { assertEquals } from "../assert.ts";
import { root, Running, test } from "../harness.ts";
import { exists, until } from "../stage2/served.ts";

/** Writes a line. */
async function say(connection: Deno.Conn, text: string): Promise<void> {
  let bytes = new TextEncoder().encode(`${text}\n`);
  while (bytes.length > 0) bytes = bytes.subarray(await connection.write(bytes));
}

/** What is said on it: so many characters, or all if it ends before. */
async function heard(connection: Deno.Conn, length: number): Promise<string> {
  const buffer = new Uint8Array(64 * 1024);
  let text = "";
  while (text.length < length) {
    const count = await connection.read(buffer);
    if (count === null) break;
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return text;
}

/** A program that gets the socket at `path`, as the service manager would pass it on. */
function activated(path: string): Running {
  return new Running([
    "systemd-socket-activate",
    `--listen=${path}`,
    ...["--setenv=DENO_DIR", "--setenv=HOME", "--setenv=PATH"],
    Deno.execPath(),
    ...["run", "-A", `--config=${root}/deno.json`, `${root}/tests/operation/echo.ts`],
  ]);
}

test("a socket of the service manager is served, and outlives who serves it", async ({ dir }) => {
  const path = `${dir}/socket`;
  const running = activated(path);
  const connections: Deno.Conn[] = [];
  try {
    const connect = async () => {
      const connection = await Deno.connect({ transport: "unix", path });
      connections.push(connection);
      return connection;
    };
    await until("the socket", async () => (await exists(path)) || undefined);
    // The first is there before the program is; it is the one that starts it.
    const first = await connect();
    await say(first, "hello, who is there?");
    const greeting = `uid ${Deno.uid()}\n`;
    assertEquals(await heard(first, 27), `${greeting}hello, who is there?\n`);
    const others = await Promise.all(Array.from({ length: 20 }, connect));
    const large = "x".repeat(300_000);
    for (const [index, other] of others.entries()) await say(other, `${index} ${large}`);
    for (const [index, other] of others.entries()) {
      const text = `${greeting}${index} ${large}\n`;
      assertEquals(await heard(other, text.length), text);
    }
    await say(first, "end");
    assertEquals((await running.output).status, 0);
  } finally {
    for (const connection of connections) connection.close();
  }
});

test("who only ends what it sends is answered, and who goes away is missed", async ({ dir }) => {
  const path = `${dir}/socket`;
  const running = activated(path);
  await until("the socket", async () => (await exists(path)) || undefined);
  const connect = () => Deno.connect({ transport: "unix", path });
  const greeting = `uid ${Deno.uid()}\n`;
  {
    using half = await connect();
    await half.closeWrite();
    assertEquals(await heard(half, greeting.length + 5), `${greeting}over\n`);
  }
  await running.says(/^BrokenPipe\n$/);
  {
    using deaf = await connect(); // Most of the greeting stays unread.
    await deaf.read(new Uint8Array(1));
  }
  // Which of the two it is depends on what the server was about to do.
  await running.says(/^BrokenPipe\n(ConnectionReset|BrokenPipe)\n$/);
  {
    using late = await connect();
    await say(late, "enough");
    assertEquals(await heard(late, Infinity), greeting);
    await say(late, "more");
    await running.says(/heard more\n/);
  }
  await running.says(/heard more\n+heard all\n/);
  using last = await connect();
  await say(last, "end");
  assertEquals((await running.output).status, 0);
});
