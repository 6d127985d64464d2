/**
 * Archives and documents that attack who imports them. Each is refused with its own
 * reason, and then the store is what it was, or does no more than an honest one could;
 * the host's files are what they were in either case.
 *
 * @module
 */

import { importImage, removeImage } from "../../stage1/images/mod.ts";
import { planContainer } from "../../stage1/containers/plan.ts";
import { resolve } from "../../stage1/containers/resolve.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { mustRun, type Scratch, test } from "../harness.ts";
import { tar } from "../tar_fixture.ts";
import { corpus, type Hostile } from "./hostile_corpus.ts";
import { layout, type Lies } from "./layout_fixture.ts";

/** The host's folder that archives are after, and a store. */
class World {
  readonly host: string;
  readonly root: string;
  #count = 0;

  constructor(readonly dir: string) {
    this.host = `${dir}/host`;
    this.root = `${dir}/state`;
  }

  static async make({ dir }: Scratch): Promise<World> {
    const world = new World(dir);
    await Deno.mkdir(world.host, { mode: 0o751 });
    await Deno.writeTextFile(`${world.host}/secret`, "a secret of the host\n");
    return world;
  }

  /** Everything about the host's files that an archive could change. */
  hostState(): Promise<string> {
    return mustRun(["find", this.host, "-printf", "%P %y %m %U %n %s %T@ %l\\n"]);
  }

  /** Bytes and names in the store, but for its database and its locks. */
  async storeState(): Promise<string> {
    const found = await mustRun([
      ...["find", `${this.root}/images`, "-mindepth", "2", "-not", "-path", "*/locks/*"],
      ...["-printf", "%P %y %s\\n"],
    ]);
    return found.split("\n").filter((line) => !/^sha(256|512) d /.test(line)).sort().join("\n");
  }

  /** A path for one more image. */
  next(): string {
    return `${this.dir}/image-${this.#count++}`;
  }
}

/** Why it was not imported; undefined if it was. */
async function refusal(world: World, path: string, limits?: Hostile["limits"]) {
  try {
    const { record } = await importImage(path, { root: world.root, limits });
    return { record };
  } catch (error) {
    if (!(error instanceof KurmaError)) throw error;
    assertEquals(error.message.split("\n").length, 1);
    const causes: string[] = [];
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      causes.push(cause.message);
    }
    return { refused: causes.join(": "), code: error.code };
  }
}

test("hostile archives are refused or do what an honest one could", async (scratch) => {
  const world = await World.make(scratch);
  const host = await world.hostState();
  await importImage(await layout(world.next(), [tar([{ name: "honest" }])]), { root: world.root });
  const store = await world.storeState();
  let refused = 0;
  for (const hostile of corpus) {
    const { name, entries, bytes, above } = hostile;
    const bottom = bytes ? bytes() : tar(entries?.(world.host) ?? []);
    const layers = [bottom, ...above?.(world.host).map((more) => tar(more)) ?? []];
    const path = await layout(world.next(), layers);
    const outcome = await refusal(world, path, hostile.limits);
    if ("refused" in outcome) {
      refused++;
      assert(hostile.refused, `${name}: refused: ${outcome.refused}`);
      assertMatch(outcome.refused ?? "", hostile.refused, name);
      assert(["invalid", "kernel"].includes(outcome.code ?? ""), `${name}: ${outcome.code}`);
    } else {
      assert(hostile.inside, `${name}: it was imported`);
      const top = outcome.record.layers.at(-1)!.replace(":", "-");
      const folder = `${world.root}/images/layers/${top}/rootfs`;
      const found = await mustRun(["find", folder, "-mindepth", "1", "-printf", "%P %y %m\\n"]);
      const seen = found.split("\n").filter((line) => line !== "" && !line.startsWith("tmp"));
      for (const wanted of hostile.inside) assert(seen.includes(wanted), `${name}: ${seen}`);
      assertEquals(await overlayAttributes(folder), "", name);
      await removeImage(outcome.record.id, { root: world.root });
    }
    assertEquals(await world.hostState(), host, name);
    assertEquals(await world.storeState(), store, name);
    await Deno.remove(path, { recursive: true });
  }
  console.log(
    `hostile archives: ${corpus.length} tried, ${refused} refused, ` +
      `${corpus.length - refused} contained; host and store as before after each`,
  );
});

/** Attributes that overlayfs would take for its own, of files that hide nothing. */
async function overlayAttributes(folder: string): Promise<string> {
  return await mustRun(["getfattr", "-Rhd", "-m", "overlay", folder]);
}

const other = `sha256:${"0".repeat(64)}`;
const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
const long = "x".repeat(8 << 20);

