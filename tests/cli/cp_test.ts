/** `kurma cp`: docker's rules about what goes where, and archives that mean no good. */

import { kernel } from "../../ffi/mod.ts";
import { LocalEnd } from "../../cmd/cli/copying.ts";
import { encodeEntry, type Entry, padded, streamEnd } from "../../stage1/containers/tar_stream.ts";
import { assertEquals, assertMatch, rejection } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { Line } from "./line.ts";

/** What is in a folder, sorted: `folder/ folder/file link>target`. */
async function tree(path: string): Promise<string> {
  return (await mustRun([
    ...["sh", "-c"],
    `cd "$1" && find . -mindepth 1 \\( -type l -printf '%P>%l\\n' \\) -o \\( -type d -printf '%P/\\n' \\) ` +
    `-o -printf '%P\\n' | sort | tr '\\n' ' '`,
    ...["sh", path],
  ])).trim();
}

/** What `kurma cp SOURCE TARGET` makes in a folder that has `file` and `folder/inner`. */
const outward: [source: string, target: string, made: string][] = [
  ["web:/from/one", "new", "file folder/ folder/inner new"],
  ["web:from/one", ".", "file folder/ folder/inner one"],
  ["web:/from/one", "folder", "file folder/ folder/inner folder/one"],
  ["web:/from/one", "file", "file folder/ folder/inner"],
  [
    "web:/from",
    "new",
    "file folder/ folder/inner new/ new/deep/ new/deep/two new/link>one new/one",
  ],
  [
    "web:/from",
    "folder/",
    "file folder/ folder/from/ folder/from/deep/ folder/from/deep/two folder/from/link>one " +
    "folder/from/one folder/inner",
  ],
  [
    "web:/from/.",
    "folder",
    "file folder/ folder/deep/ folder/deep/two folder/inner folder/link>one folder/one",
  ],
  ["web:/from/link", "new", "file folder/ folder/inner new>one"],
];

const refused: [args: string[], status: number, message: RegExp][] = [
  [["web:/none", "."], 3, /Cannot find "web:\/none"\. Check the path/],
  [["none:/etc", "."], 3, /Cannot find container "none"/],
  [["web:/from/one", "new/"], 3, /Cannot find "[^"]*\/new"\. Make the folder first, or leave out/],
  [["web:/from/one", "none/new"], 3, /Cannot find "[^"]*\/none"\. Make that folder first/],
  [["web:/from", "file"], 2, /Cannot copy "web:\/from" to "[^"]*\/file": it is no folder/],
  [["web:/from/one/", "new"], 2, /Cannot copy "web:\/from\/one" as a folder: it is none/],
  [["file", "web:/from/one/"], 2, /Cannot copy ".*file" to "web:\/from\/one": it is no folder/],
  [["none", "web:/"], 3, /Cannot find "[^"]*\/none"/],
  [["file", "web:/none/new"], 3, /Cannot find "web:\/none"\. Make that folder first/],
  [["file", "new"], 2, /neither SOURCE nor TARGET is in a container\. Write CONTAINER:PATH/],
  [["web:/a", "other:/b"], 2, /Write kurma cp web:\/a - \| kurma cp - other:\/b/],
  [["file", "web:/dev/null/x"], 3, /Cannot find "web:\/dev\/null"/],
  [["-o", "json", "web:/from", "-"], 2, /Cannot write both an archive and json/],
  [["-r", "file", "web:/"], 2, /Folders are copied with all they hold/],
];

