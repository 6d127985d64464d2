/**
 * The commands that ask a daemon: each one's main path and its commonest mistake, as whole
 * processes against one daemon, and once without any.
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, run, test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { Line } from "./line.ts";

/** Parts of what is to be shown, in the order in which a newcomer would meet them. */
const stories: Record<string, (line: Line) => Promise<void>> = {
  async "create, start, list and show"(line) {
    const { image } = line.kurmad;
    const id = await line.says([
      ...["create", "--name", "web", "-e", "A=1", "-l", "app=shop", "-m", "64m", "-w", "/tmp"],
      ...["--stop-timeout", "2s", image, "sleep", "1000"],
    ]);
    assertMatch(id, /^[0-9a-f]{32}$/);
    assertEquals(await line.says(["list"]), "NAME  ID  IMAGE  STATUS  CREATED");
    assertMatch(await line.says(["ps", "-a"]), /\nweb +[0-9a-f]{12} .* new +\S.*$/);
    assertEquals(await line.says(["start", "web"]), "web");
    assertMatch(await line.says(["list"]), /\nweb +[0-9a-f]{12} .* running +/);
    assertEquals(await line.says(["list", "-q"]), id);
    assertEquals(await line.says(["list", "-o", "name"]), "web");
    const [listed] = await line.json("list");
    assertEquals([listed.id, listed.name, listed.state], [id, "web", "CONTAINER_STATE_RUNNING"]);
    assertMatch(await line.says(["list", "-o", "yaml"]), /^- id: [^]*name: web/);
    assertMatch(await line.says(["list", "-o", "wide"]), /^NAME.* PID +RESTARTS +POD\n/);
    assertEquals(await line.says(["list", "--filter", "label=app=shop", "-o", "name"]), "web");
    assertEquals(await line.says(["list", "--filter", "label=app=other", "-o", "name"]), "");
    assertEquals(await line.says(["list", "--filter", "name=we", "-o", "name"]), "web");
    assertEquals(await line.says(["list", "--filter", "status=exited", "-o", "name"]), "");
    assertEquals(
      await line.says(["list", "--format", "{{.Name}} {{.settings.labels.app}}"]),
      "web shop",
    );
    const shown = await line.json("show", "web");
    assertEquals([shown.settings.workingDir, shown.settings.resources.memoryBytes], [
      "/tmp",
      "67108864",
    ]);
    assert(shown.settings.env.includes("A=1"));
    assertEquals(await line.says(["inspect", id.slice(0, 8), "-f", "{{.name}}"]), "web");
    assertEquals(JSON.parse(await line.says(["show", "web", "--plan"])).config.hostname, "web");

    await line.fails(3, /^kurma: Cannot find container "wbe": there is none\. List /, [
      "show",
      "wbe",
    ]);
    await line.fails(2, /Cannot use "color=red" for --filter\. Write KIND=VALUE/, [
      ...["list", "--filter", "color=red"],
    ]);
    await line.fails(2, /Cannot use "\{\{name\}\}" for --format\./, [
      ...["list", "--format", "{{name}}"],
    ]);
    await line.fails(4, /"web"/, ["create", "--name", "web", image]);
    await line.fails(2, /Unknown flag -p\. No port is forwarded/, ["create", "-p", "80", image]);
    await line.fails(3, /./, ["create", "--pull", "never", "nowhere.example/none"]);
  },

  async "stop, restart, kill, wait and rm"(line) {
    await line.started("one", "trap 'exit 3' INT; while :; do sleep 0.1; done");
    await line.started("two", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    await line.fails(4, /"one".*\. .*force/i, ["rm", "one"]);
    assertEquals(await line.says(["restart", "--time", "1s", "two"]), "two");
    assertEquals(await line.says(["stop", "--signal", "INT", "one", "two"]), "one\ntwo");
    assertEquals(await line.says(["wait", "one"]), "3");
    assertEquals(await line.says(["start", "one"]), "one");
    assertEquals(await line.says(["kill", "one"]), "one");
    assertEquals(await line.says(["wait", "one"]), "137");
    await line.fails(4, /"one"/, ["kill", "one"]);
    await line.fails(2, /NOSUCH/, ["kill", "-s", "NOSUCH", "one"]);
    const { status, stdout, stderr } = await line.run(["rm", "one", "none", "two"]);
    assertEquals([status, stdout], [3, "one\ntwo\n"]);
    assertMatch(stderr, /^kurma: Cannot find container "none": .*\n$/);
    await line.fails(3, /Cannot find container "none"/, ["start", "none"]);
    await line.fails(3, /Cannot find container "none"/, ["stop", "none"]);
    await line.fails(2, /stop needs a CONTAINER/, ["stop"]);
  },

  async "pause, resume and rename"(line) {
    await line.started("still", "sleep 1000");
    assertEquals(await line.says(["pause", "still"]), "still");
    assertMatch(await line.says(["list", "-f", "status=paused"]), /running \(paused\)/);
    assertEquals(await line.says(["unpause", "still"]), "still");
    assertEquals(await line.says(["list", "-q", "--filter", "status=paused"]), "");
    assertEquals(await line.says(["rename", "still", "moved"]), "moved");
    await line.fails(3, /"still"/, ["pause", "still"]);
    await line.fails(2, /Cannot name a container/, ["rename", "moved", "not a name"]);
    assertEquals(await line.says(["rm", "-f", "moved"]), "moved");
    await line.fails(3, /"moved"/, ["resume", "moved"]);
  },

  async "version and status"(line) {
    const { server, kurma } = await line.json("version");
    assertEquals([server.kurma, server.api], [kurma, "kurma.v1"]);
    assertMatch(await line.says(["version"]), /^kurma .*[^]*\nserver-kurma .*[^]*server-api kurma/);
    assertMatch(await line.says(["status"]), /^Hostname .*[^]*\nContainers +1 running\n/);
    const status = await line.json("status");
    assertEquals(status.containers, { RUNNING: 1 });
  },

  async "exec and enter"(line) {
    assertEquals(
      await line.run(["exec", "web", "sh", "-c", "echo out; echo err >&2; exit 7"]),
      { status: 7, stdout: "out\n", stderr: "err\n" },
    );
    const typed = "x".repeat(200_000);
    const counted = await line.says(["exec", "-i", "web", "wc", "-c"], { stdin: typed });
    assertEquals(counted, "200000");
    assertEquals(
      await line.says([
        ...["exec", "-e", "B=2", "-w", "/", "-u", "app", "web"],
        ...["sh", "-c", "echo $A$B; pwd; id -u"],
      ]),
      "12\n/\n1000",
    );
    assertEquals(await line.says(["exec", "-d", "web", "touch", "/tmp/done"]), "");
    const { stdout } = await line.run(["exec", "-t", "web", "sh", "-c", "tty"]);
    assertMatch(stdout, /^\/dev\/pts\/\d+\r\n$/);
    const shell = await line.run(["enter", "--user", "app", "web"], { stdin: "id -u; exit 5\n" });
    assertEquals(shell.status, 5, shell.stderr);
    assertMatch(shell.stdout, /1000\r\n/);
    const other = await line.run(["enter", "web", "sh", "-c", "exit 6"], { stdin: "" });
    assertEquals(other.status, 6, other.stderr);
    await line.fails(125, /Cannot find container "none"/, ["exec", "none", "true"]);
    await line.fails(127, /^kurma: Cannot exec "\/no\/such": ENOENT\. Look for it/, [
      ...["exec", "web", "/no/such"],
    ]);
    await line.fails(126, /EACCES/, ["exec", "web", "/etc/marker"]);
    await line.fails(125, /exec needs a COMMAND/, ["exec", "web"]);
    await line.fails(125, /Cannot find container "none"/, ["enter", "none"]);
  },

  async "a terminal is raw meanwhile, and as it was afterwards"(line) {
    const script = [
      "stty rows 40 cols 90; before=$(stty -g)",
      `"${binary}" exec -it web sh -c 'stty size; read -r key; echo "read $key"'`,
      '[ "$before" = "$(stty -g)" ] && echo as it was',
    ].join("; ");
    const typescript = await run(["script", "-qec", script, "/dev/null"], {
      stdin: "key\r",
      env: { KURMA_HOST: line.kurmad.api.host },
    });
    assertMatch(typescript.stdout, /40 90\r+\n[^]*read key\r+\n[^]*as it was/);
  },

  async "attach"(line) {
    await line.started("cat", "while read -r line; do echo got $line; done; exit 4", "-i");
    const attached = line.start(["attach", "cat"], { stdin: "open" });
    await attached.write("hello\n");
    await attached.says(/got hello\n/);
    attached.signal("SIGINT");
    assertEquals((await attached.output).status, 130);
    assertEquals(await line.says(["list", "--filter", "name=cat", "-o", "name"]), "cat");
    await line.fails(125, /Cannot find container "none"/, ["attach", "none"]);
    assertEquals(await line.says(["rm", "-f", "cat"]), "cat");
  },

  async "logs and events"(line) {
    const begun = new Date().toISOString();
    await line.started("talks", "for i in 1 2 3; do echo line $i; done; echo bad >&2; sleep 0.3");
    assertEquals(await line.run(["logs", "--follow", "talks"]), {
      status: 0,
      stdout: "line 1\nline 2\nline 3\n",
      stderr: "bad\n",
    });
    assertEquals(await line.says(["logs", "-n", "2", "--stream", "stdout", "talks"]), "line 3");
    assertMatch(
      await line.says(["logs", "-t", "--stream", "stdout", "--since", begun, "talks"]),
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z line 1\n/,
    );
    assertEquals(await line.says(["logs", "--until", begun, "talks"]), "");
    await line.fails(2, /Cannot use "few" for --tail/, ["logs", "--tail", "few", "talks"]);
    await line.fails(3, /Cannot find container "none"/, ["logs", "none"]);

    const past = ["--since", begun, "--until", "0s", "--filter", "name=talks"];
    const told = await line.says(["events", ...past]);
    assertMatch(told, /container create talks[^]*container start talks[^]*container exit talks/);
    const exits = await line.says(["events", ...past, "-f", "event=exit", "-o", "json"]);
    assertEquals(JSON.parse(exits).name, "talks");
    await line.fails(2, /Cannot use "kind=x" for --filter/, ["events", "-f", "kind=x"]);
    assertEquals(await line.says(["rm", "talks"]), "talks");
  },

  async "top, stats, update and prune"(line) {
    assertMatch(await line.says(["top", "web"]), /^ *PID +INSIDE [^]* 0\.\d\ds [^]* sleep 1000$/);
    const processes = await line.json("top", "web");
    const sleeper = processes.find((process: { command: string[] }) =>
      process.command.join(" ") === "sleep 1000"
    );
    assertMatch(await Deno.readTextFile(`/proc/${sleeper.pid}/cmdline`), /^sleep\0/);
    await line.fails(3, /Cannot find container "none"/, ["top", "none"]);

    assertMatch(await line.says(["stats"]), /^NAME +CPU +MEMORY [^]*\nweb .* 64\.0 MiB /);
    const update = ["update", "--memory", "128m", "-l", "app=other", "--restart", "on-failure:2"];
    assertEquals(await line.says([...update, "web"]), "web");
    const [used] = await line.json("stats", "web");
    assertEquals([used.name, used.memoryLimitBytes], ["web", String(128 << 20)]);
    const { settings } = await line.json("show", "web");
    assertEquals([settings.labels, settings.restart], [
      { app: "other" },
      { mode: "MODE_ON_FAILURE", maxRetries: 2 },
    ]);
    await line.fails(2, /no change is named/, ["update", "web"]);
    await line.fails(3, /Cannot find container "none"/, ["update", "-m", "1g", "none"]);
    await line.fails(3, /Cannot find container "none"/, ["stats", "none"]);

    const id = await line.says(["create", "--name", "over", line.kurmad.image, "true"]);
    assertEquals(await line.says(["prune", "--label", "app=none"]), "");
    assertEquals(await line.says(["prune", "--until", "1h"]), "");
    assertEquals(await line.says(["prune"]), id);
    assertEquals(await line.says(["list", "-a", "-o", "name"]), "web");
    await line.fails(2, /Nothing is asked; leave it out/, ["prune", "-f"]);
  },

  async "names complete"(line) {
    assertMatch(await line.says(["complete", "stop", "we"]), /^none\nweb\tA container, running/);
    assertEquals(await line.says(["complete", "stop", "zz"]), "none");
  },

  async "a host by flag and by variable"(line) {
    const socket = line.kurmad.api.host;
    for (const host of [socket, `unix://${socket}`, "./kurma.sock"]) {
      const env = { KURMA_HOST: "" };
      assertEquals(await line.says(["-H", host, "list", "-o", "name"], { env }), "web");
      assertEquals(await line.says(["list", "-o", "name", "--host", host], { env }), "web");
      // As the first Kurma took it.
      assertEquals(await line.says(["LIST", "-o", "name", "-host", host], { env }), "web");
    }
    await line.fails(2, /Cannot use "ftp:\/\/a" as a host/, ["-H", "ftp://a", "list"]);
    await line.fails(2, /Cannot use -H and --context together/, [
      ...["-H", socket, "--context", "default", "list"],
    ]);
    await line.fails(7, /Cannot reach "tcp:\/\/127\.0\.0\.1:12312": ECONNREFUSED/, [
      ...["-H", "127.0.0.1", "list"],
    ]);
  },
};

test("the command line of a daemon", async ({ dir }) => {
  await using kurmad = await Kurmad.start(dir);
  const line = new Line(kurmad);
  for (const [name, tell] of Object.entries(stories)) {
    const begun = performance.now();
    await tell(line);
    console.log(`${name}: ${Math.round(performance.now() - begun)} ms`);
  }
  await kurmad.quit();
});

test("without a daemon, commands say how to start one", async ({ dir, kurma }) => {
  const socket = `${dir}/none.sock`;
  for (const args of [["list"], ["stop", "web", "db"], ["status"], ["version"]]) {
    assertEquals(await kurma([...args, "-H", socket]), {
      status: 7,
      stdout: "",
      stderr: `kurma: Cannot reach kurmad at "${socket}": ENOENT. ` +
        "Start it as root, with kurma daemon or systemctl start kurmad, or name its socket with -H\n",
    }, args.join(" "));
  }
  assertEquals((await kurma(["version"])).status, 0);
});