/** Documents that lie, by number, and why they are refused. */
const lies: readonly [number, string, Lies, RegExp][] = [
  [
    11,
    "a working directory that is not absolute",
    { config: { WorkingDir: "../../x" } },
    /working directory "..\/..\/x" is not an absolute path/,
  ],
  [
    12,
    "a volume that is not absolute",
    { config: { Volumes: { "../../etc": {} } } },
    /volume "..\/..\/etc" is not an absolute path/,
  ],
  [17, "a variable without a value", { config: { Env: ["SECRET"] } }, /"SECRET" is not NAME=value/],
  [17, "a wish for all variables", { config: { Env: ["*"] } }, /"\*" is not NAME=value/],
  [17, "an empty variable", { config: { Env: [""] } }, /"" is not NAME=value/],
  [17, "a variable with a NUL", { config: { Env: ["A=\0B"] } }, /"Env" has a NUL in it/],
  ...[
    ["a digest that is a path", "sha256:../../../../etc/passwd"],
    ["a digest in upper case", `sha256:${"A".repeat(64)}`],
    ["a short digest", "sha256:abc"],
    ["a digest of a kind that is broken", `sha1:${"0".repeat(40)}`],
  ].map(([name, digest]): [number, string, Lies, RegExp] => [
    33,
    name,
    { descriptor: { digest } },
    /digest "[^"]*" is not sha256 or sha512 in lower case/,
  ]),
  [33, "a manifest that is not there", { descriptor: { digest: other } }, /Cannot find "blobs/],
  [33, "a manifest of another size", { descriptor: { size: 1 } }, /it has more than 1 bytes/],
  [33, "a layer that is not there", { layer: { digest: other } }, /Cannot find layer/],
  [33, "a layer of another size", { layer: { size: 9999 } }, /it has \d+ bytes, not 9999/],
  [33, "a config that names another layer", { diffIds: [other] }, /its digest is .*, not sha256:0/],
  [33, "a config with more layers", { diffIds: [other, other] }, /it has 1 layers, its config 2/],
  [
    33,
    "two kinds at once",
    { manifest: { manifests: [] } },
    /it is a manifest and an index at once/,
  ],
  [
    33,
    "a manifest that says it is an index",
    { manifest: { mediaType: "application/vnd.oci.image.index.v1+json" } },
    /its media type is .*, its content is a manifest/,
  ],
  [40, "an index that is nested deep", { indexText: deep }, /it is nested deeper than 64/],
  [40, "a manifest that is nested deep", { manifestText: deep }, /it is nested deeper than 64/],
  [40, "a config that is nested deep", { configText: deep }, /it is nested deeper than 64/],
  [
    40,
    "a manifest of 8 MiB",
    { manifest: { annotations: { a: long } } },
    /larger than 4194304 bytes/,
  ],
  [40, "an index of 8 MiB", { indexText: JSON.stringify({ long }) }, /larger than 4194304 bytes/],
];

test("documents that lie are refused, each with its reason", async (scratch) => {
  const world = await World.make(scratch);
  const host = await world.hostState();
  const honest = tar([{ name: "honest" }]);
  await importImage(await layout(world.next(), [honest]), { root: world.root });
  const store = await world.storeState();
  for (const [, name, lie, why] of lies) {
    const path = await layout(world.next(), [tar([{ name: "layer", content: name }])], lie);
    const { refused, code } = await refusal(world, path);
    assertMatch(refused ?? "it was imported", why, name);
    assertEquals(code, "invalid", name);
    assertEquals(await world.storeState(), store, name);
    assertEquals(await world.hostState(), host, name);
  }
  console.log(`lying documents: ${lies.length} tried, ${lies.length} refused`);
});

/** Words that make other engines do something; attack 15. */
const words = {
  "containerd.io/restart.loguri": "binary:///bin/sh?-c=id",
  "containerd.io/restart.status": "running",
  "io.kubernetes.cri-o.Devices": "/dev/sda",
  "cdi.k8s.io/x": "vendor.com/device=all",
  "run.oci.keep_original_groups": "1",
  "org.criu.config": "/tmp/x",
  "kurma.privileged": "true",
  "dev.kurma.hostUsers": "true",
};

test("labels and annotations of an image change nothing about its container", async (scratch) => {
  const world = await World.make(scratch);
  const layer = tar([{ name: "honest" }]);
  const plans = [];
  for (const lie of [{}, { config: { Labels: words }, manifest: { annotations: words } }]) {
    const path = await layout(world.next(), [layer], lie);
    const { record } = await importImage(path, { root: world.root });
    const place = { id: "c", layers: ["/layer"], scratch: "/scratch", firstId: 0x7000_0000 };
    plans.push(planContainer(place, resolve(record.config, { image: "it" })));
  }
  assertEquals(plans[1], plans[0]);
});