test("kurma cp", async ({ dir }) => {
  await using kurmad = await Kurmad.start(dir);
  const line = new Line(kurmad);
  await line.started(
    "web",
    "mkdir -p /from/deep; cd /from; echo 1 >one; echo 2 >deep/two; ln -s one link; chown app one; " +
      "chmod 4755 one; touch /ready; sleep 1000",
  );
  await line.says(["exec", "web", "sh", "-c", "until [ -e /ready ]; do sleep 0.05; done"]);
  const here = `${dir}/here`;
  const fresh = async () => {
    await Deno.remove(here, { recursive: true }).catch(() => undefined);
    await Deno.mkdir(`${here}/folder`, { recursive: true });
    await Deno.writeTextFile(`${here}/file`, "mine");
    await Deno.writeTextFile(`${here}/folder/inner`, "mine");
  };
  const options = { cwd: here };

  for (const [source, target, made] of outward) {
    await fresh();
    assertEquals(await line.says(["cp", source, target], options), "");
    assertEquals(await tree(here), made, `${source} ${target}`);
  }
  await fresh();
  for (const [args, status, message] of refused) {
    const output = await line.run(["cp", ...args], options);
    assertMatch(output.stderr, message);
    assertEquals([output.status, output.stdout], [status, ""], args.join(" "));
  }
  assertEquals(await tree(here), "file folder/ folder/inner");

  // Owners and bits: the user's own, unless they are to be kept.
  assertEquals(await line.says(["cp", "web:/from/one", "one"], options), "");
  assertEquals(await mustRun(["stat", "-c", "%u %a", `${here}/one`]), "0 755\n");
  assertEquals(await line.says(["cp", "-a", "web:/from/one", "one"], options), "");
  assertEquals(await mustRun(["stat", "-c", "%u %a", `${here}/one`]), "1000 4755\n");
  assertEquals(await line.says(["cp", "-L", "web:/from/link", "behind"], options), "");
  assertEquals(await Deno.readTextFile(`${here}/behind`), "1\n");

  // The other way, into a container that runs and into one that does not.
  await line.says(["create", "--name", "still", "--user", "app", kurmad.image, "true"]);
  for (const name of ["web", "still"]) {
    await fresh();
    await Deno.symlink("inner", `${here}/folder/link`);
    await Deno.chown(`${here}/file`, 1000, 2000);
    const json = await line.says(["cp", "-o", "json", "folder", `${name}:/tmp`], options);
    assertEquals(JSON.parse(json), { entries: 3, bytes: 4 });
    assertEquals(await line.says(["cp", "folder/.", `${name}:/tmp/all`], options), "");
    assertEquals(await line.says(["cp", "file", `${name}:tmp/all/new`], options), "");
    assertEquals(await line.says(["cp", "--archive", "file", `${name}:/tmp`], options), "");
    assertEquals(await line.says(["cp", `${name}:/tmp`, "back"], options), "");
    assertEquals(
      await tree(`${here}/back`),
      "all/ all/inner all/link>inner all/new file folder/ folder/inner folder/link>inner",
    );
    assertEquals(await line.says(["cp", "-a", `${name}:/tmp/.`, "back"], options), "");
    const owners = ["stat", "-c", "%u:%g", `${here}/back/all/new`, `${here}/back/file`];
    assertEquals(
      await mustRun(owners),
      name === "web" ? "0:0\n1000:2000\n" : "1000:1000\n1000:2000\n",
    );
  }

  // As archives, from one container to the other.
  const piped = await line.script(
    "kurma cp web:/from - | kurma cp - still:/tmp; kurma cp still:/tmp/from/deep/two -| tar -xO",
  );
  assertEquals(piped, { status: 0, stdout: "2\n", stderr: "" });
  const odd = await line.run(["cp", "-", "web:/tmp"], { stdin: "x".repeat(2000) });
  assertMatch(odd.stderr, /Cannot read the archive: .*no tar archive/);
  assertEquals(odd.status, 2);

  // A large one, with little memory for it: the peak does not grow with the file.
  await mustRun(["truncate", "-s", "256M", `${here}/large`]);
  const peaks: number[] = [];
  for (const args of ["file web:/tmp/f", "large web:/tmp/l", "web:/tmp/f f", "web:/tmp/l l"]) {
    const timed = await line.script(`command time -f %M kurma cp -q ${args}`, {
      cwd: here,
      limitMs: 120_000,
    });
    assertEquals([timed.status, timed.stdout], [0, ""], timed.stderr);
    peaks.push(Number(timed.stderr.trim()) / 1024);
  }
  console.log(`peak of a small and a 256 MiB file: ${peaks.map(Math.round).join(", ")} MiB`);
  assertEquals((await Deno.stat(`${here}/l`)).size, 256 * 1024 * 1024);
  const [smallIn, largeIn, smallOut, largeOut] = peaks;
  assertEquals([largeIn - smallIn < 200, largeOut - smallOut < 200], [true, true], String(peaks));

  // Progress is for terminals.
  const shown = await line.script(
    "script -qec 'truncate -s 16M part; kurma cp part web:/tmp; kurma cp -q web:/tmp/f quiet; exit 5' /dev/null || echo status $?",
    { cwd: here, limitMs: 120_000 },
  );
  assertMatch(shown.stdout, /part {2}\[=* +\] .* of 16\.0 MiB[^]*part {2}written {2}16\.0 MiB/);
  assertMatch(shown.stdout, /written[^\n]*\n+status 5/);
  await kurmad.quit();
});

/** An archive of `entries`. */
async function* archive(...entries: Partial<Entry>[]): AsyncGenerator<Uint8Array> {
  for (const each of entries) {
    const usual = {
      name: "",
      kind: "file",
      mode: 0o644,
      uid: 0,
      gid: 0,
      modified: 0,
      size: 0,
    } as const;
    const entry: Entry = { target: "", ...usual, ...each };
    yield encodeEntry(entry);
    yield new Uint8Array(padded(entry.size)).fill(65, 0, entry.size);
  }
  yield streamEnd;
}

const hostile: Record<string, Partial<Entry>[]> = {
  "a name that leads upwards": [{ name: "../out", size: 3 }],
  "a name behind a link of its own": [
    { name: "way", kind: "link", target: "/outside" },
    { name: "way/x", size: 3 },
  ],
  "a name behind a relative link of its own": [
    { name: "way", kind: "link", target: "beside" },
    { name: "way/x", size: 3 },
  ],
  "a hard link to something outside": [{ name: "x", kind: "hard link", target: "../../secret" }],
};

for (const [what, entries] of Object.entries(hostile)) {
  test(`what is copied out stays in its folder: ${what}`, async ({ dir }) => {
    await Deno.mkdir(`${dir}/in/beside`, { recursive: true });
    await Deno.writeTextFile(`${dir}/secret`, "secret");
    using local = new LocalEnd(kernel);
    await rejection(local.write(`${dir}/in`, archive(...entries), true));
    assertEquals((await tree(dir)).replace(/ in\/way>\S+/, ""), "in/ in/beside/ secret");
  });
}
