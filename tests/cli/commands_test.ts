/**
 * Every command of the table: its main path, its commonest mistake with what is said to it, and
 * its JSON as jq reads it. One daemon, one process a call; a command without an entry here fails.
 */

import { type Command, type Entry, isGroup } from "../../cmd/cli/command.ts";
import { top } from "../../cmd/cli/commands.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { mustRun, run, test } from "../harness.ts";
import { images } from "../images_fixture.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { Line } from "./line.ts";

/** How a command is shown to work. Of its lines, `$IMAGE` and the like are {@linkcode Shop.words}. */
interface Case {
  /** Does what it is for. */
  main(shop: Shop): Promise<void>;
  /** What is got wrong most, and what is said to that. */
  readonly mistake: readonly [line: string, status: number, message: RegExp];
  /** A call that succeeds, a filter for jq, and what jq says. Wanted where there is `--output json`. */
  readonly json?: readonly [line: string, filter: string, said: string | RegExp];
}

/** A daemon with a few things in it: `web` runs, `job` has ended, `pair` is a pod, `site` a volume. */
class Shop extends Line {
  words: Record<string, string> = {};

  /** A line as its words. */
  args(line: string): string[] {
    return line.split(" ").map((word) => word.replace(/\$([A-Z]+)/, (_, name) => this.words[name]));
  }

  /** What a line says; it succeeds. */
  async is(line: string, said: string | RegExp): Promise<void> {
    const text = await this.says(this.args(line));
    if (typeof said === "string") assertEquals(text, said, line);
    else assertMatch(text, said);
  }

  /** The state of a container. */
  async state(name: string): Promise<string> {
    return await this.says(["show", name, "--format", "{{.state}}"]);
  }

  async open(): Promise<void> {
    const { aci } = await images();
    const { dir, image } = this.kurmad;
    this.words = { IMAGE: image, ACI: aci, DIR: dir, ROOT: `${dir}/store` };
    await this.started("web", "trap 'exit 0' TERM; while :; do sleep 0.1; done", "-l", "app=shop");
    await Deno.writeTextFile(`${dir}/calm.json`, calm(image));
    await this.is("create --start --name job $IMAGE false", /^\w{32}$/);
    await this.is("wait job", /^\d+$/);
    await this.is("volume create site --label app=shop", "site");
    await this.is(
      "pod create --name pair --app one=$IMAGE --app two=$IMAGE -l app=shop",
      /^\w{32}$/,
    );
    await this.is("image import --quiet --root $ROOT $ACI --name box", /^sha512-/);
  }
}

const none = /Cannot find container "none": there is none\. List what there is/;
const noPod = /Cannot find pod "none": there is none\. List what there is/;
const noVolume = /Cannot find volume "none"/;
const noImage = /Cannot find (image )?"none"/;
const running = "CONTAINER_STATE_RUNNING";

