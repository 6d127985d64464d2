import {
  exportImage,
  importImage,
  listImages,
  openImage,
  pruneImages,
  removeImage,
  showImage,
  tagImage,
  verifyImages,
} from "../../stage1/images/mod.ts";
import { assert, assertEquals, assertMatch, rejection } from "../assert.ts";
import { count, mustRun, test } from "../harness.ts";
import { escapes, hostileAci, images, truncated } from "../images_fixture.ts";
import { KurmaError } from "../../ffi/errors.ts";
import { digestOf } from "../../stage1/images/sources/digest.ts";
import { until } from "../stage2/served.ts";
import { tar } from "../tar_fixture.ts";

/** Every file and folder below `path` with what matters about it, as `find` sees it. */
async function tree(path: string): Promise<string> {
  const found = await mustRun(["find", path, "-printf", "%P %M %U %G %T@ %s %l\\n"]);
  // A folder's own size and time depend on the file system and on when we came by.
  return found.split("\n").filter((line) => line !== "" && !/^\S* d/.test(line)).sort().join("\n");
}

/** What a store takes on disk, without the database and the locks. */
async function remains(root: string): Promise<string[]> {
  const found = await mustRun([
    "find",
    `${root}/images`,
    "-mindepth",
    "2",
    "-not",
    "-path",
    "*/locks/*",
  ]);
  return found.split("\n").filter((line) => line !== "" && !/\/blobs\/sha(256|512)$/.test(line));
}

test("an OCI layout unpacks to what umoci unpacks it to", async ({ dir }) => {
  const { oci } = await images();
  await using image = held(await openImage(oci, { root: dir }));
  await mustRun(["umoci", "unpack", "--image", oci, `${dir}/bundle`]);
  await mustRun(["mkdir", `${dir}/merged`]);
  const lower = image.layers.map(({ path }) => path).reverse().join(":");
  await mustRun(["mount", "-t", "overlay", "-o", `ro,lowerdir=${lower}`, "none", `${dir}/merged`]);
  try {
    assertEquals(await tree(`${dir}/merged`), await tree(`${dir}/bundle/rootfs`));
  } finally {
    await mustRun(["umount", `${dir}/merged`]);
  }
});

test("all ways to save an image have one id and share their layers", async ({ dir }) => {
  const { oci, ociTar, docker, aci } = await images();
  const [first, second, third, app] = [
    await importImage(oci, { root: dir, name: "busy:1" }),
    await importImage(ociTar, { root: dir }),
    await importImage(docker, { root: dir }),
    await importImage(aci, { root: dir }),
  ];
  assertEquals(first.record.id, second.record.id);
  assertEquals(first.record.layers, third.record.layers);
  assertMatch(app.record.id, /^sha512-[0-9a-f]{128}$/);
  assertEquals(app.names, ["example.com/busybox:1"]);
  const plain = await mustRun(["sh", "-c", `gzip -dc ${aci} | sha512sum`]);
  assertEquals(app.record.id, `sha512-${plain.split(" ")[0]}`);
  const file = `sha512-${(await mustRun(["sha512sum", aci])).split(" ")[0]}`;
  for (const alias of [file, file.slice(0, 19), file.slice(7, 19)]) {
    assertEquals(showImage(alias, { root: dir }).record.id, app.record.id, alias);
  }
  assertEquals(await verifyImages({ root: dir }), []);
});

test("what may be several images is an error that lists them", async ({ dir }) => {
  const root = `${dir}/state`;
  const acis = new Map<string, Uint8Array>();
  /** Two ACIs whose ids begin with the same four digits, which are returned. */
  const alike = async (): Promise<string> => {
    for (let number = 0;; number++) {
      const name = `example.com/number-${number}`;
      const manifest = JSON.stringify({ acKind: "ImageManifest", acVersion: "0.8.11", name });
      const bytes = tar([{ name: "manifest", content: manifest }, {
        name: "rootfs/f",
        content: "",
      }]);
      const digits = digestOf(bytes, "sha512").slice(7, 11);
      const other = acis.get(digits);
      acis.set(digits, bytes);
      if (other === undefined) continue;
      await Deno.writeFile(`${dir}/one.aci`, other);
      await Deno.writeFile(`${dir}/two.aci`, bytes);
      return digits;
    }
  };
  const digits = await alike();
  const { names: [one] } = await importImage(`${dir}/one.aci`, { root });
  const { names: [two], record } = await importImage(`${dir}/two.aci`, { root });
  for (const text of [digits, `sha512-${digits}`]) {
    const error = await rejection(() => showImage(text, { root }));
    assertMatch(error.message, /^Cannot choose an image by ".*": it may be /);
    assert(error.message.includes(one) && error.message.includes(two), error.message);
  }
  assertEquals(showImage(record.id.slice(0, 40), { root }).record.id, record.id);
  assertEquals(showImage(two, { root }).record.id, record.id);
});

