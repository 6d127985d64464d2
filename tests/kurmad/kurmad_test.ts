/**
 * The daemon as it is installed: the compiled binary, asked through its API.
 *
 * @module
 */

import { assert, assertEquals, rejection } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { binary, count, mustRun } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { pause, until } from "../stage2/served.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";

/** In a world of its own, every port is free. */
const metrics = "127.0.0.1:9100";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (text: string) => new TextEncoder().encode(text);

const run = (kurmad: Kurmad, ...args: Parameters<Kurmad["run"]>) => kurmad.run(...args);

const exec = (
  kurmad: Kurmad,
  container: string,
  command: string[],
  input?: string,
  more: Record<string, unknown> = {},
) => kurmad.exec(container, command, { input, ...more });

kurmadTest("exec has input, output, users, folders, terminals and codes", async (kurmad) => {
  await run(kurmad, "web", "sleep 1000");
  assertEquals(await exec(kurmad, "web", ["sh", "-c", "echo out; echo err >&2; exit 7"]), {
    output: "out\n",
    errorOutput: "err\n",
    code: 7,
  });
  const echoed = await exec(kurmad, "web", ["sh", "-c", "cat; id -u; pwd; echo $A"], "typed\n", {
    user: "app",
    workingDir: "/tmp",
    env: ["A=b c"],
  });
  assertEquals(echoed, { output: "typed\n1000\n/tmp\nb c\n", errorOutput: "", code: 0 });
  // Programs open their streams again by name: a pipe lets them.
  const again = await exec(kurmad, "web", ["sh", "-c", "echo x >/dev/stdout; echo y >/dev/stderr"]);
  assertEquals([again.output, again.errorOutput], ["x\n", "y\n"]);
  const terminal = await exec(kurmad, "web", ["sh", "-c", "stty size; tty"], undefined, {
    terminal: true,
    terminalSize: { rows: 33, columns: 111 },
  });
  assert(terminal.output.startsWith("33 111\r\n/dev/pts/"), terminal.output);
  const large = await exec(kurmad, "web", ["sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"]);
  assertEquals(large.output.length, 3_000_000);
  const missing = await rejection(exec(kurmad, "web", ["/no/such"]));
  assert(missing.message.includes("ENOENT"), missing.message);
});

kurmadTest("attach shows what is printed and types, enter opens a shell", async (kurmad) => {
  await run(kurmad, "cat", "while read line; do echo got $line; done", { openInput: true });
  using streams = await kurmad.api.streams();
  let shown = "";
  async function* typing() {
    yield {
      message: { case: "start" as const, value: { container: "cat", input: true, tail: 0 } },
    };
    yield { message: { case: "input" as const, value: bytes("hello\n") } };
    await until("an answer", () => Promise.resolve(shown.includes("got hello") || undefined));
    yield { message: { case: "closeInput" as const, value: true } };
  }
  for await (const { message } of streams.containers.attach(typing())) {
    if (message.case === "output") shown += text(message.value);
  }
  assertEquals(shown, "got hello\n");

  await run(kurmad, "web", "sleep 1000");
  let screen = "";
  async function* shell() {
    yield { message: { case: "start" as const, value: { container: "web", user: "app" } } };
    yield { message: { case: "input" as const, value: bytes("id -u; exit 5\n") } };
    await until("the end", () => Promise.resolve(screen.includes("1000\r\n") || undefined));
  }
  let code = -1;
  for await (const { message } of streams.containers.enter(shell())) {
    if (message.case === "output") screen += text(message.value);
    if (message.case === "exited") code = message.value.code;
  }
  assertEquals(code, 5, screen);
});

kurmadTest("logs follow over rotation, and every line comes once", async (kurmad) => {
  const lines = 4_000;
  const script = `i=0; while [ $i -lt ${lines} ]; do echo line $i; i=$((i+1)); ` +
    "[ $((i % 100)) = 0 ] && sleep 0.05; done";
  await run(kurmad, "talks", script, { log: { maxFileBytes: "20000", maxFiles: 5 } });
  using streams = await kurmad.api.streams();
  const seen: string[] = [];
  for await (const answer of streams.containers.logs({ container: "talks", follow: true })) {
    for (const line of answer.lines) seen.push(text(line.text));
  }
  assertEquals(seen, Array.from({ length: lines }, (_, n) => `line ${n}`));
  const last: string[] = [];
  for await (const answer of streams.containers.logs({ container: "talks", tail: 2 })) {
    for (const line of answer.lines) last.push(text(line.text));
  }
  assertEquals(last, [`line ${lines - 2}`, `line ${lines - 1}`]);
});

