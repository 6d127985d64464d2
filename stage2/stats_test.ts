import { Stats as StatsLayout } from "../ffi/abi.gen.ts";
import { assertEquals } from "../tests/assert.ts";
import { statsAt } from "./stats.ts";

Deno.test("statsAt() tells what is measured, and leaves out what is not", () => {
  const bytes = new Uint8Array(8 + StatsLayout.size).fill(0xff);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(8 + StatsLayout.cpu_usage_ns, 12_345n, true);
  view.setBigUint64(8 + StatsLayout.pids, 3n, true);
  view.setBigUint64(8 + StatsLayout.memory_pressure, 1_234n, true);
  const stats = statsAt(view, 8);
  assertEquals(stats.cpu.usageNs, 12_345);
  assertEquals(stats.cpu.userNs, undefined);
  assertEquals(stats.pids, { current: 3, limit: undefined });
  assertEquals(stats.pressure.memory.some.last10, 12.34);
  assertEquals(stats.pressure.cpu.some.last10, undefined);
});
