/**
 * What people and pipes see, as a whole: transcripts of commands on terminals 60, 80 and 200
 * columns wide, and in a pipe, beside what they were when somebody looked at them last.
 *
 * `KURMA_GOLDEN=write make test TESTS=tests/cli/golden_test.ts` writes the files in `golden/`
 * anew; git shows what has changed, and a reader whether it is to be so.
 */

import { DatabaseSync } from "node:sqlite";
import { paragraph } from "../../cmd/cli/doctor.ts";
import { painted, unpainted } from "../../cmd/colour.ts";
import type { Told } from "../../stage1/doctor/checks.ts";
import { assertEquals } from "../assert.ts";
import { binary, mustRun, run, test } from "../harness.ts";
import { layout } from "../images/layout_fixture.ts";
import { tar } from "../tar_fixture.ts";

const folder = new URL("./golden", import.meta.url).pathname;

/** What is typed, in this order, as a shell takes it. */
const lines = [
  "kurma list --all",
  "kurma list --all --output wide",
  "kurma ps --all --no-color",
  "kurma list --all --format '{{.name}} {{.pid}}'",
  "kurma list --all --output name",
  "kurma image list",
  "kurma image list --output wide",
  "kurma show nowhere",
  "kurma -H /nowhere/kurma.sock list",
  "kurma image show nowhere",
  "kurma lst",
  "kurma image lst",
  "kurma list --al",
  "kurma list --output tables",
  "kurma run --nmae web busybox",
  "kurma create -p 80:80",
  "kurma stop",
  "kurma",
  "kurma help top",
  "kurma run --help",
  "kurma create --help",
  "kurma image --help",
  "kurma help image import",
];

/** Half a minute more, so that what is said of it stays true for a while. */
const minutesAgo = (count: number) => new Date(Date.now() - (count + 0.5) * 60_000).toISOString();

/** What the daemon has now; the ids are as long as they are. */
const containers = () =>
  [
    { name: "db", state: "RUNNING", image: "postgres:16", startTime: minutesAgo(3), pid: 4242 },
    {
      ...{ name: "web-with-a-name-that-goes-on-and-on-and-on", state: "RUNNING", paused: true },
      image: "registry.example.com:5000/team/with-a-long-name/frontend:2031.12-rc.4",
      ...{ startTime: minutesAgo(180), health: "HEALTH_UNHEALTHY", pid: 4_194_303, restarts: 12 },
    },
    { name: "コンテナ", state: "RUNNING", image: "例え/アプリ", health: "HEALTH_HEALTHY", pid: 7 },
    { name: "evil\x1b[31m\r\nname", state: "STARTING", image: "\u202egpj.x\x07" },
    { name: "job", state: "EXITED", image: "busybox", exit: { code: 1, time: minutesAgo(9) } },
    { name: "done", state: "EXITED", image: "busybox", exit: { time: minutesAgo(9) } },
    { name: "off", state: "STOPPED", image: "busybox", exit: { code: 143, time: minutesAgo(9) } },
    { name: "new", state: "NEW", image: "busybox" },
  ].map((container, index) => ({
    ...container,
    id: `${index}`.repeat(32),
    state: `CONTAINER_STATE_${container.state}`,
    createTime: minutesAgo(1_500),
  }));

/** A daemon that has {@linkcode containers}, and knows no other. */
function serve(path: string): Deno.HttpServer<Deno.UnixAddr> {
  return Deno.serve({ path, onListen() {} }, ({ url }) => {
    if (url.endsWith("/List")) return Response.json({ containers: containers() });
    const detail = { code: "missing", causes: [], fix: "See kurma list --all" };
    return Response.json({
      code: "not_found",
      message: 'Cannot find container "nowhere"',
      details: [{ type: "kurma.v1.ErrorDetail", debug: detail }],
    }, { status: 404 });
  });
}