kurmadTest("files go in and out, running or not, and belong to the container", async (kurmad) => {
  await run(kurmad, "web", "sleep 1000");
  using streams = await kurmad.api.streams();
  await Deno.mkdir(`${kurmad.dir}/send/deep`, { recursive: true });
  await Deno.writeTextFile(`${kurmad.dir}/send/deep/file`, "content");
  await mustRun(["tar", "-C", `${kurmad.dir}/send`, "-cf", `${kurmad.dir}/send.tar`, "deep"]);
  const archive = await Deno.readFile(`${kurmad.dir}/send.tar`);
  async function* sent() {
    const value = { container: "web", path: "/tmp" };
    yield { message: { case: "start" as const, value } };
    yield { message: { case: "chunk" as const, value: archive } };
  }
  const received = async () => {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    const request = { container: "web", path: "/tmp/deep" };
    for await (const { message } of streams.containers.copyOut(request)) {
      if (message.case === "chunk") parts.push(new Uint8Array(message.value));
    }
    await Deno.writeFile(
      `${kurmad.dir}/back.tar`,
      new Uint8Array(await new Blob(parts).arrayBuffer()),
    );
    return await mustRun(["tar", "-xOf", `${kurmad.dir}/back.tar`, "deep/file"]);
  };
  await streams.containers.copyIn(sent());
  assertEquals(
    (await exec(kurmad, "web", ["stat", "-c", "%u:%g %n", "/tmp/deep/file"])).output,
    "0:0 /tmp/deep/file\n",
  );
  assertEquals(await received(), "content");
  await kurmad.api.call("Containers", "Stop", { container: "web" });
  assertEquals(await received(), "content");
});

kurmadTest("processes, use, limits and health are told and changed", async (kurmad) => {
  await run(kurmad, "web", "sleep 1000 & sleep 1000; wait", {
    healthCheck: { test: ["CMD", "test", "-e", "/well"], interval: "0.05s", retries: 2 },
  });
  const { processes = [] } = await kurmad.api.call("Containers", "Top", { container: "web" });
  assertEquals(processes.filter(({ command }) => command?.[0] === "sleep").length, 2);
  assertEquals(processes.map(({ uid }) => uid ?? 0).every((uid) => uid === 0), true);
  await kurmad.api.call("Containers", "Update", {
    container: "web",
    resources: { pids: 77, memoryBytes: String(64 * 1024 * 1024) },
  });
  using streams = await kurmad.api.streams();
  for await (const { stats } of streams.containers.stats({ containers: ["web"] })) {
    assertEquals([stats[0].pidsLimit, stats[0].memoryLimitBytes], [77n, 67_108_864n]);
  }
  const health = (wanted: string) =>
    until(`health ${wanted}`, async () => {
      const { container } = await kurmad.api.call("Containers", "Get", { container: "web" });
      return container?.health === wanted || undefined;
    });
  await health("HEALTH_UNHEALTHY");
  await exec(kurmad, "web", ["touch", "/well"]);
  await health("HEALTH_HEALTHY");
});

kurmadTest("stage2 killed: another takes over, and nothing stops", async (kurmad) => {
  await run(kurmad, "stays", "sleep 1000");
  const pidOf = async (container: string) =>
    (await kurmad.api.call("Containers", "Get", { container })).container?.pid;
  const before = await pidOf("stays");
  for (let round = 0; round < count(8, 100); round++) {
    const name = `next${round}`;
    Deno.kill(kurmad.stage2Pid(), "SIGKILL");
    await until("another stage2", async () => {
      return await run(kurmad, name, "exit 4").then(() => true, () => undefined);
    });
    assertEquals(await pidOf("stays"), before);
    const { exit } = await kurmad.api.call("Containers", "Wait", { container: name });
    assertEquals(exit?.code, 4, `In round ${round}`);
  }
  assertEquals((await exec(kurmad, "stays", ["echo", "here"])).output, "here\n");
});