test("what is exported has the digests that came in, says skopeo", async ({ dir }) => {
  const { oci, aci } = await images();
  const digest = async (what: string) =>
    JSON.parse(await mustRun(["skopeo", "inspect", what])).Digest as string;
  await importImage(oci, { root: dir, name: "example.com/busy:1" });
  await exportImage("example.com/busy:1", `${dir}/layout`, { root: dir });
  await exportImage("example.com/busy:1", `${dir}/layout.tar`, { root: dir });
  assertEquals(await digest(`oci:${dir}/layout:1`), await digest(`oci:${oci}`));
  assertEquals(await digest(`oci-archive:${dir}/layout.tar:1`), await digest(`oci:${oci}`));
  await mustRun(["umoci", "unpack", "--image", `${dir}/layout:1`, `${dir}/bundle`]);
  await importImage(aci, { root: dir, name: "app" });
  await exportImage("app", `${dir}/app.aci`, { root: dir });
  await mustRun(["cmp", aci, `${dir}/app.aci`]);
});

test("a damaged or hostile archive is refused, and every byte of it is freed", async ({ dir }) => {
  const { aci, docker } = await images();
  const root = `${dir}/state`;
  const canary = `${dir}/canary`;
  await Deno.writeTextFile(canary, "alive");
  const bad = [
    await truncated(aci, `${dir}/cut.aci`),
    await truncated(docker, `${dir}/cut.tar`),
  ];
  for (const [name, entries] of Object.entries(escapes)) {
    bad.push(await hostileAci(`${dir}/${name.replaceAll(/\W/g, "-")}.aci`, entries(canary)));
  }
  for (const path of bad) {
    try {
      (await openImage(path, { root })).hold[Symbol.dispose]();
    } catch (error) {
      if (!(error instanceof KurmaError)) throw error;
      assertEquals(error.code, "invalid");
      assertEquals(error.message.split("\n").length, 1);
    }
    assertEquals(await Deno.readTextFile(canary), "alive");
    await pruneImages({ root });
    assertEquals(await remains(root), [], path);
  }
});

test("what a process holds stays, the rest goes, the least recently opened first", async ({ dir }) => {
  const { oci, aci } = await images();
  const root = `${dir}/state`;
  await importImage(oci, { root, name: "busy:1" });
  await importImage(aci, { root, name: "app:1" });
  tagImage("busy:1", "example.com/busy:2", { root });
  const image = await openImage("busy:1", { root });
  assertEquals((await removeImage("busy:1", { root })).images, []);
  const inUse = await rejection(removeImage(image.id, { root }));
  assertMatch(inUse.message, /a container uses it/);
  await pruneImages({ root, maxBytes: 0 });
  assertEquals(listImages({ root }).map(({ names }) => names), [["example.com/busy:2"]]);
  image.hold[Symbol.dispose]();
  assertMatch((await rejection(() => showImage("app:1", { root }))).message, /none in the store/);
  await removeImage(image.id.slice(7, 15), { root });
  assertEquals(await remains(root), []);
});