/** A store with two images that came a day ago. */
async function store(dir: string): Promise<string> {
  const root = `${dir}/state`;
  const archive = tar([{ name: "a", content: "a".repeat(1_500) }]);
  const names = [
    "busybox",
    "registry.example.com:5000/team/with-a-long-name/frontend:2031.12-rc.4",
  ];
  for (const [index, name] of names.entries()) {
    const path = await layout(`${dir}/${index}`, [archive], { config: { Cmd: [`/${index}`] } });
    await mustRun([binary, "image", "import", "--root", root, "--name", name, path]);
  }
  using database = new DatabaseSync(`${root}/images/images.db`);
  const then = Date.now() - 25 * 3_600_000;
  database.exec(`UPDATE images SET created = ${then}, used = ${then} + (record LIKE '%"/1"%')`);
  return root;
}

/** The same text, or what the file is to be from now on. */
async function golden(name: string, text: string): Promise<void> {
  const path = `${folder}/${name}.txt`;
  if (Deno.env.get("KURMA_GOLDEN") === "write") {
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(path, text);
  }
  assertEquals(text, await Deno.readTextFile(path), `${path} is not what is seen now`);
}

/** The commands with what they say, and their statuses; escape sequences are made visible. */
const script = lines.map((line) =>
  `printf '$ %s\n' '${line.replaceAll("'", `'"'"'`)}'; ${line}; printf '[%s]\n\n' "$?"`
).join("\n");

test("what is seen on terminals and in pipes is what it was", async ({ dir, kurma }) => {
  const root = await store(dir);
  await kurma(["install", "--symlinks", dir]);
  await using _daemon = serve(`${dir}/kurma.sock`);
  const env = {
    ...{ KURMA_ROOT: root, KURMA_HOST: `${dir}/kurma.sock`, PATH: `${dir}:/usr/bin:/bin` },
    // Whoever runs the tests may have set them.
    ...{ TERM: "xterm", NO_COLOR: "", FORCE_COLOR: "", CLICOLOR: "", CLICOLOR_FORCE: "" },
  };
  await Deno.writeTextFile(`${dir}/script`, script);
  for (const columns of [60, 80, 200]) {
    const { status, stdout } = await run(
      ["script", "-qec", `stty rows 50 cols ${columns}; sh '${dir}/script'`, "/dev/null"],
      { env, limitMs: 300_000 },
    );
    assertEquals(status, 0);
    const seen = stdout.replaceAll("\r\n", "\n").replaceAll("\x1b", "␛");
    await golden(`terminal-${columns}`, seen);
  }
  const { stdout } = await run(["sh", "-c", `exec 2>&1; . '${dir}/script'`], {
    env,
    limitMs: 300_000,
  });
  await golden("pipe", stdout.replaceAll("\x1b", "␛"));
});

const told: readonly Told[] = [
  { check: "kernel", state: "ok", finding: "Linux 6.12.1 has all calls that Kurma makes" },
  {
    ...{ check: "cgroups", state: "note" },
    finding: "The cgroup here cannot pass cpu, memory on: others are in it, or above it",
    meaning: "Limits of that kind are refused, and what containers use of it is not known",
    fix: "Let the daemon have a cgroup of its own: kurma install --systemd /etc/systemd/system",
  },
  {
    ...{
      check: "leftovers",
      state: "bad",
      finding: 'No container is recorded for "コンテナ\x1b[5m"',
    },
    fix: "Remove it: kurma doctor --fix",
  },
];

Deno.test("what kurma doctor shows is what it was", async () => {
  const widths = [60, 80, 200, undefined];
  const texts = widths.map((room) => {
    const paint = room === undefined ? unpainted : painted;
    const shown = told.map((each) => paragraph(each, room, paint)).join("\n");
    return `${room === undefined ? "a pipe" : `${room} columns`}\n${shown}\n`;
  });
  await golden("doctor", texts.join("\n").replaceAll("\x1b", "␛"));
});
