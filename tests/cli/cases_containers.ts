/**
 * The commands about containers; see {@link ./cases.ts}.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { type Cases, running } from "./cases.ts";

const none = /Cannot find container "none": there is none\. List what there is/;

export const containerCases: Cases = {
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
    json: ["logs -t -o json wrote", ".stream + (.text | @base64d)", /^STREAM_OUTPUTone\n/],
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
    json: ["prune -o json", "(.ids | length > 0) and (.freedBytes | tonumber > 0)", "true"],
  },
};