kurmadTest("stage2 killed in the middle of starts leaves nothing of them", async (kurmad) => {
  const random = new Mutator(20_261_129);
  let refused = 0;
  for (let round = 0; round < count(20, 300); round++) {
    const starts = Array.from({ length: 3 }, (_, each) => {
      return run(kurmad, `web${round}-${each}`, "exit 4").catch(() => refused++);
    });
    await pause(random.below(20));
    Deno.kill(kurmad.stage2Pid(), "SIGKILL");
    // Then nobody is left who knows what was being made.
    if (round % 3 === 0) await kurmad.killed();
    await Promise.all(starts);
    await until("another stage2", () => {
      return run(kurmad, `next${round}`, "exit 4").then(() => true, () => undefined);
    });
    for (const { id } of await kurmad.list()) {
      await kurmad.api.call("Containers", "Remove", { container: id, force: true });
    }
  }
  assert(refused > 0, "None was killed during its start");
});

kurmadTest(
  "a pod of three apps from a manifest shares what it should, and restarts one by policy",
  async (kurmad) => {
    const { aci } = await images();
    const id = (await mustRun([
      ...[binary, "image", "import", "--root", `${kurmad.dir}/state`, aci],
    ])).trim();
    const app = (name: string, script: string) => ({
      name,
      image: { id },
      app: { exec: ["/bin/sh", "-c", script], user: "0", group: "0" },
    });
    const manifest = {
      acVersion: "0.8.11",
      acKind: "PodManifest",
      apps: [
        app("server", "echo one >/own; while :; do echo pong | nc -l -p 7777; done"),
        app("client", "sleep 1000"),
        app("crash", "sleep 0.2; exit 3"),
      ],
    };
    await kurmad.api.call("Pods", "Create", { name: "trio", manifest: JSON.stringify(manifest) });
    // A manifest has no word for it.
    await kurmad.api.call("Containers", "Update", {
      container: "trio-crash",
      restart: { mode: "MODE_ON_FAILURE", maxRetries: 1 },
    });
    await kurmad.api.call("Pods", "Start", { pod: "trio" });
    const spaces = async (name: string) => {
      const { output } = await exec(kurmad, name, [
        "sh",
        "-c",
        "cd /proc/self/ns; for n in net ipc uts mnt pid user; do readlink $n; done",
      ]);
      return output.trim().split("\n");
    };
    const [server, client] = [await spaces("trio-server"), await spaces("trio-client")];
    assertEquals(client.slice(0, 3), server.slice(0, 3));
    assertEquals(client[5], server[5]);
    for (const own of [3, 4]) assert(client[own] !== server[own], `${own}`);
    assertEquals((await exec(kurmad, "trio-client", ["nc", "127.0.0.1", "7777"])).output, "pong\n");
    assertEquals((await exec(kurmad, "trio-client", ["hostname"])).output, "trio\n");
    assertEquals((await exec(kurmad, "trio-client", ["cat", "/own"])).code, 1);
    const crash = await until("the second end", async () => {
      const { container } = await kurmad.api.call("Containers", "Get", { container: "trio-crash" });
      return container?.restarts === 1 && container.state === "CONTAINER_STATE_EXITED"
        ? container
        : undefined;
    });
    assertEquals(crash.exit?.code, 3);
    const pid = async (name: string) =>
      (await kurmad.api.call("Containers", "Get", { container: name })).container?.pid;
    const before = await pid("trio-server");
    assert(before !== undefined);
    await kurmad.killed();
    assertEquals(await pid("trio-server"), before);
    await kurmad.api.call("Pods", "Stop", { pod: "trio", timeout: "1s" });
    const { pod } = await kurmad.api.call("Pods", "Get", { pod: "trio" });
    assertEquals(pod?.state, "CONTAINER_STATE_EXITED");
  },
);

kurmadTest("volumes outlive their containers", async (kurmad) => {
  const mounts = [{ target: "/data", volume: { name: "data" } }];
  await run(kurmad, "writer", "echo kept >/data/file", { mounts });
  await kurmad.api.call("Containers", "Wait", { container: "writer" });
  const busy = await rejection(kurmad.api.call("Volumes", "Remove", { volume: "data" }));
  assert(busy.message.includes("writer has it"), busy.message);
  await kurmad.api.call("Containers", "Remove", { container: "writer" });
  await run(kurmad, "reader", "cat /data/file; ! echo x >/data/y", {
    mounts: [{ target: "/data", readOnly: true, volume: { name: "data" } }],
  });
  const { exit } = await kurmad.api.call("Containers", "Wait", { container: "reader" });
  assertEquals(exit?.code ?? 0, 0);
  await kurmad.api.call("Containers", "Remove", { container: "reader" });
  await kurmad.api.call("Volumes", "Remove", { volume: "data" });
  assertEquals((await kurmad.api.call("Volumes", "List", {})).volumes ?? [], []);
});

