import { assertEquals } from "../tests/assert.ts";
import { kernel } from "./mod.ts";

Deno.test("keepAlive() leaves it to who uses a connection to hear that it is gone", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const [near, far] = await Promise.all([
    Deno.connect({ port: listener.addr.port }),
    listener.accept(),
  ]);
  const ports = { local: near.localAddr.port, remote: near.remoteAddr.port };
  const patience = { idle: 30, interval: 10, count: 3 };
  kernel.keepAlive(ports, patience);
  near.close();
  kernel.keepAlive(ports, patience);
  assertEquals(await far.read(new Uint8Array(1)), null);
  far.close();
});
