import { assertEquals, rejection } from "../../tests/assert.ts";
import { DaemonMetrics } from "./daemon_metrics.ts";
import { Registry } from "./metrics.ts";

Deno.test("counters, gauges and histograms read as Prometheus has them", () => {
  const registry = new Registry();
  const calls = registry.counter("calls_total", "Calls.\nAll of them.");
  calls.add({ method: "List", code: "ok" });
  calls.add({ code: "ok", method: "List" });
  calls.add({ method: 'a"b\\c\nd', code: "bad" }, 2);
  registry.gauge("up", "Whether.").set(1);
  registry.observed("things", "Now.", () => [[{ state: "running" }, 3]]);
  const seconds = registry.histogram("took_seconds", "Time.", [0.1, 1]);
  for (const value of [0.05, 0.1, 0.5, 2]) seconds.observe(value);
  assertEquals(
    registry.text(),
    `# HELP calls_total Calls.\\nAll of them.
# TYPE calls_total counter
calls_total{code="ok",method="List"} 2
calls_total{code="bad",method="a\\"b\\\\c\\nd"} 2
# HELP up Whether.
# TYPE up gauge
up 1
# HELP things Now.
# TYPE things gauge
things{state="running"} 3
# HELP took_seconds Time.
# TYPE took_seconds histogram
took_seconds_bucket{le="0.1"} 2
took_seconds_bucket{le="1"} 3
took_seconds_bucket{le="+Inf"} 4
took_seconds_sum 2.65
took_seconds_count 4
`,
  );
});

Deno.test("what outsiders name cannot fill the memory with series", () => {
  const registry = new Registry();
  const counter = registry.counter("a_total", "A.");
  for (let at = 0; at < 5_000; at++) counter.add({ name: String(at) });
  assertEquals(registry.text().split("\n").length, 2 + 1_000 + 1);
});

Deno.test("two metrics do not share a name", async () => {
  const registry = new Registry();
  registry.gauge("a", "A.");
  assertEquals((await rejection(() => registry.gauge("a", "A."))).name, "TypeError");
  assertEquals((await rejection(() => registry.gauge("A b", "A."))).name, "TypeError");
});

Deno.test("the daemon's metrics have its containers by state and its starts by time", () => {
  const metrics = new DaemonMetrics("1.2.3", () => new Map([["running", 2], ["exited", 1]]));
  const happens = (action: string, attributes: Record<string, string>) =>
    metrics.note({
      sequence: 1,
      time: 0,
      kind: "container",
      id: "1",
      name: "a",
      action,
      attributes,
    });
  happens("start", { run: "1", took_ms: "4.2" });
  happens("start", { run: "2", took_ms: "1.5", restart: "1" });
  happens("fail", { code: "missing" });
  happens("exit", { code: "0" });
  happens("exit", { code: "137", signal: "9", oom: "true" });
  happens("exit", { code: "143", signal: "15" });
  const text = metrics.registry.text();
  for (
    const line of [
      'kurma_build_info{version="1.2.3"} 1',
      'kurma_containers{state="running"} 2',
      'kurma_container_starts_total{outcome="ok"} 2',
      'kurma_container_starts_total{outcome="missing"} 1',
      'kurma_container_start_seconds_bucket{le="0.003"} 1',
      'kurma_container_start_seconds_bucket{le="0.005"} 2',
      "kurma_container_restarts_total 1",
      'kurma_container_ends_total{reason="exit"} 1',
      'kurma_container_ends_total{reason="oom"} 1',
      'kurma_container_ends_total{reason="signal"} 1',
    ]
  ) assertEquals(text.includes(`${line}\n`), true, line);
});