kurmadTest("events tell of images and of the daemon too", async (kurmad) => {
  await kurmad.api.call("System", "Reload", {});
  using streams = await kurmad.api.streams();
  const { aci } = await images();
  const archive = await Deno.readFile(aci);
  async function* sent() {
    yield { message: { case: "start" as const, value: { name: "example.com/told" } } };
    for (let at = 0; at < archive.length; at += 65_536) {
      const value = archive.subarray(at, at + 65_536);
      yield { message: { case: "chunk" as const, value } };
    }
  }
  let imported = "";
  for await (const { message } of streams.images.import(sent())) {
    if (message.case === "image") imported = message.value.id;
  }
  await kurmad.api.call("Images", "Tag", { image: imported, name: "told:1" });
  await kurmad.api.call("Images", "Remove", { image: imported });
  const told = (await kurmad.told()).map(({ action, name, id }) => [action, name, id]);
  assertEquals(told, [
    ["reload", "kurmad", ""],
    ["import", "example.com/told", imported],
    ["tag", "docker.io/library/told:1", imported],
    ["remove", "", imported],
  ]);
});

kurmadTest("a list of 500 containers is quick", async (kurmad) => {
  const total = count(100, 500);
  for (let n = 0; n < total; n++) {
    await kurmad.api.call("Containers", "Create", {
      name: `c${n}`,
      image: kurmad.image,
      settings: { command: ["true"] },
    });
  }
  const times: number[] = [];
  for (let round = 0; round < 20; round++) {
    const begun = performance.now();
    const { containers = [] } = await kurmad.api.call("Containers", "List", {});
    times.push(performance.now() - begun);
    assertEquals(containers.length, total);
  }
  times.sort((a, b) => a - b);
  console.log(`list of ${total}: ${times[10].toFixed(1)} ms at p50`);
  assert(times[10] < 50, `${times[10]} ms`);
});

kurmadTest("churn leaves kurmad as it was", async (kurmad) => {
  const cycle = async () => {
    await run(kurmad, "churn", "true");
    await kurmad.api.call("Containers", "Remove", { container: "churn", force: true });
  };
  const heap = async () => {
    const text = await (await fetch(`http://${metrics}/metrics`)).text();
    return Number(/^process_heap_bytes (\d+)$/m.exec(text)?.[1]);
  };
  /** What is left when garbage has just been collected: the least that is seen now and then. */
  const least = async (cycles: number) => {
    let bytes = Infinity;
    for (let n = 0; n < cycles; n++) {
      await cycle();
      if (n % 5 === 0) bytes = Math.min(bytes, await heap());
    }
    const status = Deno.readTextFileSync(`/proc/${kurmad.pid}/status`);
    const files = [...Deno.readDirSync(`/proc/${kurmad.pid}/fd`)].length;
    return { bytes, files, rssKb: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) };
  };
  // Until as many events are kept as ever will be.
  for (let n = 0; n < count(10, 1_100); n++) await cycle();
  const before = await least(count(40, 1_500));
  const cycles = count(60, 10_000);
  for (let n = 0; n < cycles; n++) await cycle();
  const after = await least(count(40, 1_500));
  const grown = (key: keyof typeof before) => after[key] - before[key];
  console.log(
    `${cycles} cycles: the heap grew by ${(grown("bytes") / 1e6).toFixed(2)} MB, ` +
      `resident memory by ${(grown("rssKb") / 1e3).toFixed(1)} MB, files by ${grown("files")}`,
  );
  // The short run has not kept all events yet, nor collected all garbage.
  assert(grown("bytes") < count(8e6, 1e6), JSON.stringify({ before, after }));
  assert(after.files <= before.files + 2, JSON.stringify({ before, after }));
}, { flags: [`--metrics-address=${metrics}`] });
