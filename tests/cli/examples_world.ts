/**
 * A place where each example of the help finds what it is about, by the names that examples use:
 * containers, pods and images at kurmad, files in the folder it is run in, and a home, an /etc and
 * the like of its own. All registries are one that runs here. Before each example all is as it was
 * before the first.
 *
 * @module
 */

import type { ApiClient } from "../../stage1/api/client.ts";
import { mustRun, type Output, root, run, Running } from "../harness.ts";
import { images } from "../images_fixture.ts";
import type { Kurmad, Start } from "../kurmad/daemon.ts";
import { standInForSsh } from "../remote/ssh_stand_in.ts";
import { until } from "../stage2/served.ts";

/** What ends when somebody types these keys. */
const typed: Readonly<Record<string, string>> = {
  "kurma run -it ./busybox.aci sh": "exit\r",
  "kurma exec -it web sh": "exit\r",
  "kurma enter web": "exit\r",
  "kurma enter --user app web": "exit\r",
  "kurma enter web top": "q",
};

/** Serves callers of other machines, while `commands` are run. */
function brokered(commands: string): string {
  return [
    "kurma api serve --allow-tokens 2>log & trap 'kill %1; wait' EXIT",
    "until grep -q 'kurma-api serves' log; do sleep 0.05; done",
    commands,
  ].join("; ");
}

/** What a line wants to be otherwise than it is. */
const before: readonly (readonly [line: RegExp, commands: string])[] = [
  [/^kurma (start .*|rm web)$/, "kurma kill web db; kurma wait web db"],
  [/^kurma resume /, "kurma pause web db"],
  [/^kurma pod (start|prune|rm shop$)/, "kurma pod stop shop mail"],
  [/^kurma pod resume /, "kurma pod pause shop mail"],
  [/^kurma image pull busybox$/, "kurma image push busybox registry.example.com/library/busybox"],
  [
    /^kurma image pull registry\.example\.com:5000/,
    "kurma image push team/app:1.2 registry.example.com/team/app:1.2",
  ],
  [
    /^kurma image push registry\.example\.com/,
    "kurma image tag team/app:1.2 registry.example.com/team/app:1.2",
  ],
  [/^kurma volume /, "kurma volume rm --force site data"],
  [
    /^kurma volume (?!create)/,
    "kurma volume create site; kurma volume create data --label app=shop --label for=tests",
  ],
  [/^kurma context create (lab|ci) /, "kurma context rm lab ci"],
  [/^kurma context use default$/, "kurma context use lab"],
  [/^kurma api init /, "rm -r /etc/kurma/api"],
  [/^kurma api client alice /, "rm alice.json"],
];

/** What a line is good for: these succeed after it. */
const after: Readonly<Record<string, string>> = {
  "kurma cp web:/etc/passwd .": "grep ^app: passwd",
  "kurma cp ./site/. web:/www": "kurma exec web cat /www/index.html",
  "kurma image push registry.example.com/team/app:1.2":
    "kurma image pull registry.example.com/team/app:1.2",
  "kurma image push 3f2a91c0 registry.example.com/team/app":
    "kurma image pull registry.example.com/team/app",
  "kurma context import alice.json --use": brokered("kurma list"),
  "kurma context import - --name host < alice.json": brokered("kurma --context host list"),
  "kurma context create ci tcp://host.example.com --ca ca.pem --token-file token": brokered(
    "kurma --context ci list",
  ),
  "kurma context create lab ssh://root@lab.example.com": "kurma --context lab list",
  "kurma context use lab": "kurma list; grep root@lab.example.com ../ssh/said",
  "kurma context use default": "kurma list; test ! -e ../ssh/said",
  "kurma api init --name host --address 192.0.2.1 -f - > admin.json":
    "kurma context import admin.json",
  "kurma config example > /etc/kurma/kurmad.yml": "kurma config check",
  "kurma api policy example > /etc/kurma/api/policy.yaml": "kurma api policy check",
};