test("over a limit the least recently used images go, but never one in use", async ({ dir, kurma }) => {
  const root = `${dir}/state`;
  for (const name of ["a", "b", "c", "d"]) {
    const manifest = { acKind: "ImageManifest", acVersion: "0.8.11", name: `example.com/${name}` };
    const entries = [
      { name: "manifest", content: JSON.stringify(manifest) },
      { name: "rootfs/file", content: name.repeat(1 << 20) },
    ];
    await Deno.writeFile(`${dir}/${name}.aci`, tar(entries));
    await importImage(`${dir}/${name}.aci`, { root, name });
    await new Promise((done) => setTimeout(done, 5)); // The clock's tick.
  }
  const left = () => listImages({ root }).map(({ names: [name] }) => name.slice(-8, -7)).join("");
  (await openImage("a", { root })).hold[Symbol.dispose]();
  const inUse = await openImage("b", { root });
  await new Promise((done) => setTimeout(done, 5));
  (await openImage("d", { root })).hold[Symbol.dispose]();
  assertEquals(left(), "dbac"); // Each takes 2 MiB and a little: unpacked, and as it came.
  const prune = (size: string) => kurma(["--root", root, "image", "prune", "--max-size", size]);
  assertEquals((await prune("9MiB")).stdout, "");
  assertEquals((await prune("7MiB")).stdout.split("\n").length, 2);
  assertEquals(left(), "dba");
  assertEquals((await prune("3MiB")).stdout.split("\n").length, 3);
  assertEquals(left(), "b");
  inUse.hold[Symbol.dispose]();
  await prune("1MiB");
  assertEquals(await remains(root), []);
});

test("processes that open the same image at once unpack it once", async ({ dir }) => {
  const { oci } = await images();
  const runs = Array.from({ length: 4 }, () => mustRun(opener(oci, dir)));
  const ids = await Promise.all(runs);
  assertEquals(new Set(ids).size, 1);
  assertEquals(await verifyImages({ root: dir }), []);
  const { record: { layers } } = listImages({ root: dir })[0];
  const unpacked = [...Deno.readDirSync(`${dir}/images/layers`)].length;
  assertEquals(unpacked, layers.length);
  assertEquals([...Deno.readDirSync(`${dir}/images/tmp`)], []);
});

test("processes that make the same new store at once all get it", async ({ dir, kurma }) => {
  for (let round = 0; round < count(5, 100); round++) {
    const lists = Array.from(
      { length: 6 },
      () => kurma(["--root", `${dir}/${round}`, "image", "list"]),
    );
    assertEquals((await Promise.all(lists)).map(({ stderr }) => stderr), Array(6).fill(""));
  }
});

test("an import that is killed leaves nothing that is seen, and the next one clears up", async ({ dir }) => {
  const { oci } = await images();
  for (let round = 0; round < count(6, 100); round++) {
    const root = `${dir}/${round}`;
    const [program, ...args] = opener(oci, root);
    const child = new Deno.Command(program, { args, stdout: "null", stderr: "null" }).spawn();
    await new Promise((done) => setTimeout(done, 150 + Math.random() * 250));
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // It was faster.
    }
    await child.status;
    assertEquals(await verifyImages({ root }), []);
    // A program that it was about to start may hold its locks for a moment longer.
    await until("an empty folder", async () => {
      (await openImage(oci, { root })).hold[Symbol.dispose]();
      return [...Deno.readDirSync(`${root}/images/tmp`)].length === 0 || undefined;
    });
    assertEquals(await verifyImages({ root }), []);
  }
});

test("verify tells a blob that rotted and a layer that is gone", async ({ dir }) => {
  const { oci } = await images();
  const { record } = await importImage(oci, { root: dir, name: "busy:1" });
  const blob = `${dir}/images/blobs/${record.blobs[0].digest.replace(":", "/")}`;
  using file = await Deno.open(blob, { write: true });
  await file.seek(100, Deno.SeekMode.Start);
  await file.write(new Uint8Array([1, 2, 3]));
  await Deno.remove(`${dir}/images/layers/${record.layers[1].replace(":", "-")}`, {
    recursive: true,
  });
  const damages = await verifyImages({ root: dir });
  assertEquals(damages.map(({ digest }) => digest), [record.blobs[0].digest, record.layers[1]]);
  assert(damages.every(({ image }) => image === record.id));
  assertEquals(damages.map(({ repaired }) => repaired), [undefined, "made again from its blob"]);
});

/** A process of its own that opens an image and prints its id. */
function opener(image: string, root: string): string[] {
  const module = new URL("../../stage1/images/mod.ts", import.meta.url);
  const script = `import { openImage } from "${module}";
    const { id } = await openImage("${image}", { root: "${root}" });
    console.log(id);
    Deno.exit(0);`;
  return ["deno", "eval", "--unstable-raw-imports", script];
}

function held<Held extends { readonly hold: Disposable }>(image: Held): Held & AsyncDisposable {
  return {
    ...image,
    [Symbol.asyncDispose]: () => Promise.resolve(image.hold[Symbol.dispose]()),
  };
}
