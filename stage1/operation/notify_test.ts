import { KernelError } from "../../ffi/kernel.ts";
import { RecordingKernel } from "../../tests/recording_kernel.ts";
import { assert, assertEquals } from "../../tests/assert.ts";
import { ServiceManager } from "./notify.ts";

function unexpected(error: KernelError): void {
  throw error;
}

Deno.test("a service manager is told where it asked to be told", () => {
  const kernel = new RecordingKernel();
  using manager = new ServiceManager(kernel, { NOTIFY_SOCKET: "@/org/sd" }, unexpected);
  manager.ready("2 containers");
  manager.reloading();
  manager.stopping(1_500);
  assertEquals(kernel.log, [
    "datagram @/org/sd READY=1\nSTATUS=2 containers",
    "datagram @/org/sd RELOADING=1",
    "datagram @/org/sd STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000",
  ]);
});

Deno.test("without one, or with a socket that is no unix socket, nothing is told", () => {
  for (const NOTIFY_SOCKET of [undefined, "", "vsock:2:1234", "/"]) {
    const kernel = new RecordingKernel();
    using manager = new ServiceManager(kernel, { NOTIFY_SOCKET }, unexpected);
    manager.ready("");
    assertEquals(kernel.log, []);
  }
});

Deno.test("the watchdog is told twice in its time, if it is ours", async () => {
  const kernel = new RecordingKernel();
  const environment = { NOTIFY_SOCKET: "/n", WATCHDOG_USEC: "20000" };
  using _ours = new ServiceManager(
    kernel,
    { ...environment, WATCHDOG_PID: `${Deno.pid}` },
    unexpected,
  );
  using _theirs = new ServiceManager(kernel, { ...environment, WATCHDOG_PID: "1" }, unexpected);
  const begun = performance.now();
  while (kernel.log.length < 4) await new Promise((resolve) => setTimeout(resolve, 1));
  // Later on a busy machine, never sooner.
  assert(performance.now() - begun > 30, "It was told too often");
  assertEquals(new Set(kernel.log), new Set(["datagram /n WATCHDOG=1"]));
});

Deno.test("a message that cannot be sent is told, and no more", () => {
  const kernel = new RecordingKernel({ failing: { datagram: "ECONNREFUSED" } });
  const failures: string[] = [];
  using manager = new ServiceManager(
    kernel,
    { NOTIFY_SOCKET: "/n" },
    ({ message }) => failures.push(message),
  );
  manager.ready("");
  assertEquals(failures.length, 1);
});