const cases: Record<string, Case> = {
  run: {
    async main(shop) {
      await shop.is("run --root $ROOT box /bin/echo hi", "hi");
      const { status } = await shop.run(shop.args("run --root $ROOT box /bin/false"));
      assertEquals(status, 1);
    },
    mistake: ["run ./none.aci", 125, /none\.aci/],
  },
  create: {
    async main(shop) {
      await shop.is("create -n made --rm $IMAGE true", /^[0-9a-f]{32}$/);
      assertEquals(await shop.state("made"), "CONTAINER_STATE_NEW");
    },
    mistake: ["create -p 80:80 $IMAGE", 2, /Unknown flag -p\. No port is forwarded/],
    json: [
      "create -n made-json -o json $IMAGE true",
      ".name + .state",
      "made-jsonCONTAINER_STATE_NEW",
    ],
  },
  start: {
    async main(shop) {
      await shop.is("create -n starts $IMAGE sleep 1000", /./);
      await shop.is("start starts", "starts");
      assertEquals(await shop.state("starts"), running);
    },
    mistake: ["start none", 3, none],
    json: ["start -o json web", ".[] | .reference + .container.state", `web${running}`],
  },
  stop: {
    async main(shop) {
      await shop.started("stops", "trap 'exit 4' TERM; while :; do sleep 0.1; done");
      await shop.is("stop -t 5 stops", "stops");
      assertEquals(await shop.state("stops"), "CONTAINER_STATE_STOPPED");
    },
    mistake: ["stop none", 3, none],
    json: ["stop -o json stops job", "map(.container.exit.code) | @csv", "4,1"],
  },
  restart: {
    async main(shop) {
      const pid = await shop.says(["show", "web", "-f", "{{.pid}}"]);
      await shop.is("restart --time 5s web", "web");
      assert.notEqual(await shop.says(["show", "web", "-f", "{{.pid}}"]), pid);
    },
    mistake: ["restart none", 3, none],
    json: ["restart -t 5 -o json web", ".[0].container.name", "web"],
  },
  kill: {
    async main(shop) {
      await shop.started("killed", "trap 'exit 5' HUP; while :; do sleep 0.1; done");
      await shop.is("kill -s HUP killed", "killed");
      await shop.is("wait killed", "5");
    },
    mistake: ["kill job", 4, /Cannot .*"job"/],
    json: ["kill -s CONT -o json web", "map(.reference) | @csv", '"web"'],
  },
  rm: {
    async main(shop) {
      await shop.started("gone", "sleep 1000");
      await shop.is("rm -fv gone none", "gone");
      await shop.is("list -aq --filter name=gone", "");
    },
    mistake: ["rm web", 4, /Cannot remove .*"web".*force/],
    json: [
      "rm -f -o json none made-json",
      'map(.reference + (.id | length | tostring)) | join(" ")',
      "made-json32",
    ],
  },
  list: {
    main: (shop) => shop.is("ls -a --filter name=job", /^NAME [^]*\njob .* exited \(1\) /),
    mistake: ["list --filter state=exited", 2, /KIND is one of name, id, status/],
    json: ["ps -f label=app=shop -o json", ".[].name", "web"],
  },
  show: {
    main: (shop) => shop.is("inspect web", /^\{[^]*"name": "web"/),
    mistake: ["show none", 3, none],
    json: ["show web", ".settings.labels.app", "shop"],
  },
  exec: {
    main: (shop) => shop.is("exec web echo hi", "hi"),
    mistake: ["exec job true", 125, /Cannot .*"job".*does not run/],
  },
  enter: {
    async main(shop) {
      const shell = await shop.run(["enter", "web"], { stdin: "exit 6\n" });
      assertEquals(shell.status, 6, shell.stderr);
      // The first Kurma's form: a pod, an app, a command.
      await shop.is("pod create --start --name still $DIR/calm.json", /./);
      const named = await shop.run(["enter", "still", "one", "sh", "-c", "exit 7"], { stdin: "" });
      assertEquals(named.status, 7, named.stderr);
      await shop.fails(
        125,
        /app "three" in pod "still"\. Its containers are still-one, still-two/,
        [
          ...["enter", "still", "three"],
        ],
      );
      await shop.fails(125, /"still" is a pod\. Name one of its apps/, ["enter", "still"]);
      await shop.is("pod rm -f still", "still");
    },
    mistake: ["enter none", 125, none],
  },
  attach: {
    async main(shop) {
      await shop.started("says", "read -r line; echo got $line; exit 4", "-i");
      const attached = await shop.run(["attach", "says"], { stdin: "this\n" });
      assertEquals([attached.status, attached.stdout], [4, "got this\n"]);
    },
    mistake: ["attach job", 125, /Cannot attach to .*"job"|"job".*does not run/],
  },
  logs: {
    async main(shop) {
      await shop.started("wrote", "echo one; echo two; echo three");
      await shop.is("logs -f --tail 2 --since 1h wrote", "two\nthree");
    },
    mistake: ["logs none", 3, none],
  },
  events: {
    main: (shop) =>
      shop.is("events --since 1h --until 0s -f name=web -f event=create", / container create web/),
    mistake: ["events --filter kind=x", 2, /Write type=WORD/],
    json: ["events --since 1h --until 0s -f name=job -f event=exit -o json", ".exit.code", "1"],
  },
  cp: {
    async main(shop) {
      await shop.is("cp web:/etc/passwd $DIR/passwd", "");
      await shop.is("cp -q $DIR/passwd web:/tmp/copied", "");
      await shop.is("exec web cmp /etc/passwd /tmp/copied", "");
    },
    mistake: ["cp web:/none .", 3, /Cannot find "web:\/none"\. Check the path/],
    json: ["cp -o json $DIR/passwd web:/tmp", ".entries", "1"],
  },
  top: {
    main: (shop) => shop.is("top web", /^ *PID +INSIDE +UID /),
    mistake: ["top job", 4, /"job"/],
    json: ["top web -o json", ".[0].innerPid", "1"],
  },
  stats: {
    main: (shop) => shop.is("stats web", /^NAME +CPU +MEMORY [^]*\nweb /),
    mistake: ["stats none", 3, none],
    json: ["stats web -o json", ".[].name", "web"],
  },
  update: {
    main: (shop) => shop.is("update -m 64m --pids-limit 100 web", "web"),
    mistake: ["update web", 2, /Cannot update: no change is named/],
    json: ["update --cpus 0.5 -o json web", ".[].container.settings.resources.cpuMillis", "500"],
  },
  wait: {
    main: (shop) => shop.is("wait job job", "1\n1"),
    mistake: ["wait none", 3, none],
    json: ["wait -o json job", ".[].exit.code", "1"],
  },
  pause: {
    async main(shop) {
      await shop.is("pause web", "web");
      await shop.is("ps -f status=paused -o name", "web");
    },
    mistake: ["pause job", 4, /"job"/],
    json: ["pause -o json web", ".[].reference", "web"],
  },
  resume: {
    async main(shop) {
      await shop.is("unpause web", "web");
      await shop.is("ps -qf status=paused", "");
    },
    mistake: ["resume job", 4, /"job"/],
    json: ["resume -o json web", ".[].reference", "web"],
  },
  rename: {
    async main(shop) {
      await shop.is("create -n called $IMAGE true", /./);
      await shop.is("rename called recalled", "recalled");
    },
    mistake: ["rename job web", 4, /"web"/],
    json: ["rename recalled called -o json", ".name", "called"],
  },
  prune: {
    async main(shop) {
      await shop.is("create -n over -l over $IMAGE true", /./);
      await shop.is("prune -l over", /^[0-9a-f]{32}$/);
    },
    mistake: ["prune -f", 2, /Nothing is asked; leave it out/],
    json: ["prune -l over -o json", ".ids | length", "0"],
  },

  "pod create": {
    async main(shop) {
      const { dir, image } = shop.kurmad;
      await shop.is(
        "pod create -n still $DIR/calm.json --start -l from=file -m 64m",
        /^[0-9a-f]{32}$/,
      );
      await shop.is(
        "pod list -f label=from=file --format {{.name}}\\t{{.state}}",
        `still\t${running}`,
      );
      await shop.is("pod rm -f still", "still");

      // As YAML on standard input, seen from here.
      await Deno.symlink(image.replace(/:[^:]*$/, ""), `${dir}/layout`);
      const yaml = "name: yaml\napps:\n- name: app\n  image: ./layout:busybox\n";
      const options = { stdin: yaml };
      assertMatch(await shop.says(["pod", "create", "-"], options), /^[0-9a-f]{32}$/);

      // An appc manifest, as the first Kurma took it, and what goes over it.
      const manifest = {
        ...{ acKind: "PodManifest", acVersion: "0.8.11" },
        apps: [{ name: "app", image: { name: "docker.io/library/box", id: undefined } }],
      };
      await shop.kurmad.api.call("Images", "Tag", { image: await imageId(shop), name: "box" });
      await Deno.writeTextFile(`${dir}/pod.manifest`, JSON.stringify(manifest));
      await shop.is("pod create -n appc --network host -m 32m $DIR/pod.manifest", /^[0-9a-f]{32}$/);
      await shop.is("pod show appc -f {{.network}}", "host");

      for (
        const [text, message] of [
          ["[1]", /it is no pod, which has fields/],
          ["a: [", /it is neither JSON nor YAML: /],
          ['{"apps": [], "colour": 1}', /colour/],
          ['{"apps": [{"name": "a", "image": "x", "settings": {"colour": 1}}]}', /colour/],
        ] as const
      ) {
        await Deno.writeTextFile(`${dir}/wrong`, text);
        await shop.fails(2, message, ["pod", "create", `${dir}/wrong`]);
      }
      await shop.fails(3, /Cannot find ".*\/nofile"\. Check the path/, [
        "pod",
        "create",
        `${dir}/nofile`,
      ]);
      await shop.fails(2, /Write NAME=IMAGE/, ["pod", "create", "--app", image]);
      await shop.is("pod rm yaml appc", "yaml\nappc");
    },
    mistake: ["pod create", 2, /pod create needs a FILE or --app\. Write kurma pod create FILE/],
    json: ["pod create -n made-json --app a=$IMAGE -o json", ".containers[].name", "made-json-a"],
  },
  "pod start": {
    async main(shop) {
      await shop.is("pod create $DIR/calm.json", /./);
      await shop.is("pod start calm", "calm");
      await shop.is("pod ps -f name=calm", /\ncalm +\w{12} +one, two +running +/);
    },
    mistake: ["pod start none", 3, noPod],
    json: ["pod start calm -o json", ".[].pod.state", running],
  },
  "pod restart": {
    async main(shop) {
      const pid = await shop.says(["show", "calm-one", "-f", "{{.pid}}"]);
      await shop.is("pod restart -t 0 calm", "calm");
      assert.notEqual(await shop.says(["show", "calm-one", "-f", "{{.pid}}"]), pid);
    },
    mistake: ["pod restart none", 3, noPod],
    json: ["pod restart -t 0 calm -o json", ".[].pod.name", "calm"],
  },
  "pod kill": {
    async main(shop) {
      await shop.is("pod kill --signal CONT calm", "calm");
    },
    mistake: ["pod kill -s NOSUCH calm", 2, /NOSUCH/],
    json: ["pod kill -s CONT calm -o json", ".[].reference", "calm"],
  },
  "pod pause": {
    async main(shop) {
      await shop.is("pod pause calm", "calm");
      await shop.is("pod list -f status=paused", /running \(paused\)/);
    },
    mistake: ["pod pause none", 3, noPod],
    json: ["pod pause calm -o json", ".[].reference", "calm"],
  },
  "pod resume": {
    async main(shop) {
      await shop.is("pod resume calm", "calm");
      await shop.is("pod list -qf status=paused", "");
    },
    mistake: ["pod resume none", 3, noPod],
    json: ["pod unpause calm -o json", ".[].reference", "calm"],
  },
  "pod stop": {
    async main(shop) {
      await shop.is("stop -t 0 calm-two", "calm-two");
      await shop.is("pod list -f name=calm", / running \(1 of 2\) /);
      await shop.is("pod stop -t 0 calm", "calm");
      await shop.is("pod list -f name=calm", / stopped +/);
    },
    mistake: ["pod stop none", 3, noPod],
    json: ["pod stop calm -o json", ".[].pod.state", "CONTAINER_STATE_STOPPED"],
  },
  "pod list": {
    main: (shop) =>
      shop.is("pods -f name=pair", /^NAME +ID +APPS +STATUS[^]*\npair +\w{12} +one, two +new /),
    mistake: ["pod list -f pod=x", 2, /KIND is one of name, id, status, label/],
    json: ["pod ls -f label=app=shop -o json", ".[].name", "pair"],
  },
  "pod show": {
    main: (shop) => shop.is("pod inspect pair -f {{.name}}", "pair"),
    mistake: ["pod show none", 3, noPod],
    json: ["pod show pair", ".containers[].name", "pair-one\npair-two"],
  },
  "pod rename": {
    async main(shop) {
      await shop.is("pod rename made-json renamed", "renamed");
    },
    mistake: ["pod rename renamed pair", 4, /"pair"/],
    json: ["pod rename renamed made-json -o json", ".name", "made-json"],
  },
  "pod rm": {
    async main(shop) {
      await shop.is("pod start calm", "calm");
      await shop.fails(4, /Cannot remove pod "calm": "calm-one" runs\. .*force/, [
        "pod",
        "rm",
        "calm",
      ]);
      await shop.is("pod rm -f calm none", "calm");
    },
    mistake: [
      "show pair",
      3,
      /it is a pod\. kurma pod acts on all of it; its containers are pair-one, pair-two/,
    ],
    json: ["pod rm -f none made-json -o json", ".[].id | length", "32"],
  },
  "pod prune": {
    async main(shop) {
      await shop.is("pod prune --until 1h", "");
      await shop.is("pod prune", /^[0-9a-f]{32}$/);
      await shop.is("pod list -q", "");
    },
    mistake: ["pod prune --force", 2, /Nothing is asked; leave it out/],
    json: ["pod prune -o json", ".ids | length", "0"],
  },

  "image pull": {
    main: (shop) => shop.is("pull -q --root $ROOT $ACI", /^sha512-/),
    mistake: ["pull --root $ROOT ./none.tar", 3, /none\.tar/],
    json: ["image pull -q --root $ROOT $ACI -o json", ".format", "aci"],
  },
  "image push": {
    async main(shop) {
      // A registry is needed for more: see tests/images/registry_test.ts.
      await shop.fails(2, /./, shop.args("push --root $ROOT box"));
    },
    mistake: ["push --root $ROOT none", 3, noImage],
  },
  "image import": {
    main: (shop) => shop.is("image upload -q --root $ROOT $ACI", /^sha512-/),
    mistake: ["image import --root $ROOT ./none.aci", 3, /none\.aci/],
    json: ["image import -q --root $ROOT $ACI -o json", ".layers", "1"],
  },
  "image list": {
    async main(shop) {
      await shop.is("images --root $ROOT", /^NAME +ID +FORMAT[^]*box/);
      await shop.is("images -q --root $ROOT", /^sha512-\w+$/);
    },
    mistake: ["images -a", 2, /All are listed; leave it out/],
    json: ["image ls --root $ROOT -o json", ".[].format", "aci"],
  },
  "image show": {
    main: (shop) => shop.is("image inspect --root $ROOT box -o yaml", /^format: aci/m),
    mistake: ["image show --root $ROOT none", 3, noImage],
    json: ["image show --root $ROOT box", ".format", "aci"],
  },
  "image tag": {
    main: (shop) => shop.is("tag --root $ROOT box box:two", /box:two$/),
    mistake: ["tag --root $ROOT none other", 3, noImage],
    json: ["image tag --root $ROOT box box:two -o json", ".name", /box:two$/],
  },
  "image export": {
    async main(shop) {
      await shop.is("image export -q --root $ROOT box $DIR/out.aci", `${shop.kurmad.dir}/out.aci`);
      assert((await Deno.stat(`${shop.kurmad.dir}/out.aci`)).size > 1000);
    },
    mistake: ["image export --root $ROOT box $DIR/out.aci", 4, /out\.aci/],
    json: ["image export -q --root $ROOT box $DIR/more.aci -o json", ".image", "box"],
  },
  "image rm": {
    async main(shop) {
      await shop.is("rmi --root $ROOT box:two", /box:two$/);
      await shop.is("rmi -f --root $ROOT none", "");
    },
    mistake: ["rmi --root $ROOT none", 3, noImage],
    json: ["image rm -f --root $ROOT none -o json", ".names | length", "0"],
  },
  "image prune": {
    main: (shop) => shop.is("image prune --root $ROOT", ""),
    mistake: ["image prune --max-size lots", 2, /a size, as in 500MiB or 10G/],
    json: ["image prune --root $ROOT -o json", ".images | length", "0"],
  },
  "image verify": {
    main: (shop) => shop.is("image verify --root $ROOT --check-only", ""),
    mistake: ["image verify box", 2, /image verify has no use for "box"/],
    json: ["image verify --root $ROOT --check-only -o json", "length", "0"],
  },

  "volume create": {
    async main(shop) {
      await shop.is("volume create data", "data");
      await shop.is("volume create data", "data");
      await shop.fails(6, /Cannot limit a volume: this version sets no quotas/, [
        ...["volume", "create", "small", "--quota", "1G"],
      ]);
    },
    mistake: [
      "volume create site",
      4,
      /Cannot create volume "site": it is there, with other labels/,
    ],
    json: ["volume create more -l a=b -o json", ".labels.a", "b"],
  },
  "volume list": {
    async main(shop) {
      await shop.is("create -n has -v site:/site $IMAGE true", /./);
      await shop.is("volumes -f name=site", /^NAME +CONTAINERS +CREATED\nsite +1 +\S/);
      await shop.is("volume ls -qf dangling=false", "site");
    },
    mistake: ["volume list -f dangling=yes", 2, /Write dangling=true/],
    json: ["volume list -f label=app=shop -o json", ".[].name", "site"],
  },
  "volume show": {
    main: (shop) =>
      shop.is("volume inspect site -f {{.path}}", `${shop.kurmad.dir}/state/volumes/site`),
    mistake: ["volume show none", 3, noVolume],
    json: ["volume show site", ".usedBytes | type", "string"],
  },
  "volume update": {
    async main(shop) {
      await shop.is("volume update -l a=2 -l b=3 more data", "more\ndata");
      await shop.is("volume update -l a data", "data");
      await shop.is("volume show data -f {{.labels}}", '{"b":"3"}');
    },
    mistake: ["volume update data", 2, /no change is named/],
    json: ["volume update -l c=4 data -o json", ".[].volume.labels.c", "4"],
  },
  "volume rm": {
    main: (shop) => shop.is("volume rm -f data none", "data"),
    mistake: ["volume rm site", 4, /"site".*"?has"?/],
    json: ["volume rm more -o json", ".[].reference", "more"],
  },
  "volume prune": {
    async main(shop) {
      await shop.is("volume create loose -l loose=yes", "loose");
      await shop.is("volume prune -l loose=no", "");
      await shop.is("volume prune", "loose");
    },
    mistake: ["volume prune -a", 2, /leave it out/],
    json: ["volume prune -o json", ".names | length", "0"],
  },

  status: {
    main: (shop) => shop.is("info", /^Hostname +\S+\nKernel /),
    mistake: ["status -H $DIR/none.sock", 7, /Start it as root, with kurma daemon/],
    json: ["status -o json", ".containers.RUNNING > 0", "true"],
  },
  install: {
    async main(shop) {
      await Deno.mkdir(`${shop.kurmad.dir}/links`);
      await shop.is("install --symlinks $DIR/links", /./);
      assert((await Deno.lstat(`${shop.kurmad.dir}/links/kurmad`)).isSymlink);
    },
    mistake: ["install", 2, /install/],
  },
  completion: {
    main: (shop) => shop.is("completion fish", /^complete -c kurma /m),
    mistake: ["completion ksh", 2, /Cannot use "ksh" for SHELL/],
  },
  complete: {
    main: (shop) => shop.is("complete -- vers", /^none\nversion\t/),
    mistake: ["complete --none", 2, /Unknown flag --none/],
  },
  version: {
    async main(shop) {
      await shop.is("version", /^kurma .*[^]*server-api kurma/);
      await shop.is("-version", /^kurma [^]*$/);
    },
    mistake: ["version of", 2, /version has no use for "of"/],
    json: ["version -o json", ".kurma == .server.kurma", "true"],
  },
  help: {
    main: (shop) => shop.is("help rmi", /^Remove images[^]*Usage: kurma image rm/),
    mistake: ["help rmm", 2, /Unknown command "rmm"\. Did you mean kurma rm\?/],
  },
};

/** Commands that print what somebody else wrote, or text for another program. */
const unstructured = new Set([
  ...["run", "exec", "enter", "attach", "logs", "install", "completion", "complete", "help"],
]);

/** A pod that lets itself be stopped at once. */
function calm(image: string): string {
  const settings = { command: ["sleep", "1000"], stopTimeout: "0s" };
  const apps = ["one", "two"].map((name) => ({ name, image, settings }));
  return JSON.stringify({ name: "calm", apps });
}

async function imageId({ kurmad }: Shop): Promise<string> {
  const { images: [{ id }] = [] } = await kurmad.api.call("Images", "List", {});
  return id ?? "";
}

/** Every command by the words that call it. */
function* commands(path: string[], entry: Entry): Generator<[path: string, command: Command]> {
  if (!isGroup(entry)) yield [path.join(" "), entry];
  else {
    for (const [word, below] of Object.entries(entry.commands)) {
      yield* commands([...path, word], below);
    }
  }
}

Deno.test("every command has a case here, and JSON where it has rows", () => {
  const all = [...commands([], top)];
  assertEquals(Object.keys(cases).sort(), all.map(([path]) => path).sort());
  for (const [path, { flags }] of all) {
    const output = flags.output?.choices?.includes("json") ?? false;
    assertEquals(output, !unstructured.has(path), `${path} --output json`);
    if (path !== "image push") assertEquals(cases[path].json !== undefined, output, path);
  }
});

test("every command does what it is for, says what is wrong, and has JSON for jq", async ({ dir }) => {
  await using kurmad = await Kurmad.start(dir);
  const shop = new Shop(kurmad);
  await shop.open();
  const slow: [path: string, ms: number][] = [];
  for (const [path, { main, mistake: [line, status, message], json }] of Object.entries(cases)) {
    const begun = performance.now();
    await main(shop);
    await shop.fails(status, message, shop.args(line));
    if (json) {
      const [line, filter, said] = json;
      const stdin = await shop.says(shop.args(line));
      const { stdout, stderr } = await run(["/usr/bin/jq", "-r", filter], { stdin });
      assertEquals(stderr, "", `${line} | jq '${filter}': ${stdin}`);
      if (typeof said === "string") assertEquals(stdout.trimEnd(), said, line);
      else assertMatch(stdout.trimEnd(), said);
    }
    slow.push([path, Math.round(performance.now() - begun)]);
  }
  slow.sort(([, a], [, b]) => b - a);
  console.log(`${slow.length} commands; the slowest took ${slow.slice(0, 3).join(" ms, ")} ms`);
  await mustRun(["rm", "-rf", `${dir}/store`]);
  await kurmad.quit();
});
