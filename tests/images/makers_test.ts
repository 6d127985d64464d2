/**
 * Images as every maker makes them come in and run; what goes out, every reader takes,
 * with the digests that came in. Prints how many makers and formats.
 */

import { digestOf } from "../../stage1/images/sources/digest.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { count as times, mustRun, type Scratch, test } from "../harness.ts";
import { type Images, images } from "../images_fixture.ts";
import { type Podman, withPodman } from "./podman.ts";

/** A way to make an image that Kurma is to run: what to import. */
type Maker = (place: { dir: string; podman: Podman; fixtures: Images }) => Promise<string>;

const skopeo = (...args: string[]) => mustRun(["skopeo", "copy", "--quiet", ...args]);

/** An ACI of actool, unpacked to one tar file and compressed with `program`. */
async function recompressed(dir: string, aci: string, program: string): Promise<string> {
  const path = `${dir}/${program}.aci`;
  await mustRun(["sh", "-euc", 'gzip -dc "$1" | "$2" -c >"$3"', "sh", aci, program, path]);
  return path;
}

/** By maker, then by format. */
const makers: Record<string, Record<string, Maker>> = {
  umoci: {
    "layout folder": ({ fixtures }) => Promise.resolve(fixtures.oci),
    "layout in a tar": ({ fixtures }) => Promise.resolve(fixtures.ociTar),
    async "layout repacked"({ dir, fixtures }) {
      const layout = `${dir}/repacked`;
      await skopeo(`oci:${fixtures.oci}`, `oci:${layout}:1`);
      await mustRun(["umoci", "unpack", "--image", `${layout}:1`, `${dir}/bundle`]);
      await Deno.writeTextFile(`${dir}/bundle/rootfs/etc/added`, "by hand");
      await mustRun(["umoci", "repack", "--image", `${layout}:2`, `${dir}/bundle`]);
      return `${layout}:2`;
    },
  },
  skopeo: {
    async "oci"({ dir, fixtures }) {
      await skopeo(`oci:${fixtures.oci}`, `oci:${dir}/skopeo:1`);
      return `${dir}/skopeo:1`;
    },
    async "oci, zstd layers"({ dir, fixtures }) {
      await skopeo(
        "--dest-compress-format",
        "zstd",
        `docker-archive:${fixtures.docker}`,
        `oci:${dir}/zstd:1`,
      );
      const manifest = await mustRun(["skopeo", "inspect", "--raw", `oci:${dir}/zstd:1`]);
      assertMatch(manifest, /tar\+zstd/);
      return `${dir}/zstd:1`;
    },
    async "oci-archive"({ dir, fixtures }) {
      await skopeo(`oci:${fixtures.oci}`, `oci-archive:${dir}/skopeo.oci.tar:1`);
      return `${dir}/skopeo.oci.tar`;
    },
    async "docker-archive"({ dir, fixtures }) {
      await skopeo(`oci:${fixtures.oci}`, `docker-archive:${dir}/skopeo.tar:made/by:skopeo`);
      return `${dir}/skopeo.tar`;
    },
  },
  podman: Object.fromEntries(["oci-archive", "docker-archive", "oci-dir"].map((format) => [
    format,
    async ({ dir, podman }) => {
      const path = `${dir}/podman-${format}`;
      await podman(
        "save",
        "--quiet",
        "--format",
        format,
        "-o",
        path,
        "docker.io/library/busybox:1",
      );
      return path;
    },
  ])),
  docker: {
    async "save of today: a layout with manifest.json"({ dir, fixtures }) {
      const folder = `${dir}/save-25`;
      await skopeo(`oci:${fixtures.oci}`, `oci:${folder}:1`);
      const [config, ...layers] = await parts(`oci:${folder}:1`);
      const path = ([hex]: string[]) => `blobs/sha256/${hex}`;
      await Deno.writeTextFile(
        `${folder}/manifest.json`,
        JSON.stringify([{
          Config: path(config),
          RepoTags: ["made/by:docker"],
          Layers: layers.map(path),
        }]),
      );
      await mustRun(["tar", "-C", folder, "-cf", `${folder}.tar`, "."]);
      return `${folder}.tar`;
    },
    async "save of old: a folder a layer"({ dir, fixtures }) {
      const folder = `${dir}/save-1`;
      await skopeo(`oci:${fixtures.oci}`, `oci:${dir}/source:1`);
      const [config, ...layers] = await parts(`oci:${dir}/source:1`);
      await Deno.mkdir(folder);
      await Deno.copyFile(`${dir}/source/blobs/sha256/${config[0]}`, `${folder}/${config[0]}.json`);
      const names = [];
      for (const [at, [hex]] of layers.entries()) {
        const own = digestHex(`v1 id of layer ${at}`);
        await Deno.mkdir(`${folder}/${own}`);
        await Deno.writeTextFile(`${folder}/${own}/VERSION`, "1.0");
        await Deno.writeTextFile(`${folder}/${own}/json`, JSON.stringify({ id: own }));
        const unpack = 'gzip -dc "$1" >"$2"';
        const to = `${folder}/${own}/layer.tar`;
        await mustRun(["sh", "-euc", unpack, "sh", `${dir}/source/blobs/sha256/${hex}`, to]);
        names.push(`${own}/layer.tar`);
      }
      await Deno.writeTextFile(
        `${folder}/manifest.json`,
        JSON.stringify([{ Config: `${config[0]}.json`, RepoTags: null, Layers: names }]),
      );
      await mustRun(["tar", "-C", folder, "-cf", `${folder}.tar`, "."]);
      return `${folder}.tar`;
    },
    async "save, compressed by hand"({ dir, fixtures }) {
      await mustRun([
        "sh",
        "-euc",
        'gzip -c "$1" >"$2"',
        "sh",
        fixtures.docker,
        `${dir}/save.tar.gz`,
      ]);
      return `${dir}/save.tar.gz`;
    },
  },
  actool: {
    "gzip": ({ fixtures }) => Promise.resolve(fixtures.aci),
    async "plain"({ dir, fixtures }) {
      const args = ["--no-compression", `${fixtures.folder}/aci`, `${dir}/plain.aci`];
      await mustRun(["actool", "build", ...args]);
      return `${dir}/plain.aci`;
    },
    "bzip2": ({ dir, fixtures }) => recompressed(dir, fixtures.aci, "bzip2"),
    "xz": ({ dir, fixtures }) => recompressed(dir, fixtures.aci, "xz"),
  },
};