/** Prints now and then, heeds SIGTERM and takes SIGHUP for what it is; has folders; can restore. */
const script = [
  "printf '#!/bin/sh\\ncat >/dev/null\\n' >/bin/restore; chmod +x /bin/restore",
  "mkdir -p /www /var/log; echo started >/var/log/messages",
  "trap 'exit 0' TERM INT; trap 'echo read again' HUP; while :; do echo tick; sleep 0.1; done",
].join("; ");

/** Lays a folder of our own over each that the machine's are not to change. */
const aside = `
  for place in etc usr/local mnt; do
    mkdir -p "$HOME/over/$place/upper" "$HOME/over/$place/work"
    below="lowerdir=/$place,upperdir=$HOME/over/$place/upper,workdir=$HOME/over/$place/work"
    mount -t overlay overlay -o "$below" "/$place"
  done
  mkdir -p /etc/bash_completion.d /etc/systemd/system
  exec "$@"
`;

/** Makes the files and certificates that examples name. */
const furnishing = `
  echo '127.0.0.1 localhost host.example.com' >/etc/hosts
  mkdir -p ~/.config/fish/completions /etc/kurma site
  echo hello >site/index.html
  echo '-- nothing' >dump.sql
  kurma api init --name host.example.com -f - | jq -r .ca >ca.pem
  kurma api client alice --role operator
  kurma api client bob -f -
  kurma api revoke bob
  kurma api token create ci -f ci.json
  jq -r .token ci.json >token
  kurma context create lab ssh://root@lab.example.com
  kurma context import ci.json
  rm ci.json
  kurma api policy example | tee policy.yaml >/etc/kurma/api/policy.yaml
  kurma config example | tee kurmad.yml >/etc/kurma/kurmad.yml
`;

const shop = {
  name: "shop",
  apps: [{ name: "web", image: "busybox", settings: { command: ["sh", "-c", script] } }],
};

const shopYaml = `
name: shop
apps:
  - name: web
    image: busybox
    settings:
      command: [sleep, "1000"]
`;

/** The name that a line gives somebody. */
const naming = / --name (\S+)|^kurma (?:pod )?rename \S+ (\S+)|\b(shop)\.(?:yaml|json)\b/;

/** All registries are one, on port 80 of this machine. */
const registries = {
  "registry.example.com": { plainHttp: true },
  "registry.example.com:5000": { mirrors: ["registry.example.com"] },
  "docker.io": { mirrors: ["registry.example.com"] },
};

/** Lays out what kurmad is to find, and tells how it is started then. */
export async function surroundings(dir: string): Promise<Start> {
  // As kurmad makes it where it is not there.
  await Deno.chmod("/var/lib/kurma", 0o700);
  await Deno.mkdir(`${dir}/config`);
  await Deno.writeTextFile(`${dir}/config/hosts.yaml`, JSON.stringify({ hosts: registries }));
  await Deno.writeTextFile(`${dir}/hosts`, "127.0.0.1 localhost registry.example.com\n");
  const known = `mount --bind ${dir}/hosts /etc/hosts; exec "$@"`;
  return {
    socket: "/run/kurma/kurma.sock",
    flags: ["--images-config-directory=DIR/config"],
    prefix: ["unshare", "--mount", "sh", "-euc", known, "sh"],
  };
}

/** How a line is gone on with that does not end by itself. */
export type End = "web ends" | "interrupt" | "serves" | "answers";

export class World {
  readonly #api: ApiClient;
  /** Where the image of a name comes from, and its id. */
  #sources: Record<string, string> = {};
  readonly #ids = new Map<string, string>();

  constructor(readonly dir: string, kurmad: Kurmad) {
    this.#api = kurmad.api;
  }

