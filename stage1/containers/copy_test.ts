import { kernel } from "../../ffi/mod.ts";
import { assertEquals, rejection } from "../../tests/assert.ts";
import { copyIn, copyOut, type Inside, lookAt } from "./copy.ts";
import { encodeEntry, type Entry, padded, streamEnd } from "./tar_stream.ts";

/** A folder as the root of a container, beside a folder of the host that is not to be touched. */
async function withRoot(
  test: (inside: Inside, root: string, host: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  await Deno.mkdir(`${dir}/root/tmp`, { recursive: true });
  await Deno.mkdir(`${dir}/host`);
  await Deno.writeTextFile(`${dir}/host/secret`, "secret");
  const rootOfAll = kernel.openRoot(Deno.pid);
  const root = kernel.openIn(rootOfAll, `${dir}/root`, "place");
  try {
    await test({ kernel, root, firstId: 0 }, `${dir}/root`, `${dir}/host`);
    assertEquals([...Deno.readDirSync(`${dir}/host`)].map(({ name }) => name), ["secret"]);
    assertEquals(await Deno.readTextFile(`${dir}/host/secret`), "secret");
  } finally {
    kernel.close(root);
    kernel.close(rootOfAll);
    await Deno.remove(dir, { recursive: true });
  }
}

const own = { uid: Deno.uid() ?? 0, gid: Deno.gid() ?? 0 };

function entry(name: string, kind: Entry["kind"], more: Partial<Entry> = {}): Entry {
  return {
    ...{ name, kind, mode: 0o755, ...own, modified: 1_700_000_000, size: 0, target: "" },
    ...more,
  };
}

async function* archive(entries: readonly Entry[]): AsyncGenerator<Uint8Array> {
  for (const each of entries) {
    yield encodeEntry(each);
    yield new Uint8Array(padded(each.size)).fill(65, 0, each.size);
  }
  yield streamEnd;
}

Deno.test("what is copied in can be copied out and is the same", () =>
  withRoot(async (inside, root) => {
    const entries = [
      entry("made/on/the/way", "file", { size: 70_000, mode: 0o4711 }),
      entry("folder", "folder", { mode: 0o700 }),
      entry("folder/link", "link", { target: "/etc/shadow", mode: 0o777 }),
      entry("folder/again", "hard link", { target: "made/on/the/way" }),
    ];
    assertEquals(await copyIn(inside, "/tmp", archive(entries)), { entries: 4, bytes: 70_000 });
    assertEquals((await Deno.stat(`${root}/tmp/made/on/the/way`)).mode! & 0o7777, 0o4711);
    assertEquals((await Deno.stat(`${root}/tmp/folder/again`)).nlink, 2);
    assertEquals(lookAt(inside, "/tmp/folder/link", false).target, "/etc/shadow");

    await Deno.mkdir(`${root}/copy`);
    await copyIn(inside, "/copy", copyOut(inside, "/tmp/folder", false));
    assertEquals(await Deno.readLink(`${root}/copy/folder/link`), "/etc/shadow");
    assertEquals((await Deno.stat(`${root}/copy/folder/again`)).size, 70_000);
    const { mode } = await Deno.stat(`${root}/copy/folder`);
    const { mtime } = await Deno.stat(`${root}/copy/folder/again`);
    assertEquals([mode! & 0o7777, mtime?.getTime()], [0o700, 1_700_000_000_000]);
  }));

Deno.test("links of the container lead nowhere else, in whatever part of a path", () =>
  withRoot(async (inside, root, host) => {
    await Deno.symlink(host, `${root}/out`);
    await Deno.symlink("../../../../../..", `${root}/up`);
    await Deno.symlink("/proc/self/root", `${root}/magic`);
    const one = [entry("x", "file", { size: 3 })];
    for (const path of ["/out", `/up${host}`, "/magic/tmp", "/out/../../host"]) {
      const error = await rejection(copyIn(inside, path, archive(one)));
      assertEquals(error.message, `Cannot find ${JSON.stringify(path)} in the container`);
      await rejection(async () => await Array.fromAsync(copyOut(inside, `${path}/secret`, true)));
    }
    // A link that the archive itself brings along, and one that is there.
    await rejection(copyIn(
      inside,
      "/tmp",
      archive([entry("l", "link", { target: host }), entry("l/x", "file", { size: 3 })]),
    ));
    const upwards = await rejection(copyIn(inside, "/tmp", archive([entry("../x", "file")])));
    assertEquals(upwards.message, 'Cannot unpack "../x": it leads upwards');
    const hard = entry("h", "hard link", { target: `../../host/secret` });
    await rejection(copyIn(inside, "/tmp", archive([hard])));
  }));

Deno.test("a file takes the place of a link itself, not of what it leads to", () =>
  withRoot(async (inside, root, host) => {
    await Deno.symlink(`${host}/secret`, `${root}/tmp/x`);
    await copyIn(inside, "/tmp", archive([entry("x", "file", { size: 3 })]));
    assertEquals(await Deno.readTextFile(`${root}/tmp/x`), "AAA");
    assertEquals((await Deno.lstat(`${root}/tmp/x`)).isFile, true);
  }));

Deno.test("a folder that is in a file's way stays unless it may be replaced", () =>
  withRoot(async (inside, root) => {
    await Deno.mkdir(`${root}/tmp/x/deep`, { recursive: true });
    const file = [entry("x", "file", { size: 1 })];
    const error = await rejection(copyIn(inside, "/tmp", archive(file)));
    assertEquals(
      error.message,
      'Cannot unpack "x": it is no folder, and what is there is a folder',
    );
    await copyIn(inside, "/tmp", archive(file), { replace: true });
    assertEquals(await Deno.readTextFile(`${root}/tmp/x`), "A");
  }));

Deno.test("while a container swaps a folder for a link out, nothing outside is touched", () =>
  withRoot(async (inside, root, host) => {
    const swapper = new Worker(
      URL.createObjectURL(
        new Blob([`
        self.onmessage = ({ data: [root, host, shared] }) => {
          const stop = new Int32Array(shared);
          while (Atomics.load(stop, 0) === 0) {
            try { Deno.mkdirSync(root + "/tmp/d"); } catch (_) { /* It is there. */ }
            try { Deno.removeSync(root + "/tmp/d", { recursive: true }); } catch (_) { /* Gone. */ }
            try { Deno.symlinkSync(host, root + "/tmp/d"); } catch (_) { /* It is there. */ }
            try { Deno.removeSync(root + "/tmp/d"); } catch (_) { /* Gone. */ }
          }
          self.postMessage("stopped");
        };`]),
      ),
      { type: "module" },
    );
    const shared = new SharedArrayBuffer(4);
    const stopped = new Promise((resolve) => (swapper.onmessage = resolve));
    swapper.postMessage([root, host, shared]);
    try {
      for (let round = 0; round < 300; round++) {
        await Promise.allSettled([
          copyIn(inside, "/tmp", archive([entry("d/x", "file", { size: 2 })])),
          Array.fromAsync(copyOut(inside, "/tmp", false)).then((parts) => {
            const text = parts.map((part) => new TextDecoder().decode(part)).join("");
            assertEquals(text.includes("secret\0"), false);
          }),
        ]);
      }
    } finally {
      Atomics.store(new Int32Array(shared), 0, 1);
      await stopped; // Ending it from outside would leave it at work for a while.
      swapper.terminate();
    }
  }));
