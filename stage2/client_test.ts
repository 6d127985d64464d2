import { Failure, Failure_step, Report, Report_outcome } from "../ffi/abi.gen.ts";
import { KernelError } from "../ffi/kernel.ts";
import { assertEquals, rejection } from "../tests/assert.ts";
import { RecordingKernel } from "../tests/recording_kernel.ts";
import { WaitingStage2 } from "./client.ts";
import type { Plan } from "./spec.ts";

const plan: Plan = {
  kurma: { id: "web", layers: ["/layer"], scratch: "/scratch" },
  config: {
    ociVersion: "1.3.0",
    process: { args: ["/bin/true"], env: [], cwd: "/" },
    mounts: [],
    linux: { namespaces: [{ type: "mount" }] },
  },
};

/** Writes the report that stage2 would leave. */
function leave(report: Uint8Array, outcome: typeof Report_outcome[number], more: {
  status?: number;
  step?: typeof Failure_step[number];
  errno?: number;
  subject?: string;
} = {}): void {
  const view = new DataView(report.buffer);
  const subject = new TextEncoder().encode(more.subject ?? "");
  view.setUint32(Report.outcome, Report_outcome.indexOf(outcome), true);
  view.setUint32(Report.status, more.status ?? 0, true);
  view.setUint16(Report.failure + Failure.errno, more.errno ?? 0, true);
  view.setUint16(Report.failure + Failure.step, Failure_step.indexOf(more.step ?? "none"), true);
  view.setUint32(Report.subject_len, subject.length, true);
  report.set(subject, Report.subject);
}

Deno.test("launch() hands the plan over and returns the command's status", async () => {
  let handed: unknown;
  const kernel = new RecordingKernel({
    sent([text], [report]) {
      handed = JSON.parse(new TextDecoder().decode(text));
      leave(report, "exited", { status: 7 });
    },
  });
  using stage2 = new WaitingStage2(kernel);
  const container = stage2.launch(plan);
  container.signal(15);
  assertEquals(await container.ended, { status: 7 });
  assertEquals(handed, plan);
  assertEquals(kernel.log, [
    "pair",
    "memfd report shared",
    "spawn kurma-stage2 SPAWNER_INTERCEPT SPAWNER_PARENT",
    "close 101",
    "sendFile 100 1 bytes 0 descriptors",
    "close 100",
    "wait 4242",
    "signal 4242 15",
    "close 102",
  ]);
});

const statuses = [
  { errno: 2, status: 127, message: 'Cannot exec "/bin/x": ENOENT' },
  { errno: 13, status: 126, message: 'Cannot exec "/bin/x": EACCES' },
  { errno: 8, status: 126, message: 'Cannot exec "/bin/x": ENOEXEC' },
];
for (const { errno, status, message } of statuses) {
  Deno.test(`a command that cannot be run with errno ${errno} ends with ${status}`, async () => {
    const kernel = new RecordingKernel({
      sent: (_, [report]) => leave(report, "failed", { step: "exec", errno, subject: "/bin/x" }),
    });
    const ended = await new WaitingStage2(kernel).launch(plan).ended;
    assertEquals([ended.status, ended.reason?.message], [status, message]);
  });
}

const failures = [
  {
    what: "a step of the launch",
    sent: (_: readonly Uint8Array[], [report]: readonly Uint8Array[]) =>
      leave(report, "failed", { step: "mount", errno: 1, subject: "/proc" }),
    message: 'Cannot mount "/proc": EPERM',
  },
  {
    what: "a plan with an unknown key",
    sent: (_: readonly Uint8Array[], [report]: readonly Uint8Array[]) =>
      leave(report, "invalid", { subject: 'Unknown key "config.linux.foo"' }),
    message: 'Cannot carry out the plan: Unknown key "config.linux.foo"',
  },
  {
    what: "a stage2 that was killed",
    sent: () => {},
    message: "Cannot supervise the container: stage2 ended with 137",
  },
];
for (const { what, sent, message } of failures) {
  Deno.test(`${what} is an error, and no descriptor stays open`, async () => {
    const kernel = new RecordingKernel({ sent, status: 137 });
    const error = await rejection(new WaitingStage2(kernel).launch(plan).ended);
    assertEquals(error.message, message);
    assertEquals(closed(kernel), [100, 101, 102]);
  });
}

Deno.test("a stage2 that cannot be started leaves no descriptor", async () => {
  const kernel = new RecordingKernel({ failing: { spawn: "EAGAIN" } });
  const error = await rejection(() => new WaitingStage2(kernel));
  assertEquals(error instanceof KernelError && [error.step, error.errno], ["spawn", "EAGAIN"]);
  assertEquals(closed(kernel), [100, 101, 102]);
});

Deno.test("a stage2 that gets no plan is hung up on", () => {
  const kernel = new RecordingKernel();
  {
    using _stage2 = new WaitingStage2(kernel);
  }
  assertEquals(closed(kernel), [100, 101, 102]);
});

/** The descriptors that were closed, each once, in ascending order. */
function closed(kernel: RecordingKernel): number[] {
  return kernel.log.filter((call) => call.startsWith("close "))
    .map((call) => Number(call.slice("close ".length))).sort();
}
