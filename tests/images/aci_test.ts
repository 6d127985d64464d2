/** ACIs that actool built, with what they depend on and what of it they want to keep. */

import {
  type HeldImage,
  importImage,
  listImages,
  openImage,
  removeImage,
  verifyImages,
} from "../../stage1/images/mod.ts";
import { pullImage } from "../../stage1/images/pull.ts";
import type { KurmaError } from "../../ffi/errors.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { makeCertificates } from "./registry.ts";

/** What an ACI is made of. */
interface Recipe {
  name: string;
  version?: string;
  /** Path in the image to content; `-> TARGET` is a symlink. */
  files: Record<string, string>;
  dependencies?: { name: string; version?: string; imageId?: string }[];
  pathWhitelist?: string[];
}

/** Builds an ACI with actool; returns its path. */
async function build(dir: string, { name, version, files, ...rest }: Recipe): Promise<string> {
  const layout = await Deno.makeTempDir({ dir, prefix: "layout-" });
  await Deno.mkdir(`${layout}/rootfs`);
  for (const [path, content] of Object.entries(files)) {
    const target = `${layout}/rootfs${path}`;
    await Deno.mkdir(target.slice(0, target.lastIndexOf("/")), { recursive: true });
    if (content.startsWith("-> ")) await Deno.symlink(content.slice(3), target);
    else if (path.endsWith("/")) continue;
    else if (content === "busybox") await Deno.copyFile("/bin/busybox", target);
    else await Deno.writeTextFile(target, content);
  }
  const labels = (version?: string) =>
    version === undefined ? [] : [{ name: "version", value: version }];
  const manifest = {
    acKind: "ImageManifest",
    acVersion: "0.8.11",
    name,
    labels: labels(version),
    app: { exec: ["/bin/busybox", "cat", "/which"], user: "0", group: "0" },
    dependencies: rest.dependencies?.map(({ name, version, imageId }) => ({
      imageName: name,
      labels: labels(version),
      ...(imageId ? { imageID: imageId } : {}),
    })),
    pathWhitelist: rest.pathWhitelist,
  };
  await Deno.writeTextFile(`${layout}/manifest`, JSON.stringify(manifest));
  await mustRun(["actool", "build", layout, `${layout}.aci`]);
  return `${layout}.aci`;
}

/** Opens an image for as long as `body` runs. */
async function opened<T>(path: string, root: string, body: (image: HeldImage) => Promise<T>) {
  const image = await openImage(path, { root });
  using _hold = image.hold;
  return await body(image);
}

/** The files of an image as a container sees them: path and content, sorted. */
function files(path: string, root: string): Promise<string[]> {
  return opened(path, root, async ({ layers }) => {
    const merged = await Deno.makeTempDir({ dir: root });
    // One layer more: overlayfs wants two.
    const lower = [...layers.map(({ path }) => path), await Deno.makeTempDir({ dir: root })];
    const options = `ro,lowerdir=${lower.reverse().join(":")}`;
    await mustRun(["mount", "-t", "overlay", "-o", options, "none", merged]);
    try {
      const found = await mustRun(["find", merged, "-mindepth", "1", "-printf", "%y %P %l\\n"]);
      return found.split("\n").filter((line) => line !== "").map((line) => {
        const [type, path] = line.split(" ");
        const isText = type === "f" && !path.endsWith("busybox");
        return isText ? `${path}=${Deno.readTextFileSync(`${merged}/${path}`)}` : line.trimEnd();
      }).sort();
    } finally {
      await mustRun(["umount", merged]);
    }
  });
}

test("an ACI lies on what it depends on, each dependency on the one listed before", async ({ dir }) => {
  const root = `${dir}/state`;
  const graph = { e: [], c: ["e"], d: ["e"], b: ["c", "d"], a: ["b"] };
  const names: Record<string, string> = {};
  let last = "";
  for (const [letter, below] of Object.entries(graph)) {
    last = await build(dir, {
      name: `example.com/${letter}`,
      version: "1",
      files: { "/which": letter, [`/of-${letter}`]: letter },
      dependencies: below.map((name) => ({ name: `example.com/${name}`, version: "1" })),
    });
    const { record } = await importImage(last, { root });
    names[record.layers.at(-1)!] = letter;
  }
  await opened(last, root, ({ layers }) => {
    const order = layers.map(({ digest }) => names[digest]).reverse().join(" ");
    assertEquals(order, "a b d e c"); // d may overwrite what c brings, with all below d.
    return Promise.resolve();
  });
  const absent = await build(dir, {
    name: "example.com/x",
    files: {},
    dependencies: [{ name: "example.com/absent", version: "1" }],
  });
  const missing = await rejection(importImage(absent, { root }));
  assertMatch(missing.message, /it depends on "example.com\/absent:1"/);
});

test("a dependency without a version is the newest one, whatever it is called", async ({ dir }) => {
  const root = `${dir}/state`;
  for (const version of ["1.0.0", "2.0.0"]) {
    const base = { name: "example.com/base", version, files: { "/which": version } };
    await importImage(await build(dir, base), { root });
  }
  const dependencies = [{ name: "example.com/base" }];
  const app = await build(dir, { name: "example.com/app", files: {}, dependencies });
  assertEquals(await files(app, root), ["which=2.0.0"]);
});

