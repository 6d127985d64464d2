/**
 * stage2's cgroups on two kernels: on the host as it is mounted there (version 1,
 * hybrid or unified), on the host without version 2, and on version 2 alone in
 * user-mode Linux. The driver's scenarios say what is tried.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { type Output, root, run, test } from "../harness.ts";
import { boot } from "../rigs/uml.ts";

const driver = `${root}/build/tools/cgroup-driver`;

/** The driver's verdicts by scenario: `ok`, `skip` or `not ok`, with what it says of it. */
function verdicts({ stdout }: Output): Map<string, string> {
  const lines = stdout.matchAll(/^(ok|skip|not ok) (\w+) ?(.*)$/gm);
  return new Map(
    [...lines].map(([, verdict, scenario, detail]) => [scenario, `${verdict} ${detail}`.trim()]),
  );
}

/** That every scenario went well but those in `skipped`, whose reasons are given. */
function assertAllWell(output: Output, skipped: Record<string, string> = {}): void {
  const all = verdicts(output);
  assert(all.size >= 15, `Only ${all.size} scenarios ran: ${output.stdout}`);
  const others = [...all].filter(([, verdict]) => !verdict.startsWith("ok"));
  const reasons = Object.entries(skipped).map(([name, reason]) => [name, `skip ${reason}`]);
  assertEquals(Object.fromEntries(others), Object.fromEntries(reasons));
  assertEquals(output.status, 0);
}

test("cgroups work in the host's hierarchies, and nothing is left in them", async () => {
  assertAllWell(await run([driver]));
});

test("cgroups work with version 1 alone: freezer, devices.allow, kill by signal", async () => {
  assertAllWell(await run([driver, "--v1"]), {
    into: "no version 2",
    delegate: "no version 2",
  });
});

test("cgroups work with version 2 alone: cgroup.kill, BPF device filter, memory.events", async ({ dir }) => {
  const output = await boot({
    dir,
    script: `${driver} && [ -z "$(find /sys/fs/cgroup -mindepth 1 -type d)" ]`,
  });
  assertAllWell(output, { cpuset: "no cpuset controller" });
});

test("in a cgroup of its own on version 2, the daemon steps aside to pass limits on", async ({ dir }) => {
  const output = await boot({
    dir,
    script: `
      echo "+cpu +memory +io +pids" >/sys/fs/cgroup/cgroup.subtree_control
      mkdir /sys/fs/cgroup/service /sys/fs/cgroup/shared
      sleep 60 & echo $! >/sys/fs/cgroup/shared/cgroup.procs
      for group in service service/kurma-host shared; do
        sh -c "echo \\$\\$ >/sys/fs/cgroup/$group/cgroup.procs; exec ${driver} limits"
      done`,
  });
  const said = output.stdout.match(/^hierarchy .*|^.*ok limits.*/gm);
  const own = (path: string) => `hierarchy v2 /sys/fs/cgroup own ${path} cpu memory io pids`;
  assertEquals(said, [
    ...[own("/service"), "ok limits ", own("/service"), "ok limits "],
    ...[own("/shared"), "not ok limits cannot limit 0: OPNOTSUPP"],
  ]);
});
