/** Ctrl-C: a command ends at once, and the daemon lets go of what it did for it. */

import { assertEquals, assertMatch } from "../assert.ts";
import { binary, run, Running } from "../harness.ts";
import { type Kurmad, kurmadTest } from "../kurmad/daemon.ts";
import { until } from "../stage2/served.ts";

/** Where the daemon listens. */
function socketOf({ dir }: Kurmad): string {
  return `${dir}/kurma.sock`;
}

/** How many connect to the daemon now. The ends that it has accepted are called as it. proc_net(5) */
function connections(kurmad: Kurmad): number {
  const isConnected = new RegExp(` 03 +\\d+ ${RegExp.escape(socketOf(kurmad))}$`);
  return Deno.readTextFileSync("/proc/net/unix").split("\n")
    .filter((line) => isConnected.test(line)).length;
}

/** Waits until as many are connected as `wanted` wants. */
async function connected(kurmad: Kurmad, what: string, wanted: (count: number) => boolean) {
  await until(what, () => Promise.resolve(wanted(connections(kurmad)) || undefined));
}

/** A container whose command ends for SIGKILL only. */
async function deaf(kurmad: Kurmad): Promise<void> {
  await kurmad.api.call("Containers", "Create", {
    ...{ name: "deaf", image: kurmad.image, start: true },
    settings: {
      command: ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"],
      stopTimeout: "1s",
    },
  });
}

/** What goes on until it is interrupted, calls that wait and calls that stream, and what it says. */
const slow: [args: string[], says?: RegExp][] = [
  [["wait", "deaf"]],
  [["wait", "--condition", "removed", "deaf"]],
  [["logs", "--follow", "deaf"], /up\n/],
  [["events", "--since", "1h"], /container start deaf/],
  [["attach", "--tail", "1", "deaf"], /up\n/],
  [["exec", "deaf", "sh", "-c", "echo here; exec sleep 1000"], /here\n/],
];

kurmadTest("Ctrl-C ends a call that waits or streams, on both sides", async (kurmad) => {
  await deaf(kurmad);
  const env = { KURMA_HOST: socketOf(kurmad) };
  for (const [args, says] of slow) {
    const what = args.join(" ");
    await connected(kurmad, `the end of what was before ${what}`, (count) => count === 0);
    const command = new Running([binary, ...args], { env });
    if (says) await command.says(says);
    await connected(kurmad, `the call of ${what}`, (count) => count > 0);
    command.signal("SIGINT");
    assertEquals((await command.output).status, 130, what);
    await connected(kurmad, `the daemon's end of ${what}`, (count) => count === 0);
  }
  await until("the end of what exec started", async () => {
    const { processes = [] } = await kurmad.api.call("Containers", "Top", { container: "deaf" });
    return !processes.some(({ command = [] }) => command.includes("1000")) || undefined;
  });
});

kurmadTest("a stop that is interrupted goes on, and can be hurried", async (kurmad) => {
  await deaf(kurmad);
  const env = { KURMA_HOST: socketOf(kurmad) };
  const state = async (wanted: string) => {
    const { container } = await kurmad.api.call("Containers", "Get", { container: "deaf" });
    return container?.state === `CONTAINER_STATE_${wanted}` || undefined;
  };
  const command = new Running([binary, "stop", "--time", "10m", "deaf"], { env });
  await until("the stop", () => state("STOPPING"));
  command.signal("SIGINT");
  assertEquals(await command.output, { status: 130, stdout: "", stderr: "" });
  assertEquals(await run([binary, "kill", "deaf"], { env }), {
    status: 0,
    stdout: "deaf\n",
    stderr: "",
  });
  await until("its end", () => state("STOPPED"));
});

kurmadTest("on a terminal the key does it, which is as it was then", async (kurmad) => {
  await deaf(kurmad);
  const env = { KURMA_HOST: socketOf(kurmad) };
  const script = [
    "trap : INT", // The shell gets the key as well.
    "before=$(stty -g)",
    `"${binary}" wait deaf; echo "status $?"`,
    `[ "$before" = "$(stty -g)" ] && echo as it was`,
  ].join("; ");
  await connected(kurmad, "rest", (count) => count === 0);
  const typescript = new Running(["script", "-qec", script, "/dev/null"], { env, stdin: "open" });
  await connected(kurmad, "the call", (count) => count > 0);
  await typescript.write("\x03");
  assertMatch((await typescript.output).stdout, /status 130\r+\nas it was/);
});