/** Hex digests and sizes of an image's config and layers, as skopeo reads them. */
async function parts(image: string): Promise<string[][]> {
  const { config, layers } = JSON.parse(await mustRun(["skopeo", "inspect", "--raw", image]));
  return [config, ...layers].map(({ digest }) => [digest.slice("sha256:".length)]);
}

function digestHex(text: string): string {
  return digestOf(new TextEncoder().encode(text)).slice("sha256:".length);
}

/** A test with a podman that has busybox, and a kurma with a store of its own. */
function makersTest(
  name: string,
  body: (place: Scratch & { podman: Podman; fixtures: Images; store: string[] }) => Promise<void>,
): void {
  test(name, async (scratch) => {
    const fixtures = await images();
    const store = ["--root", `${scratch.dir}/state`];
    await withPodman(scratch.dir, async (podman) => {
      await podman("load", "--quiet", "-i", fixtures.docker);
      const kurma: Scratch["kurma"] = (args, options) =>
        scratch.kurma([...store, ...args], options);
      await body({ ...scratch, kurma, podman, fixtures, store });
    });
  });
}

makersTest("what each maker makes in each format comes in and runs", async (place) => {
  const { kurma } = place;
  let count = 0;
  for (const [maker, formats] of Object.entries(makers)) {
    for (const [format, make] of Object.entries(formats)) {
      const name = `made/image:${++count}`;
      const imported = await kurma(["image", "import", await make(place), "--name", name]);
      assertEquals(imported.status, 0, `${maker}, ${format}: ${imported.stderr}`);
      const ran = await kurma(["run", name, "/bin/sh", "-c", "cat /etc/marker; ls /etc"]);
      assertEquals(ran.status, 0, `${maker}, ${format}: ${ran.stderr}`);
      assertMatch(ran.stdout, /^from-the-image\n/, `${maker}, ${format}`);
      assert(!/^removed$/m.test(ran.stdout), `${maker}, ${format}: a whiteout hides nothing`);
    }
  }
  assertEquals(await kurma(["image", "verify"]), { status: 0, stdout: "", stderr: "" });
  console.log(`${Object.keys(makers).length} makers, ${count} makers and formats, all run`);
});

/** The config's digest and the layers' that a reader finds, and its digest if it has one. */
interface Seen {
  config: string;
  layers: string[];
}

async function seen(image: string): Promise<Seen> {
  const [[config], ...layers] = await parts(image);
  return { config, layers: layers.map(([hex]) => hex) };
}

