/**
 * The commands about images, volumes, and Kurma itself; see {@link ./cases.ts}.
 *
 * @module
 */

import { assert, assertMatch } from "../assert.ts";
import { withRegistry } from "../images/registry.ts";
import type { Cases } from "./cases.ts";

const noVolume = /Cannot find volume "none"/;
const noImage = /Cannot find (image )?"none"/;

export const otherCases: Cases = {
  "image pull": {
    main: (shop) => shop.is("pull -q --root $ROOT $ACI", /^sha512-/),
    mistake: ["pull --root $ROOT ./none.tar", 3, /none\.tar/],
    json: ["image pull -q --root $ROOT $ACI -o json", ".format", "aci"],
  },
  "image push": {
    main: (shop) =>
      withRegistry(shop.kurmad.dir, { port: 5000 }, async (host) => {
        const hosts = `hosts:\n  ${host}: { plainHttp: true }\n`;
        await Deno.writeTextFile(`${shop.kurmad.dir}/hosts.yaml`, hosts);
        await shop.is("image import -q --root $ROOT $IMAGE --name pushed", /^sha256:/);
        const own = ["--root", shop.words.ROOT, "--config", shop.kurmad.dir, "-q"];
        const pushed = await shop.json("push", ...own, "pushed", `${host}/team/app`);
        assertMatch(pushed.digest, /^sha256:[0-9a-f]{64}$/);
        assertMatch(await shop.says(["pull", ...own, `${host}/team/app`]), /^sha256:/);
        await shop.is(`rmi --root $ROOT pushed ${host}/team/app`, /pushed/);
      }),
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
      await shop.fails(6, /Cannot limit .*volume/, [
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
      await shop.is("create -n fills -v loose:/data $IMAGE true", /./);
      await shop.is("cp $DIR/out.aci fills:/data", "");
      await shop.is("rm fills", "fills");
      const { freedBytes } = await shop.json("volume", "prune");
      assert(Number(freedBytes) > 100_000, freedBytes);
      await shop.is("volume list -qf name=loose", "");
    },
    mistake: ["volume prune -a", 2, /leave it out/],
    json: ["volume prune -o json", ".names | length", "0"],
  },

  status: {
    main: (shop) => shop.is("info", /^Hostname +\S+\nKernel /),
    mistake: ["status -H $DIR/none.sock", 7, /Start it as root, with kurma daemon/],
    json: ["status -o json", ".containers.RUNNING > 0", "true"],
  },
  doctor: {
    main: (shop) => shop.is("doctor --root $DIR/state", /^ok +daemon +kurmad .* answers/m),
    mistake: ["doctor -f", 2, /Unknown flag -f\. See kurma doctor --help/],
    json: [
      "doctor --root $DIR/state -o json",
      '.[] | select(.check == "daemon").state',
      "ok",
    ],
  },
  "config check": {
    async main(shop) {
      await Deno.writeTextFile(`${shop.kurmad.dir}/a.yml`, "log: { level: warn }\n");
      await shop.is(
        "config check $DIR/a.yml",
        `${shop.kurmad.dir}/a.yml is in order: 0 initial pods`,
      );
    },
    mistake: ["config check $DIR/none.yml", 3, /no such file/],
  },
  "config example": {
    main: (shop) => shop.is("config example", /^#stateDirectory: \/var\/lib\/kurma$/m),
    mistake: ["config example a.yml", 2, /config example has no use for "a\.yml"/],
  },
  "config show": {
    main: (shop) => shop.is("config show $DIR/a.yml", /^ {2}level: warn$/m),
    mistake: ["config show $DIR/none.yml", 3, /no such file/],
    json: ["config show $DIR/a.yml -o json", ".log.level", "warn"],
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
