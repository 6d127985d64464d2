/** `kurma doctor`: with and without a daemon, what it finds, and what it leaves alone. */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { type Output, type Scratch, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { exists, until } from "../stage2/served.ts";

interface Told {
  check: string;
  state: string;
  finding: string;
  meaning?: string;
  fix?: string;
}

/** Where this world's processes are, in a hierarchy that both versions of cgroups have. */
function ownCgroup(): string {
  const lines = Deno.readTextFileSync("/proc/self/cgroup").trim().split("\n");
  const pids = lines.find((line) => line.split(":")[1] === "pids");
  const path = (pids ?? lines.find((line) => line.startsWith("0::")) ?? "").split(":")[2];
  return `/sys/fs/cgroup/${pids === undefined ? "" : "pids/"}${path}`.replace(/\/+$/, "");
}

/** What is about this world, and not about the machine around it. */
const ours = ["state", "daemon", "leftovers"];

/** What `kurma doctor` finds below `dir`; `odd` is what is of ours and not ok. */
async function found({ dir, kurma }: Pick<Scratch, "dir" | "kurma">, ...flags: string[]) {
  const output: Output = await kurma(
    ["doctor", "--root", `${dir}/state`, "-o", "json", ...flags],
    { env: { KURMA_HOST: `${dir}/kurma.sock` } },
  );
  assertEquals(output.stderr, "");
  const told: Told[] = JSON.parse(output.stdout);
  const odd = told.filter(({ state, check }) => state !== "ok" && ours.includes(check))
    .map(({ finding }) => finding);
  const removed = told.filter(({ check }) => check === "fix").map(({ finding }) => finding).sort();
  return { status: output.status, told, odd, removed };
}

test("kurma doctor needs no daemon, and its status says whether something is bad", async (scratch) => {
  const { dir, kurma } = scratch;
  const { status, told, odd } = await found(scratch);
  assertEquals([status, odd], [0, []]);
  for (const check of ["kernel", "cgroups", "ids", "state", "daemon", "leftovers"]) {
    assert.ok(told.some((each) => each.check === check), check);
  }
  assert.ok(!await exists(`${dir}/state`), "it makes nothing");

  await Deno.mkdir(`${dir}/state`);
  await Deno.chmod(`${dir}/state`, 0o755);
  const open = await found(scratch);
  assertEquals(open.status, 4);
  assertMatch(open.odd[0], /open to others: its mode is 0755/);
  const { status: asText, stdout } = await kurma(["doctor", "--root", `${dir}/state`]);
  assertEquals(asText, 4);
  assertMatch(stdout, /\nbad {3}state .*\n +They can read .*\n +Close it: chmod 700/);
  await Deno.chmod(`${dir}/state`, 0o700);
  assertEquals((await found(scratch)).status, 0);

  const { status: refused, stderr } = await kurma(["doctor", "--dry-run"]);
  assertEquals(refused, 2);
  assertMatch(stderr, /Unknown flag --dry-run\. Nothing is changed without --fix/);
  const away = await kurma(["doctor", "-H", "ssh://ann@there.example"]);
  assertEquals(away.status, 2);
  assertMatch(away.stderr, /Cannot look at "ssh:.*: a doctor sees the machine that it is on\. Run/);
});

test("kurma doctor --fix removes what dead containers left, and nothing else", async (scratch) => {
  const { dir, kurma, start } = scratch;
  const { oci } = await images();
  const state = `${dir}/state`;
  const cgroup = ownCgroup();
  await Deno.mkdir(`${state}/runs/dead/upper/a`, { recursive: true, mode: 0o700 });
  await Deno.mkdir(`${cgroup}/kurma/dead/nested`, { recursive: true });
  const seen = await found(scratch);
  assertEquals([seen.status, seen.odd], [0, [
    `The folder of a dead container is "${state}/runs/dead"`,
    `The cgroup of a dead container is "${cgroup}/kurma/dead"`,
  ]]);
  assertEquals((await found(scratch)).odd, seen.odd, "looking removes nothing");

  const fixed = await found(scratch, "--fix");
  await Deno.remove(`${cgroup}/kurma`);
  assertEquals([fixed.status, fixed.odd], [0, []]);
  assertEquals(fixed.removed, [
    `Removed "${cgroup}/kurma/dead"`,
    `Removed "${state}/runs/dead"`,
  ]);

  // One that lives keeps what is its own, and those that start meanwhile come up.
  const args = ["--root", state, oci, "sh", "-c"];
  const living = start([
    "run",
    "--name",
    "living",
    ...args,
    "echo up; read line; cat /proc/self/stat",
  ], {
    stdin: "open",
  });
  await living.says(/up/);
  await Deno.mkdir(`${state}/runs/dead`, { mode: 0o700 });
  const [cleared, ...others] = await Promise.all([
    found(scratch, "--fix"),
    ...[1, 2, 3].map((each) => kurma(["run", "--name", `n${each}`, ...args, `exit ${each}`])),
    found(scratch, "--fix").then(() => ({ status: 4 })),
  ]);
  assertEquals(others.map(({ status }) => status), [1, 2, 3, 4]);
  assert.ok(!cleared.removed.some((text) => text.includes("living")), String(cleared.removed));
  assert.ok(await exists(`${state}/runs/living`) && !await exists(`${state}/runs/dead`));
  await living.write("\n");
  assertEquals((await living.output).status, 0);
  // Its cgroup goes a moment after it.
  await until("nothing left", async () => (await found(scratch)).odd.length === 0 || undefined);
});

test("kurma doctor with a daemon: its version, its stage2, folders that it does not know", async (scratch) => {
  const { dir } = scratch;
  await using kurmad = await Kurmad.start(dir);
  const { container: made } = await kurmad.api.call("Containers", "Create", {
    ...{ name: "web", image: kurmad.image, start: true },
    settings: { command: ["sleep", "1000"], stopTimeout: "1s" },
  });
  const well = await found(scratch);
  assertEquals([well.status, well.odd], [0, []]);
  assertMatch(
    well.told.find(({ check }) => check === "daemon")?.finding ?? "",
    /^kurmad .* answers/,
  );

  const stray = `${dir}/state/containers/${"f".repeat(32)}`;
  await Deno.mkdir(`${stray}/upper`, { recursive: true });
  const seen = await found(scratch, "--fix");
  assertEquals(seen.odd, [`No container is recorded for the folder "${stray}"`]);
  assert.ok(await exists(stray), "somebody may be making it");

  await kurmad.kill();
  const gone = await found(scratch);
  assertMatch(gone.odd[0], /^No daemon answers at .*: nobody listens/);
  assertEquals(gone.odd.slice(1), seen.odd);
  const fixed = await found(scratch, "--fix");
  assertEquals(fixed.removed, [`Removed "${stray}"`]);
  assert.ok(await exists(`${dir}/state/containers/${made?.id}`), "what is recorded stays");
  await kurmad.again();
  const { container } = await kurmad.api.call("Containers", "Get", { container: "web" });
  assertEquals(container?.state, "CONTAINER_STATE_RUNNING");
  await kurmad.quit();
});
