/**
 * The commands about pods; see {@link ./cases.ts}.
 *
 * @module
 */

import { assert, assertMatch } from "../assert.ts";
import { type Cases, running, type Shop } from "./cases.ts";

const none = /Cannot find pod "none": there is none\. List what there is/;

export const podCases: Cases = {
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
    mistake: ["pod start none", 3, none],
    json: ["pod start calm -o json", ".[].pod.state", running],
  },
  "pod restart": {
    async main(shop) {
      const pid = await shop.says(["show", "calm-one", "-f", "{{.pid}}"]);
      await shop.is("pod restart -t 0 calm", "calm");
      assert.notEqual(await shop.says(["show", "calm-one", "-f", "{{.pid}}"]), pid);
    },
    mistake: ["pod restart none", 3, none],
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
    mistake: ["pod pause none", 3, none],
    json: ["pod pause calm -o json", ".[].reference", "calm"],
  },
  "pod resume": {
    async main(shop) {
      await shop.is("pod resume calm", "calm");
      await shop.is("pod list -qf status=paused", "");
    },
    mistake: ["pod resume none", 3, none],
    json: ["pod unpause calm -o json", ".[].reference", "calm"],
  },
  "pod stop": {
    async main(shop) {
      await shop.is("stop -t 0 calm-two", "calm-two");
      await shop.is("pod list -f name=calm", / running \(1 of 2\) /);
      await shop.is("pod stop -t 0 calm", "calm");
      await shop.is("pod list -f name=calm", / stopped +/);
    },
    mistake: ["pod stop none", 3, none],
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
    mistake: ["pod show none", 3, none],
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
};

async function imageId({ kurmad }: Shop): Promise<string> {
  const { images: [{ id }] = [] } = await kurmad.api.call("Images", "List", {});
  return id ?? "";
}
