/**
 * Answers each connection to the sockets that it was given with who it is and with what it
 * said, until it says "end". To one that ends what it sends it says "over"; once nobody is there
 * any more, it notes by which error it was told. One that says "enough" is answered no more, and
 * what it says then is noted.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { isBroken } from "../../stage1/api/http2/broken.ts";
import type { Connection } from "../../stage1/api/http2/exchange.ts";
import { acceptAll, inheritedSockets } from "../../stage1/operation/activation.ts";

const [socket] = inheritedSockets(Deno.env.toObject());
if (socket === undefined) Deno.exit(3);

async function answer(stream: Connection, { uid }: { uid: number }): Promise<void> {
  await stream.write(new TextEncoder().encode(`uid ${uid}\n`));
  const buffer = new Uint8Array(1_000); // Less than is sent at once.
  const said: string[] = [];
  for (let count; (count = await stream.read(buffer)) !== null;) {
    said.push(new TextDecoder().decode(buffer.subarray(0, count)));
    if (!said[said.length - 1].endsWith("\n")) continue;
    const line = said.splice(0).join("");
    if (line === "enough\n") return await listen(stream);
    await stream.write(new TextEncoder().encode(line));
    if (line === "end\n") Deno.exit(0);
  }
  await stream.write(new TextEncoder().encode("over\n"));
  while (await stream.write(new Uint8Array()) === 0) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function listen(stream: Connection): Promise<void> {
  await stream.closeWrite();
  const buffer = new Uint8Array(1_000);
  for (let count; (count = await stream.read(buffer)) !== null;) {
    console.log(`heard ${new TextDecoder().decode(buffer.subarray(0, count))}`);
  }
  console.log("heard all");
}

async function serve(stream: Connection, who: { uid: number }): Promise<void> {
  try {
    await answer(stream, who);
  } catch (error) {
    if (!isBroken(error)) throw error;
    console.log(error instanceof Error ? error.name : error);
  }
  stream.close();
}

await acceptAll(
  kernel,
  socket,
  (stream, who) => void serve(stream, who),
  (error) => console.error(error.message),
);
