/** `kurma run` by a daemon: as without one, and what only a daemon can do. */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, mustRun, type Output, run, Running, type RunOptions, test } from "../harness.ts";
import { fill } from "../images/pulling.ts";
import { withRegistry } from "../images/registry.ts";
import { images } from "../images_fixture.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { until } from "../stage2/served.ts";

const { oci, guest } = await images();

/** `kurma run` by one daemon. */
class Line {
  constructor(readonly kurmad: Kurmad) {}

  get env(): Record<string, string> {
    return { KURMA_HOST: this.kurmad.socket };
  }

  run(...args: string[]): Promise<Output> {
    return run([binary, "run", ...args], { env: this.env });
  }

  start(args: readonly string[], options: RunOptions = {}): Running {
    return new Running([binary, "run", ...args], { ...options, env: this.env });
  }

  /** How a container is; undefined if there is none. */
  async state(container: string): Promise<string | undefined> {
    const { containers = [] } = await this.kurmad.api.call("Containers", "List", {});
    return containers.find(({ name }) => name === container)?.state;
  }

  /** Waits until a container is so. */
  async becomes(container: string, state: string | undefined): Promise<void> {
    await until(`${container} to be ${state}`, async () => {
      return await this.state(container) === state || undefined;
    });
  }
}

const stories: Record<string, (line: Line) => Promise<void>> = {
  async "streams and status are the command's"(line) {
    assertEquals(await line.run("--rm", oci, "sh", "-c", "echo out; echo err >&2; exit 7"), {
      status: 7,
      stdout: "out\n",
      stderr: "err\n",
    });
    assertEquals((await line.run("--rm", oci, "sh", "-c", "kill -9 $$")).status, 137);
    assertEquals((await line.run("--rm", oci)).stdout, "the image decides\n");
  },

  async "nothing that is written before the end is lost"(line) {
    const { stdout } = await line.run("--rm", oci, "seq", "100000");
    const numbers = stdout.trimEnd().split("\n");
    assertEquals([numbers.length, numbers[0], numbers.at(-1)], [100_000, "1", "100000"]);
    for (let times = 0; times < 10; times++) {
      assertEquals((await line.run("--rm", oci, "echo", "short")).stdout, "short\n");
    }
  },

  async "standard input and its end are passed on"(line) {
    const text = "0123456789abcde\n".repeat(65_536);
    const { stdout } = await line.start(["--rm", guest, "/guest", "echo"], { stdin: text }).output;
    assert(stdout === text, `${stdout.length} of ${text.length} characters came back`);
  },

  async "what cannot be executed is not left"(line) {
    const missing = await line.run("--name", "none", oci, "/no/such");
    assertMatch(
      missing.stderr,
      /^kurma: Cannot start "none": Cannot exec "\/no\/such": ENOENT\. Look for it in the image; /,
    );
    assertEquals([missing.status, (await line.run(oci, "/etc/marker")).status], [127, 126]);
    assertEquals(await line.state("none"), undefined);
    const refused = await line.run("-m", "64m", "--network", "bridge", oci);
    assertEquals(refused.status, 125);
    assertMatch(refused.stderr, /^kurma: Cannot use "bridge" for --network\. /);
  },

  async "a container stays until --rm or rm removes it, with all that it was made with"(line) {
    const env = ["-e", "A=1", "-l", "app=shop", "-m", "64m"];
    assertEquals((await line.run("--name", "kept", ...env, oci, "true")).status, 0);
    const { container } = await line.kurmad.api.call("Containers", "Get", { container: "kept" });
    const { labels, resources } = container?.settings ?? {};
    assertEquals([labels, resources?.memoryBytes], [{ app: "shop" }, String(64 << 20)]);
    assertEquals((await line.run("--name", "kept", oci, "true")).status, 125);
    // The name is free as soon as the command is over.
    for (let times = 0; times < 5; times++) {
      assertEquals((await line.run("--rm", "--name", "brief", oci, "true")).status, 0);
    }
  },

  async "-d prints the id and lets it run"(line) {
    const { status, stdout } = await line.run("-d", "--name", "web", oci, "sleep", "1000");
    assertEquals(status, 0);
    assertMatch(stdout, /^[0-9a-f]{32}\n$/);
    assertEquals(await line.state("web"), "CONTAINER_STATE_RUNNING");
    const output = await line.run("-d", "--name", "none", oci, "/no/such");
    assertEquals([output.status, output.stdout, await line.state("none")], [127, "", undefined]);
  },

  async "signals are passed on"(line) {
    for (const [name, number] of [["SIGINT", 2], ["SIGTERM", 15], ["SIGUSR1", 10]] as const) {
      const running = line.start(["--rm", guest, "/guest", "catch"]);
      await running.says(/^ready$/m);
      running.signal(name);
      assertEquals(await running.output, {
        status: 0,
        stdout: `ready\nsignal ${number}\n`,
        stderr: "",
      });
    }
  },

  async "who interrupts again leaves a command that does not end"(line) {
    const script = "trap 'echo heard' INT; echo ready; while :; do sleep 0.1; done";
    const running = line.start(["--rm", "--name", "stubborn", oci, "sh", "-c", script]);
    await running.says(/^ready$/m);
    running.signal("SIGINT");
    await running.says(/^heard$/m);
    running.signal("SIGINT");
    // On a slow machine that may be more than a second later: then it is the third that leaves.
    const ended = running.output.then(() => true);
    const heard = running.says(/heard\n[^]*heard\n/).then(() => false, () => true);
    if (!await Promise.race([ended, heard])) running.signal("SIGINT");
    const { status, stderr } = await running.output;
    assertEquals(status, 130);
    assertEquals(stderr, 'kurma: "stubborn" goes on; kurma attach stubborn comes back\n');
    assertEquals(await line.state("stubborn"), "CONTAINER_STATE_RUNNING");
    await line.kurmad.api.call("Containers", "Remove", { container: "stubborn", force: true });
  },

  async "it goes on without us, and --rm removes it all the same"(line) {
    const running = line.start(["--rm", "--name", "orphan", "-i", oci, "sleep", "1000"]);
    await line.becomes("orphan", "CONTAINER_STATE_RUNNING");
    running.signal("SIGKILL");
    await running.output;
    assertEquals(await line.state("orphan"), "CONTAINER_STATE_RUNNING");
    await line.kurmad.api.call("Containers", "Kill", { container: "orphan" });
    await line.becomes("orphan", undefined);
  },

  async "a command ends of which nobody reads the output"(line) {
    const script = `"$0" run --rm --name yes ${oci} yes | head -n 1; echo "\${PIPESTATUS[0]}"`;
    const { stdout } = await run(["bash", "-c", script, binary], { env: line.env });
    assertEquals(stdout, "y\n141\n");
    await line.becomes("yes", undefined);
  },

  async "an image that is not there is pulled, and how far it is is told"(line) {
    await withRegistry(line.kurmad.dir, { port: 5000 }, async () => {
      const image = "localhost:5000/busybox";
      await fill(image, oci);
      const never = await line.run("--pull", "never", image, "true");
      assertEquals(never.status, 125);
      assertMatch(never.stderr, /^kurma: Cannot find image "localhost:5000\/busybox": /);
      const first = await line.run("--rm", image, "echo", "hi");
      assertEquals([first.status, first.stdout], [0, "hi\n"]);
      assertMatch(
        first.stderr,
        /^(sha256:[0-9a-f]{12} {2}(unpacked|there already) {2}\S+ \S+\n){2}$/,
      );
      assertEquals(await line.run("--rm", image, "echo", "again"), {
        status: 0,
        stdout: "again\n",
        stderr: "",
      });
      const always = await line.run("--rm", "--pull", "always", image, "true");
      assertMatch(always.stderr, /^(\S+ {2}there already {2}.*\n){2}$/);
    });
    const missing = await line.run("localhost:5000/none", "true");
    assertEquals(missing.status, 125);
    assertMatch(missing.stderr, /^kurma: Cannot find image .* nor pull it/);
  },
};