makersTest("what is exported, skopeo, umoci and podman take, digests equal", async (place) => {
  const { dir, kurma, podman } = place;
  // podman takes seconds for each.
  const nth = times(3, 1);
  let [count, unpacked, loaded] = [0, 0, 0];
  for (const [maker, formats] of Object.entries(makers)) {
    for (const [format, make] of Object.entries(formats)) {
      if (maker === "actool") continue;
      const own = `${dir}/${++count}`;
      await Deno.mkdir(own);
      const id = (await kurma(["image", "import", await make({ ...place, dir: own })])).stdout
        .trim();
      const shown = JSON.parse((await kurma(["image", "show", id])).stdout);
      const hex = (digest: string) => digest.slice("sha256:".length);
      const ours: Seen = {
        config: hex(id),
        layers: shown.blobs.map(({ digest }: { digest: string }) => hex(digest)),
      };
      const what = `${maker}, ${format}`;
      const out = async (file: string, ...flags: string[]) => {
        const done = await kurma(["image", "export", id, `${own}/${file}`, ...flags]);
        assertEquals(
          [done.status, done.stdout],
          [0, `${own}/${file}\n`],
          `${what}: ${done.stderr}`,
        );
        return `${own}/${file}`;
      };
      const folder = await out("out", "--tag", "t");
      const tar = await out("out.tar", "--tag", "t");
      const docker = await out("out.docker.tar", "--format", "docker");

      assertEquals(await seen(`oci:${folder}:t`), ours, what);
      assertEquals(await seen(`oci-archive:${tar}:t`), ours, what);
      const digest = JSON.parse(await mustRun(["skopeo", "inspect", `oci:${folder}:t`])).Digest;
      const inTar = JSON.parse(await mustRun(["skopeo", "inspect", `oci-archive:${tar}:t`])).Digest;
      assertEquals([digest, inTar], [digest, shown.manifestBlob?.digest ?? digest], what);
      // Each reader checks every digest while it copies or unpacks.
      await skopeo(`docker-archive:${docker}`, `dir:${own}/copied`);
      const copied = JSON.parse(await Deno.readTextFile(`${own}/copied/manifest.json`));
      assertEquals(hex(copied.config.digest), ours.config, what);
      if (!format.includes("zstd")) { // Debian's umoci does not know it.
        await mustRun(["umoci", "unpack", "--image", `${folder}:t`, `${own}/out-bundle`]);
        const marker = await Deno.readTextFile(`${own}/out-bundle/rootfs/etc/marker`);
        assertEquals(marker, "from-the-image\n");
        unpacked++;
      }
      if (count % nth === 1 % nth) {
        for (const archive of [tar, docker]) {
          const said = await podman("load", "--quiet", "-i", archive);
          const [, name] = /Loaded image: (\S+)/.exec(said) ?? [];
          const inspected = JSON.parse(
            await podman("image", "inspect", name.replace(/^sha256:/, "")),
          );
          assertEquals(inspected[0].Id, ours.config, what);
          assertEquals(inspected[0].RootFS.Layers, shown.layers, what);
          await podman("rmi", "--force", inspected[0].Id);
        }
        await podman("load", "--quiet", "-i", place.fixtures.docker); // Its makers go on with it.
        loaded++;
      }

      // And Kurma itself: the same image, down to the last compressed byte.
      await kurma(["image", "rm", id]);
      assertEquals((await kurma(["image", "import", docker])).stdout.trim(), id, what);
      const again = JSON.parse((await kurma(["image", "show", id])).stdout);
      assertEquals(
        again.blobs.map(({ digest }: { digest: string }) => hex(digest)),
        ours.layers,
        what,
      );
      await kurma(["image", "rm", id]);
    }
  }
  console.log(
    `${count} images exported in 3 ways, all read by skopeo and kurma, ` +
      `${unpacked} by umoci, ${loaded} by podman`,
  );
});

test("an ACI is exported as it came, and for docker load it is refused", async ({ dir, kurma }) => {
  const { aci } = await images();
  const store = ["--root", `${dir}/state`];
  const id = (await kurma([...store, "image", "import", aci])).stdout.trim();
  assertEquals((await kurma([...store, "image", "export", id, `${dir}/out.aci`])).status, 0);
  await mustRun(["cmp", aci, `${dir}/out.aci`]);
  const refused = await kurma([...store, "image", "export", id, `${dir}/x`, "--format", "docker"]);
  assertEquals(refused.status, 2);
  assertMatch(refused.stderr, /^kurma: Cannot export .*: it is an ACI\. \S.*\n$/);
});