const base: Recipe = {
  name: "example.com/base",
  version: "1",
  files: {
    "/bin/busybox": "busybox",
    "/bin/cat": "-> busybox",
    "/etc/keep": "base",
    "/etc/drop": "base",
    "/opt/lib/deep/one": "base",
    "/opt/lib/deep/two": "base",
    "/out": "-> /etc",
    "/which": "base",
  },
};
const onBase = [{ name: "example.com/base", version: "1" }];

test("a pathWhitelist leaves the listed paths and the folders on the way", async ({ dir, kurma }) => {
  const root = `${dir}/state`;
  await importImage(await build(dir, base), { root });
  const app = await build(dir, {
    name: "example.com/app",
    files: { "/etc/keep": "app", "/etc/extra": "app", "/which": "app", "/empty/file": "app" },
    dependencies: onBase,
    pathWhitelist: [
      ...["/bin/busybox", "/bin/cat", "/etc/keep", "/opt/lib/deep/one", "/opt/lib/", "/empty/"],
      ...["/which", "/which/below", "/not/there", "/out/keep"],
    ],
  });
  assertEquals(await files(app, root), [
    "d bin",
    "d empty",
    "d etc",
    "d opt",
    "d opt/lib",
    "d opt/lib/deep",
    "etc/keep=app",
    "f bin/busybox",
    "l bin/cat busybox",
    "opt/lib/deep/one=base",
    "which=app",
  ]);
  const ran = await kurma(["--root", root, "run", app]);
  assertEquals(ran, { status: 0, stdout: "app", stderr: "" });
  const listed = await kurma(["--root", root, "run", app, "/bin/busybox", "ls", "/etc"]);
  assertEquals(listed.stdout.split("\n").includes("extra"), false);
  assertEquals(await verifyImages({ root }), []);
});

test("what a whitelisted image leaves out does not hide what lies below it", async ({ dir }) => {
  const root = `${dir}/state`;
  await importImage(await build(dir, base), { root });
  const narrow: Recipe = {
    name: "example.com/narrow",
    files: { "/which": "narrow", "/etc/keep": "narrow" },
    dependencies: onBase,
    pathWhitelist: ["/etc/keep"],
  };
  const low = { name: "example.com/low", files: { "/which": "low", "/etc/keep": "low" } };
  const ids: string[] = [];
  for (const recipe of [low, narrow]) {
    ids.push((await importImage(await build(dir, recipe), { root })).record.id);
  }
  const app = await build(dir, {
    name: "example.com/app",
    files: {},
    dependencies: [low, narrow].map(({ name }, at) => ({ name, imageId: ids[at] })),
  });
  assertEquals(await files(app, root), ["d etc", "etc/keep=narrow", "which=low"]);
});

test("what a pathWhitelist leaves keeps owner, mode and time, and goes with its image", async ({ dir }) => {
  const root = `${dir}/state`;
  await importImage(await build(dir, base), { root });
  const id = listImages({ root })[0].record.id;
  const app = await build(dir, {
    name: "example.com/app",
    files: {},
    dependencies: onBase,
    pathWhitelist: ["/bin/busybox", "/opt/lib/deep/one"],
  });
  const attributes = (path: string) =>
    opened(path, root, async ({ layers }) => {
      const own = layers.at(-1)!.path;
      const found = ["", "/bin", "/bin/busybox", "/opt/lib/deep", "/opt/lib/deep/one"];
      return await mustRun(["stat", "-c", "%a %u:%g %Y", ...found.map((name) => own + name)]);
    });
  assertEquals(
    (await attributes(app)).split("\n").slice(1),
    (await attributes(id)).split("\n").slice(1),
  );
  for (const { record } of listImages({ root })) await removeImage(record.id, { root });
  assertEquals([...Deno.readDirSync(`${root}/images/layers`)], []);
});

test("what a pathWhitelist leaves is made again when what it is made from rots", async ({ dir }) => {
  const root = `${dir}/state`;
  await importImage(await build(dir, base), { root });
  const app = await build(dir, {
    name: "example.com/app",
    files: {},
    dependencies: onBase,
    pathWhitelist: ["/etc/keep"],
  });
  const { record } = await importImage(app, { root });
  const path = (layer: string) =>
    `${root}/images/layers/${layer.replace(":", "-")}/rootfs/etc/keep`;
  for (const rot of ["rot", "longer rot"]) { // The same file by its two names.
    await Deno.writeTextFile(path(record.layers[0]), rot);
    assertEquals(await Deno.readTextFile(path(record.rendered!.from[0])), rot);
    const damages = await verifyImages({ root });
    assert(damages.length > 0 && damages.every(({ repaired }) => repaired !== undefined));
    assertEquals(await verifyImages({ root }), []);
    assertEquals(await files(app, root), ["d etc", "etc/keep=base"]);
  }
  await Deno.remove(path(record.layers[0]));
  const [damage, ...others] = await verifyImages({ root });
  assertEquals([damage.path, damage.problem, others.length], ["etc/keep", "is missing", 0]);
  assertEquals(await verifyImages({ root }), []);
});