  /** Lays out files and images, once. */
  async furnish(): Promise<void> {
    const { aci, oci, docker, guest } = await images();
    const layout = oci.slice(0, oci.lastIndexOf(":"));
    const { dir } = this;
    for (const folder of ["bin", "work", "home", "ssh", "furnished"]) {
      await Deno.mkdir(`${dir}/${folder}`);
    }
    await Deno.symlink(`${root}/dist/kurma`, `${dir}/bin/kurma`);
    await standInForSsh(`${dir}/bin`);
    await Deno.copyFile(aci, `${dir}/work/busybox.aci`);
    await Deno.copyFile(docker, `${dir}/work/app.tar`);
    await mustRun(["cp", "-a", layout, `${dir}/work/image`]);
    await mustRun(["umoci", "tag", "--image", `${dir}/work/image:busybox`, "latest"]);
    await Deno.writeTextFile(`${dir}/work/shop.json`, JSON.stringify(shop));
    await Deno.writeTextFile(`${dir}/work/shop.yaml`, shopYaml);
    await this.#does(furnishing);
    await mustRun(["mv", `${dir}/work`, `${dir}/home`, `${dir}/ssh`, `${dir}/furnished`]);
    this.#sources = { "busybox": oci, "team/app:1.2": guest };
  }

  /** Makes everything so that `example` can be run; the line that it is here. */
  async prepare(example: string): Promise<string> {
    await mustRun(["sh", "-euc", "rm -rf work home ssh; cp -a furnished/. ."], { cwd: this.dir });
    await this.#nameImages();
    // A name that the line gives somebody is free.
    const given = naming.exec(example)?.slice(1).find(Boolean);
    await this.#makePods(/\bkurma pod /.test(example) ? ["shop", "mail"] : [], given);
    await this.#makeContainers(["web", "db", "job"], given);
    for (const [line, commands] of before) {
      if (line.test(example)) await this.#does(commands);
    }
    const stated = /3f2a91c0|5f3c09aa/.exec(example)?.[0];
    if (stated === undefined) return example;
    const id = await (stated === "3f2a91c0" ? this.#idFor(example) : this.#fingerprintFor(example));
    return example.replace(stated, id.slice(0, 8));
  }

  /** Runs a line to its end. */
  carryOut(line: string): Promise<Output> {
    const keys = typed[line];
    return keys === undefined
      ? run(this.#inside("bash", "-c", line), this.#settings)
      : run(this.#inside("script", "-qec", line, "/dev/null"), { ...this.#settings, stdin: keys });
  }

  /** Sees whether what a line is good for is done. */
  async examine(example: string): Promise<void> {
    if (after[example] !== undefined) await this.#does(after[example]);
  }

  /** Runs a line that does not end by itself, until it is over. */
  async follow(line: string, end: End): Promise<Output> {
    const running = this.#start(line, end);
    if (end === "answers") {
      // Its input stays open: who closes it goes away, and gives up the answer.
      await running.write("GET / HTTP/1.1\r\nhost: kurma\r\nconnection: close\r\n\r\n");
      await running.says(/^HTTP\/1\.1 /);
    } else if (end === "web ends") {
      await running.says(/tick/);
      await this.#api.call("Containers", "Kill", { container: "web", signal: "TERM" });
    } else if (end === "serves") {
      await running.says(/kurma-api serves/);
      running.signal("SIGTERM");
    } else {
      const heard = running.says(/pause/).then(() => true);
      while (!await Promise.race([heard, this.#happens()]));
      running.signal("SIGINT");
    }
    const output = await running.output;
    // Interrupted, as the shell, jq or timeout has it.
    const isInterrupted = end === "interrupt" && [124, 130].includes(output.status);
    return isInterrupted ? { ...output, status: 0 } : output;
  }

  /** Gives images back the names, and brings back those, that a line before took away. */
  async #nameImages(): Promise<void> {
    for (const [name, source] of Object.entries(this.#sources)) {
      const image = this.#ids.get(name);
      const isThere = image !== undefined &&
        await this.#api.call("Images", "Tag", { image, name }).then(() => true, () => false);
      if (isThere) continue;
      const importing = ["kurma", "image", "import", "-q", source, "--name", name];
      this.#ids.set(name, (await mustRun(importing, this.#settings)).trimEnd());
    }
    for (const name of ["busybox:stable", "team/web", "team/web:2", "postgres"]) {
      await this.#api.call("Images", "Tag", { image: "busybox", name });
    }
  }

  /** Has pods of these names run, and no others. */
  async #makePods(names: string[], given: string | undefined): Promise<void> {
    const { pods = [] } = await this.#api.call("Pods", "List", {});
    const missing = new Set(names.filter((name) => name !== given));
    for (const { id: pod, name = "", state, containers = [] } of pods) {
      // The containers of one that was renamed are called as before.
      const isItself = containers.every((each) => each.name?.startsWith(`${name}-`));
      const stays = isItself && state === "CONTAINER_STATE_RUNNING" && missing.delete(name);
      if (stays) await this.#api.call("Pods", "Resume", { pod });
      else await this.#api.call("Pods", "Remove", { pod, force: true });
    }
    for (const name of missing) {
      await this.#api.call("Pods", "Create", { ...shop, name, start: true });
    }
  }

  /** Has containers of these names, and no others; all but `job` run. */
  async #makeContainers(names: string[], given: string | undefined): Promise<void> {
    const { containers = [] } = await this.#api.call("Containers", "List", {});
    const missing = new Set(names.filter((name) => name !== given));
    for (const { id: container, name = "", state, podId } of containers) {
      if (podId) continue;
      const stays = state === "CONTAINER_STATE_RUNNING" && missing.delete(name);
      if (stays) await this.#api.call("Containers", "Resume", { container });
      else await this.#api.call("Containers", "Remove", { container, force: true });
    }
    for (const name of missing) await this.#makeContainer(name);
  }

  async #makeContainer(name: string): Promise<void> {
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

  /** The id of the image, the pod or the container that a line is about. */
  async #idFor(example: string): Promise<string> {
    if (/^kurma image /.test(example)) {
      const { image } = await this.#api.call("Images", "Get", { image: "team/app:1.2" });
      return image?.id?.replace("sha256:", "") ?? "";
    }
    if (/^kurma pod /.test(example)) {
      return (await this.#api.call("Pods", "Get", { pod: "mail" })).pod?.id ?? "";
    }
    return (await this.#api.call("Containers", "Get", { container: "db" })).container?.id ?? "";
  }

  async #fingerprintFor(example: string): Promise<string> {
    const [kind, name] = /^kurma api token /.test(example)
      ? ["token list", "ci"]
      : ["list", "alice"];
    const filter = `.[] | select(.name == "${name}").fingerprint`;
    return await this.#does(`kurma api ${kind} -o json | jq -r '${filter}'`);
  }

  /** Has something happen to `web`. */
  async #happens(): Promise<false> {
    for (const method of ["Pause", "Resume"] as const) {
      await this.#api.call("Containers", method, { container: "web" });
    }
    return false;
  }

  /** Runs commands that are to succeed; what they print. */
  #does(commands: string): Promise<string> {
    return mustRun(this.#inside("bash", "-euo", "pipefail", "-c", commands), this.#settings);
  }

  /** Starts a line that does not end by itself; what its program gets, all of it get. */
  #start(line: string, end: End): Running {
    const command = this.#inside("bash", "-c", line);
    // Of kurma-api we wait for what it logs.
    const heard = end === "serves" ? ["sh", "-c", 'exec "$@" 2>&1', "sh", ...command] : command;
    return new Running(["timeout", "--signal=INT", "600", ...heard], {
      ...this.#settings,
      stdin: end === "answers" ? "open" : undefined,
    });
  }

  /** A command with what is the machine's laid aside. */
  #inside(...command: string[]): string[] {
    return ["unshare", "--mount", "sh", "-euc", aside, "sh", ...command];
  }

  get #settings() {
    const { dir } = this;
    const env = {
      PATH: `${dir}/bin:${Deno.env.get("PATH")}`,
      HOME: `${dir}/home`,
      FAKE_SSH: `${dir}/ssh`,
    };
    return { env, cwd: `${dir}/work` };
  }
}
