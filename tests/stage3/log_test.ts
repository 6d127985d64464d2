import { assert, assertEquals, assertMatch } from "../assert.ts";
import { count, mustRun, test } from "../harness.ts";
import { launch, Launched, pause } from "./launched.ts";
import { children } from "./by_hand.ts";

const recordFormat = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] /;

/** The files of a log in `folder`, the oldest first. */
async function files(folder: string): Promise<string[]> {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => /^log(\.\d+)?$/.test(name));
  const age = (name: string) => Number(name.split(".")[1] ?? 0);
  names.sort((a, b) => age(b) - age(a));
  return await Promise.all(names.map((name) => Deno.readTextFile(`${folder}/${name}`)));
}

/** The lines that a stream printed, by a log's records. */
function lines(log: readonly string[], stream: string): string[] {
  const found: string[] = [];
  let line = "";
  for (const record of log.join("").split("\n").slice(0, -1)) {
    assertMatch(record, recordFormat);
    if (record.slice(31, 37) !== stream) continue;
    line += record.slice(40);
    if (record[38] === "P") continue;
    found.push(line);
    line = "";
  }
  return found;
}

test("each line of the main process is a record with time and stream", async ({ dir }) => {
  const before = new Date().toISOString();
  await launch(["--log", dir], [
    "sh",
    "-c",
    "echo one; sleep 0.1; echo two >&2; sleep 0.1; printf three",
  ]);
  const [log, ...none] = await files(dir);
  assertEquals(none, []);
  const records = log.split("\n");
  assertEquals(records.map((record) => record.slice(31)), [
    "stdout F one",
    "stderr F two",
    "stdout P three",
    "",
  ]);
  const times = records.slice(0, 3).map((record) => record.slice(0, 30));
  assert(before < times[0] && times[0] < times[1] && times[1] <= times[2], times.join());
  assertEquals((await Deno.stat(`${dir}/log`)).mode! & 0o777, 0o640);
});

test("no line is lost or torn over hundreds of rotations", async ({ dir }) => {
  const last = count(300_000, 5_000_000);
  const size = count(100_000, 2_000_000);
  const options = ["--log", dir, "--log-size", String(size), "--log-files", "999"];
  await launch(options, ["sh", "-c", `seq 1 ${last} & seq 1 ${last} >&2; wait`]);
  const log = await files(dir);
  assert(log.length > 100, `${log.length} files`);
  for (const file of log) assert(file.length <= size && file.endsWith("\n"));
  for (const stream of ["stdout", "stderr"]) {
    const found = lines(log, stream);
    assertEquals(found.length, last);
    assertEquals(found.findIndex((line, index) => line !== String(index + 1)), -1);
  }
});

test("the log keeps three files of 10 MiB unless told otherwise", async ({ dir }) => {
  await launch(["--log", dir], [
    "sh",
    "-c",
    "head -c 60000000 /dev/zero | tr '\\0' 'x' | fold -w 100",
  ]);
  const sizes = (await files(dir)).map(({ length }) => length);
  assertEquals(sizes.length, 3);
  for (const size of sizes) assert(size <= 10 * 1024 * 1024, sizes.join());
  assert(sizes[0] > 10 * 1024 * 1024 - 100_000, sizes.join());
});

test("a full disk costs lines, which are counted, and not the container", async ({ dir }) => {
  await mustRun(["mount", "-t", "tmpfs", "-o", "size=1m", "small", dir]);
  try {
    const script =
      `seq 1 200000; touch "$1/going-on"; while [ ! -e "$1/space" ]; do sleep 0.01; done
      echo first after; echo last; exit 4`;
    await Deno.writeFile(`${dir}/ballast`, new Uint8Array(300_000));
    const command = ["sh", "-c", script, "sh", "/dev/shm"];
    const { process } = await Launched.start(["--log", dir], command);
    while (!await exists("/dev/shm/going-on")) await pause(10);
    const full = (await files(dir)).join("");
    assert(full.endsWith("\n"), "a torn line at the end of the full disk");
    await Deno.remove(`${dir}/ballast`);
    await Deno.writeTextFile("/dev/shm/space", "");
    assertEquals((await process.output).status, 4);

    const log = await files(dir);
    const kept = lines(log, "stdout");
    const markers = lines(log, "stderr");
    assertEquals(kept.slice(-2), ["first after", "last"]);
    const lost = markers.map((marker) =>
      Number(/^kurma: (\d+) lines of output lost here: ENOSPC$/.exec(marker)?.[1])
    );
    assert(lost.length > 0);
    assertEquals(kept.length - 2 + lost.reduce((sum, lines) => sum + lines, 0), 200_000);
  } finally {
    await mustRun(["umount", dir]);
    await mustRun(["rm", "-f", "/dev/shm/going-on", "/dev/shm/space"]);
  }
});

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

test("the log is fast: a line costs its writer little", async ({ dir }) => {
  const bytes = count(200, 2000) * 1_000_000;
  // 100 bytes a line, as fast as a pipe takes them.
  const line = "x".repeat(99);
  const script = `yes ${line} | head -c ${bytes}`;
  const started = performance.now();
  await launch(["--log", dir, "--log-files", "2"], ["sh", "-c", script]);
  const rate = bytes / 1e6 / ((performance.now() - started) / 1000);
  console.log(`log: ${rate.toFixed(0)} MB/s of 100-byte lines`);
  assert(rate > 50, `${rate} MB/s`);
});

test("who still prints when the main process ends does not hold the container", async ({ dir }) => {
  const script = "setsid sh -c 'while :; do echo noise; done' & sleep 0.1; echo last words; exit 6";
  const { process, pid } = await Launched.start(["--log", dir], ["sh", "-c", script]);
  assertEquals(children(process.pid), [pid]);
  assertEquals((await process.output).status, 6);
  assert(lines(await files(dir), "stdout").includes("last words"));
});