/** A web server at https://127.0.0.1 that discovery leads to; what it serves can be added to. */
async function withDiscovery(
  dir: string,
  body: (config: string, serve: (recipe: Recipe) => Promise<string>) => Promise<void>,
): Promise<void> {
  const { ca, good } = await makeCertificates(dir);
  const config = `${dir}/config`;
  await Deno.mkdir(config);
  await Deno.writeTextFile(`${config}/hosts.yaml`, `hosts:\n  127.0.0.1: { ca: ${ca} }\n`);
  const served = new Map<string, string>();
  const template = "https://127.0.0.1/files/{name}-{version}.{ext}";
  const tag = `<meta name="ac-discovery" content="127.0.0.1 ${template}">`;
  await using _server = Deno.serve(
    {
      hostname: "127.0.0.1",
      port: 443,
      cert: await Deno.readTextFile(good.certificate),
      key: await Deno.readTextFile(good.key),
      onListen: () => {},
    },
    async (request) => {
      const { pathname, search } = new URL(request.url);
      if (search === "?ac-discovery=1") return new Response(tag);
      const path = served.get(pathname);
      return path ? new Response(await Deno.readFile(path)) : new Response(null, { status: 404 });
    },
  );
  await body(config, async (recipe) => {
    const path = await build(dir, recipe);
    served.set(`/files/${recipe.name}-${recipe.version ?? "latest"}.aci`, path);
    return path;
  });
}

test("what an ACI depends on is discovered and comes along, and nothing twice", async ({ dir, kurma }) => {
  const root = `${dir}/state`;
  await withDiscovery(dir, async (config, serve) => {
    const own = (name: string, below: string[]): Recipe => ({
      name: `127.0.0.1/${name}`,
      version: "1",
      files: name === "base" ? base.files : { "/which": name },
      dependencies: below.map((one) => ({ name: `127.0.0.1/${one}`, version: "1" })),
    });
    await serve(own("base", []));
    await serve(own("left", ["base"]));
    await serve(own("right", ["base"]));
    const app = await serve(own("app", ["left", "right"]));
    const env = { KURMA_ROOT: root, KURMA_CONFIG: config };
    const ran = await kurma(["run", "appc://127.0.0.1/app:1"], { env });
    assertEquals([ran.status, ran.stdout], [0, "app"], ran.stderr);
    const names = listImages({ root }).flatMap(({ names }) => names).sort();
    assertEquals(names, ["app", "base", "left", "right"].map((one) => `appc://127.0.0.1/${one}:1`));
    // Also for a file, where images may be pulled; never for an import.
    const other = { env: { ...env, KURMA_ROOT: `${dir}/other` } };
    const imported = await kurma(["image", "import", app], other);
    assertEquals(imported.status, 3);
    assertMatch(imported.stderr, /"kurma image pull appc:\/\/127.0.0.1\/right:1"/);
    assertEquals((await kurma(["run", app], other)).stdout, "app");
    assertEquals((await kurma(["image", "verify"], other)).status, 0);
  });
});

test("an ACI that depends on itself, on too many, or on another than it gets is refused", async ({ dir }) => {
  const root = `${dir}/state`;
  await withDiscovery(dir, async (config, serve) => {
    const refused = async (recipe: Recipe) => {
      const path = await serve(recipe);
      const pulled = await rejection(pullImage(`appc://${recipe.name}`, { root, config }));
      const file = await rejection(pullImage(path, { root, config }));
      assertEquals([pulled, file].map((error) => (error as KurmaError).code), [
        "invalid",
        "invalid",
      ]);
      return file.message;
    };
    const recipe = (name: string, below: Recipe["dependencies"]): Recipe => ({
      name: `127.0.0.1/${name}`,
      files: { "/which": name },
      dependencies: below,
    });
    await serve(recipe("b", [{ name: "127.0.0.1/a" }]));
    const circle = await refused(recipe("a", [{ name: "127.0.0.1/b" }]));
    assertMatch(circle, /depends on itself: 127.0.0.1\/a on 127.0.0.1\/b on 127.0.0.1\/a$/);
    await refused(recipe("narcissus", [{ name: "127.0.0.1/narcissus" }]));

    for (let at = 0; at <= 20; at++) {
      await serve(recipe(`deep${at}`, [{ name: `127.0.0.1/deep${at + 1}` }]));
    }
    const deep = await refused(recipe("deep", [{ name: "127.0.0.1/deep0" }]));
    assertMatch(deep, /more than 16 images depend on each other$/);

    const imageId = `sha512-${"0".repeat(128)}`;
    await serve(recipe("other", []));
    const other = await refused(recipe("app", [{ name: "127.0.0.1/other", imageId }]));
    assertMatch(other, /has another imageID$/);
    assertEquals([...Deno.readDirSync(`${root}/images/tmp`)], []);
    assert(listImages({ root }).every(({ record }) => record.rendered === undefined));
  });
});
