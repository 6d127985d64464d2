/**
 * The examples of the help, each run as it stands: what its command needs is there, by the
 * names that examples use.
 */

import { type Entry, isGroup } from "../../cmd/cli/command.ts";
import { top } from "../../cmd/cli/commands.ts";
import type { ApiClient } from "../../stage1/api/client.ts";
import { assert, assertEquals } from "../assert.ts";
import { mustRun, type Output, root, run, Running, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { until } from "../stage2/served.ts";

/** The commands whose examples are run here. */
const covered = [
  ...["", "run", "create", "start", "stop", "restart", "kill", "rm", "list", "show", "exec"],
  ...["enter", "attach", "logs", "events", "top", "stats", "update", "wait", "pause", "resume"],
  ...["rename", "prune", "status", "install", "completion", "version", "help", "complete"],
  ...["image", "image pull", "image push", "image import", "image list", "image show"],
  ...["image tag", "image export", "image rm", "image prune", "image verify"],
];

/** What asks somebody out there. */
const elsewhere = /registry\.example\.com|^kurma image pull /;

/** What ends when somebody types these keys. */
const typed: Record<string, string> = {
  "kurma run -it ./busybox.aci sh": "exit\r",
  "kurma exec -it web sh": "exit\r",
  "kurma enter web": "exit\r",
  "kurma enter --user app web": "exit\r",
  "kurma enter web top": "q",
};

/** What goes on until what it follows ends, or until it is interrupted. */
const follows: Record<string, "web ends" | "interrupt"> = {
  "kurma attach web": "web ends",
  "kurma attach --no-stdin --tail 10 web": "web ends",
  "kurma logs --follow --tail 20 web": "web ends",
  "kurma events": "interrupt",
  "kurma events -o json --filter name=web | jq --unbuffered .action": "interrupt",
};

/** Prints now and then, heeds SIGTERM and takes SIGHUP for what it is; `db` can be restored. */
const script = [
  "printf '#!/bin/sh\\ncat >/dev/null\\n' >/bin/restore; chmod +x /bin/restore",
  "trap 'exit 0' TERM INT; trap 'echo read again' HUP; while :; do echo tick; sleep 0.1; done",
].join("; ");

/** Lays a folder of our own over each that programs are installed to. */
const aside = `
  for place in etc usr/local mnt; do
    mkdir -p "$HOME/over/$place/upper" "$HOME/over/$place/work"
    below="lowerdir=/$place,upperdir=$HOME/over/$place/upper,workdir=$HOME/over/$place/work"
    mount -t overlay overlay -o "$below" "/$place"
  done
  mkdir -p /etc/bash_completion.d /etc/systemd/system
  exec "$@"
`;

/** All examples of the table, with the words that call their command. */
function* examples(path: string, entry: Entry): Generator<[path: string, line: string]> {
  for (const [line] of entry.examples) yield [path, line];
  if (!isGroup(entry)) return;
  for (const [word, each] of Object.entries(entry.commands)) {
    yield* examples(path === "" ? word : `${path} ${word}`, each);
  }
}

/** A place where each example finds what it is about. */
class World {
  readonly #api: ApiClient;
  /** Where the image of a name comes from, and its id. */
  #sources: Record<string, string> = {};
  readonly #ids = new Map<string, string>();

  constructor(readonly dir: string, readonly kurmad: Kurmad) {
    this.#api = kurmad.api;
  }

  /** Lays out files and images, once. */
  async furnish(): Promise<void> {
    const { aci, oci, docker, guest } = await images();
    const layout = oci.slice(0, oci.lastIndexOf(":"));
    await Deno.symlink(`${root}/dist/kurma`, `${this.dir}/kurma`);
    await Deno.mkdir(`${this.dir}/files`);
    await Deno.copyFile(aci, `${this.dir}/files/busybox.aci`);
    await Deno.copyFile(docker, `${this.dir}/files/app.tar`);
    await Deno.writeTextFile(`${this.dir}/files/dump.sql`, "-- nothing\n");
    await mustRun(["cp", "-a", layout, `${this.dir}/files/image`]);
    await mustRun(["umoci", "tag", "--image", `${this.dir}/files/image:busybox`, "latest"]);
    this.#sources = { "busybox": oci, "team/app:1.2": guest };
  }

  /** Gives images back the names, and brings back those, that a line before took away. */
  async #nameImages(): Promise<void> {
    for (const [name, source] of Object.entries(this.#sources)) {
      const image = this.#ids.get(name);
      const isThere = image !== undefined &&
        await this.#api.call("Images", "Tag", { image, name }).then(() => true, () => false);
      if (isThere) continue;
      const importing = [`${this.dir}/kurma`, "image", "import", "-q", source, "--name", name];
      this.#ids.set(name, (await mustRun(importing, this.#options)).trimEnd());
    }
    await this.#api.call("Images", "Tag", { image: "busybox", name: "busybox:stable" });
  }

  get #options() {
    const { PATH = "" } = Deno.env.toObject();
    return {
      env: {
        KURMA_HOST: this.kurmad.socket,
        PATH: `${this.dir}:${PATH}`,
        HOME: `${this.dir}/home`,
      },
    };
  }

  /** Makes everything so that `line` can be run: the containers it names, files, images. */
  async prepare(line: string): Promise<string> {
    await Deno.remove(`${this.dir}/work`, { recursive: true }).catch(() => undefined);
    await mustRun(["cp", "-a", `${this.dir}/files`, `${this.dir}/work`]);
    await Deno.mkdir(`${this.dir}/home/.config/fish/completions`, { recursive: true });
    await this.#nameImages();
    const { containers = [] } = await this.#api.call("Containers", "List", {});
    // A name that the line gives somebody is free, and so are those of the lines before.
    const given = / --name (\S+)|^kurma rename \S+ (\S+)/.exec(line)?.slice(1).filter(Boolean);
    for (const { id = "", name = "", state } of containers) {
      const stays = ["web", "db"].includes(name) && state === "CONTAINER_STATE_RUNNING" &&
        !given?.includes(name);
      if (!stays) await this.#api.call("Containers", "Remove", { container: id, force: true });
      if (stays) await this.#api.call("Containers", "Resume", { container: id });
    }
    for (const name of ["web", "db", "job"]) {
      if (given?.includes(name)) continue;
      const isThere = containers.some((each) => each.name === name) && await this.#runs(name);
      if (!isThere) await this.#make(name);
    }
    if (line === "kurma rm web") {
      await this.#api.call("Containers", "Kill", { container: "web" });
      await this.#api.call("Containers", "Wait", { container: "web" });
    }
    if (/^kurma resume /.test(line)) {
      for (const container of ["web", "db"]) {
        await this.#api.call("Containers", "Pause", { container });
      }
    }
    const { image } = await this.#api.call("Images", "Get", { image: "team/app:1.2" });
    const { container } = given?.includes("db")
      ? { container: undefined }
      : await this.#api.call("Containers", "Get", { container: "db" });
    const id = /^kurma image /.test(line) ? image?.id?.replace("sha256:", "") : container?.id;
    return line.replace("3f2a91c0", id?.slice(0, 8) ?? "");
  }

  async #runs(container: string): Promise<boolean> {
    const found = await this.#api.call("Containers", "Get", { container }).catch(() => undefined);
    return found?.container?.state === "CONTAINER_STATE_RUNNING";
  }

  async #make(name: string): Promise<void> {
    await this.#api.call("Containers", "Create", {
      image: "busybox",
      name,
      start: true,
      settings: {
        command: name === "job" ? ["true"] : ["sh", "-c", script],
        openInput: true,
        healthCheck: { test: ["CMD-SHELL", "true"], interval: "0.2s" },
        resources: { memoryBytes: String(64 << 20) },
        labels: { app: "shop" },
      },
    });
    if (name === "job") await this.#api.call("Containers", "Wait", { container: "job" });
    else {
      await until(`${name} to be ready`, async () => {
        const { stdout } = await this.carryOut(`kurma logs ${name}`);
        return stdout.includes("tick") || undefined;
      });
    }
  }

  /** Runs a line to its end. */
  carryOut(line: string): Promise<Output> {
    const keys = typed[line];
    if (keys !== undefined) {
      return run(["script", "-qec", line, "/dev/null"], { ...this.#settings, stdin: keys });
    }
    // What is installed is not to be the machine's.
    const command = /^kurma (install|completion) /.test(line)
      ? ["unshare", "--mount", "sh", "-euc", aside, "sh", "bash", "-c", line]
      : ["bash", "-c", line];
    return run(command, this.#settings);
  }

  /** Starts a line that does not end by itself; what its program gets, all of it get. */
  start(line: string): Running {
    return new Running(["timeout", "--signal=INT", "600", "bash", "-c", line], this.#settings);
  }

  get #settings() {
    return { ...this.#options, cwd: `${this.dir}/work` };
  }

  /** Runs a line that follows something, until that is over. */
  async follow(line: string, until: typeof follows[string]): Promise<number> {
    const running = this.start(line);
    if (until === "web ends") {
      await running.says(/tick/);
      await this.#api.call("Containers", "Kill", { container: "web", signal: "TERM" });
      return (await running.output).status;
    }
    const heard = running.says(/pause/).then(() => true);
    while (!await Promise.race([heard, this.#happens()]));
    running.signal("SIGINT");
    const { status } = await running.output;
    // Interrupted, as the shell, jq or timeout has it.
    return [124, 130].includes(status) ? 0 : status;
  }

  /** Has something happen to `web`. */
  async #happens(): Promise<false> {
    for (const method of ["Pause", "Resume"] as const) {
      await this.#api.call("Containers", method, { container: "web" });
    }
    return false;
  }
}

test("the examples of the help work as they stand", async ({ dir }) => {
  await using kurmad = await Kurmad.start(dir);
  const world = new World(dir, kurmad);
  await world.furnish();
  const left: string[] = [];
  let count = 0;
  for (const [path, example] of examples("", await top())) {
    if (!covered.includes(path) || elsewhere.test(example)) {
      left.push(example);
      continue;
    }
    const line = await world.prepare(example);
    const until = follows[example];
    const { status, stderr } = until === undefined
      ? await world.carryOut(line)
      : { status: await world.follow(line, until), stderr: "" };
    assertEquals([status, /^kurma: /m.test(stderr)], [0, false], `${line}: ${stderr}`);
    count++;
  }
  console.log(`${count} examples run; not run: ${left.join("; ")}`);
  assert(count >= 80);
  await Deno.remove(`${dir}/kurma`);
  await kurmad.quit();
});
