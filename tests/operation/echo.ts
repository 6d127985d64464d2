/**
 * Answers each connection to the sockets that it was given with who it is and with what it
 * said, until it says "end".
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { acceptAll, inheritedSockets, type Stream } from "../../stage1/operation/activation.ts";

const [socket] = inheritedSockets(Deno.env.toObject());
if (socket === undefined) Deno.exit(3);

async function answer(stream: Stream, { uid }: { uid: number }): Promise<void> {
  await stream.write(new TextEncoder().encode(`uid ${uid}\n`));
  const buffer = new Uint8Array(1_000); // Less than is sent at once.
  const said: string[] = [];
  for (let count; (count = await stream.read(buffer)) !== null;) {
    said.push(new TextDecoder().decode(buffer.subarray(0, count)));
    if (!said[said.length - 1].endsWith("\n")) continue;
    const line = said.splice(0).join("");
    await stream.write(new TextEncoder().encode(line));
    if (line === "end\n") Deno.exit(0);
  }
  stream.close();
}

await acceptAll(
  kernel,
  socket,
  (stream, who) => void answer(stream, who),
  (error) => console.error(error.message),
);