test("kurma run by a daemon", async ({ dir }) => {
  await Deno.mkdir(`${dir}/config`);
  await Deno.writeTextFile(
    `${dir}/config/hosts.yaml`,
    "hosts:\n  localhost:5000: { plainHttp: true }\n",
  );
  await using kurmad = await Kurmad.start(dir, { flags: ["--images-config-directory=DIR/config"] });
  const line = new Line(kurmad);
  for (const [name, tell] of Object.entries(stories)) {
    const begun = performance.now();
    await tell(line);
    console.log(`${name}: ${Math.round(performance.now() - begun)} ms`);
  }
  await kurmad.quit();
});

test("kurma run goes to kurmad where it answers, and does without it otherwise", async ({ dir, kurma }) => {
  await Deno.mkdir("/run/kurma", { recursive: true });
  const socket = "/run/kurma/kurma.sock";
  /** Which of them ran it: a daemon limits what a container may use, by the cgroup it has. */
  const whose = async (args: readonly string[], env: Record<string, string> = {}) => {
    const { status, stderr } = await kurma([...args, "run", "-l", "a=b", "--rm", oci, "true"], {
      env,
    });
    if (status === 0) return "the daemon";
    assertMatch(stderr, /^kurma: Cannot use --label: it needs the daemon\. Start it with /);
    assertEquals(status, 125);
    return "nobody";
  };
  assertEquals(await whose([]), "nobody");
  {
    await using kurmad = await Kurmad.start(dir, { socket });
    assertEquals(await whose([]), "the daemon");
    assertEquals(await whose(["--no-daemon"]), "nobody");
    assertEquals(await whose(["--root", `${dir}/own`]), "nobody");
    assertEquals(await whose([], { KURMA_ROOT: `${dir}/own` }), "nobody");
    assertEquals(await whose(["-H", socket], { KURMA_ROOT: `${dir}/own` }), "the daemon");
    assertEquals(await whose(["--config", dir], { KURMA_HOST: socket }), "nobody");
    const both = await kurma(["-H", socket, "--root", dir, "run", oci]);
    assertEquals([both.status, both.stdout], [125, ""]);
    assertMatch(
      both.stderr,
      /^kurma: Cannot use --root with --host, the name of a daemon, which has its own\. /,
    );
    await kurmad.quit();
  }
  // What a daemon that was killed leaves answers nobody.
  await mustRun(["python3", "-c", `import socket; socket.socket(1).bind("${socket}")`]);
  assertEquals(await whose([]), "nobody");
  await Deno.remove("/run/kurma", { recursive: true });
  const none = await kurma(["-H", `${dir}/none.sock`, "run", oci]);
  assertEquals([none.status, none.stdout], [125, ""]);
  assertMatch(none.stderr, /^kurma: Cannot reach kurmad at .*none\.sock/);
});
