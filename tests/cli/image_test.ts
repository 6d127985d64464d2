/** `kurma image`, as a user and a script see it. */

import { parse as parseYaml } from "yaml";
import { assertEquals, assertMatch } from "../assert.ts";
import { binary, mustRun, type Output, run, type Scratch, test } from "../harness.ts";
import { fill } from "../images/pulling.ts";
import { withRegistry } from "../images/registry.ts";
import { images } from "../images_fixture.ts";
import { Kurmad } from "../kurmad/daemon.ts";

const { aci, oci, ociTar, docker } = await images();

/** A test with a store of its own, in which busybox is an ACI: in our folder, and a daemon's. */
function storeTest(name: string, body: (scratch: Scratch, id: string) => Promise<void>): void {
  const tell = async (scratch: Scratch, given: Record<string, string>) => {
    const kurma: Scratch["kurma"] = (args, options = {}) =>
      scratch.kurma(args, { ...options, env: { ...given, ...options.env } });
    const { status, stdout } = await kurma(["image", "import", aci, "--name", "busybox"]);
    assertEquals(status, 0);
    await body({ ...scratch, kurma }, stdout.trimEnd());
  };
  test(name, async (scratch) => await tell(scratch, { KURMA_ROOT: `${scratch.dir}/state` }));
  test(`${name}, by a daemon`, async (scratch) => {
    await using kurmad = await Kurmad.start(scratch.dir);
    await tell(scratch, { KURMA_HOST: kurmad.socket });
    await kurmad.quit();
  });
}

storeTest("an imported image is listed, shown and run by its name", async ({ kurma }, id) => {
  assertMatch(id, /^sha512-[0-9a-f]{128}$/);
  const table = await kurma(["image", "list"]);
  assertMatch(
    table.stdout,
    /^NAME +ID +FORMAT +SIZE +CREATED\nbusybox:latest +[0-9a-f]{12} +aci +\d/,
  );
  const [listed] = JSON.parse((await kurma(["image", "list", "-o", "json"])).stdout);
  assertEquals([listed.id, listed.format, listed.layers], [id, "aci", 1]);
  assertEquals((await kurma(["image", "list", "-o", "name"])).stdout.trimEnd(), listed.names[0]);
  const shown = JSON.parse((await kurma(["image", "show", "busybox"])).stdout);
  assertEquals([shown.id, shown.config.workingDir], [id, "/root"]);
  const run = await kurma(["run", "busybox", "/bin/echo", "ran"]);
  assertEquals(run, { status: 0, stdout: "ran\n", stderr: "" });
});

storeTest("the names of images complete", async ({ kurma }) => {
  const { stdout } = await kurma(["complete", "--", "image", "rm", "bus"]);
  assertEquals(stdout, "none\nbusybox:latest\tAn image in the store\n");
  assertMatch((await kurma(["complete", "--", "run", ""])).stdout, /^files\nbusybox:latest\t/);
});

storeTest("an image has the names it is given, and goes with the last", async ({ kurma }, id) => {
  const tagged = await kurma(["image", "tag", "busybox", "team/app:1.2"]);
  assertEquals(tagged.stdout, "docker.io/team/app:1.2\n");
  assertEquals(
    (await kurma(["image", "rm", "busybox"])).stdout,
    "docker.io/library/busybox:latest\n",
  );
  assertEquals(
    (await kurma(["image", "rm", "team/app:1.2"])).stdout,
    `docker.io/team/app:1.2\n${id}\n`,
  );
  assertEquals((await kurma(["image", "list", "-o", "json"])).stdout, "[]\n");
  const gone = await kurma(["image", "rm", "busybox"]);
  assertEquals([gone.status, gone.stdout], [3, ""]);
  assertMatch(gone.stderr, /^kurma: .*busybox.*\. .*kurma image list.*\n$/);
});

storeTest("what is exported comes in again as the same image", async ({ dir, kurma }) => {
  const { stdout } = await kurma(["image", "import", oci, "--name", "two"]);
  const file = `${dir}/two.tar`;
  assertEquals((await kurma(["image", "export", "two", file])).stdout, `${file}\n`);
  assertEquals((await kurma(["image", "export", "two", file])).status, 4);
  assertEquals((await kurma(["image", "import", file])).stdout, stdout);
});

storeTest("image verify is silent, and says what is damaged", async ({ dir, kurma }) => {
  assertEquals(await kurma(["image", "verify"]), { status: 0, stdout: "", stderr: "" });
  const blobs = `${dir}/state/images/blobs`;
  for (const algorithm of ["sha256", "sha512"]) {
    for (const { name } of Deno.readDirSync(`${blobs}/${algorithm}`)) {
      Deno.writeTextFileSync(`${blobs}/${algorithm}/${name}`, "not it");
    }
  }
  const { status, stdout } = await kurma(["image", "verify"]);
  assertEquals(status, 4);
  assertMatch(stdout, /^sha512-\S+ sha\d+:\S+ \S.*\n/);
});

storeTest("image prune takes what has no name", async ({ kurma }) => {
  await kurma(["run", "--rm", oci, "/bin/true"]);
  const { stdout } = await kurma(["image", "prune"]);
  assertMatch(stdout, /^sha256:[0-9a-f]{64}\n$/);
  assertEquals((await kurma(["image", "prune"])).stdout, "");
  assertEquals(JSON.parse((await kurma(["image", "list", "-o", "json"])).stdout).length, 1);
});

storeTest(
  "each command says what it did as text, JSON, YAML and a table",
  async ({ dir, kurma }, id) => {
    const name = "docker.io/library/two:latest";
    const commands: [args: string[], json: unknown, table: RegExp][] = [
      [
        ["import", oci, "--name", "two"],
        undefined,
        /^NAME +ID +FORMAT +SIZE +CREATED\ntwo:latest /,
      ],
      [["list"], undefined, /^NAME +ID [^]*busybox:latest /],
      [["show", "busybox"], undefined, /^FIELD +VALUE\nid +sha512-[^]*\nworkingDir|^FIELD/],
      [
        ["tag", "two", "three"],
        { image: "two", name: "docker.io/library/three:latest" },
        /^IMAGE +NAME\ntwo /,
      ],
      [
        ["export", "two", `${dir}/FORM`],
        { image: "two", file: `${dir}/json` },
        /^IMAGE +FILE\ntwo /,
      ],
      [["verify"], [], /^IMAGE +DIGEST +PATH +PROBLEM +OUTCOME$/],
      [["rm", "three"], undefined, /^REMOVED +NAME\nname +docker.io\/library\/three:latest$/],
      [["prune"], { names: [], images: [] }, /^REMOVED +NAME$/],
    ];
    for (const form of ["json", "yaml", "table"]) {
      for (const [args, json, table] of commands) {
        const own = args.map((arg) => arg.replace("FORM", form));
        const { status, stdout, stderr } = await kurma(["image", ...own, "--output", form]);
        const what = `${own.join(" ")} as ${form}`;
        assertEquals(status, 0, `${what}: ${stderr}`);
        if (form === "table") assertMatch(stdout.trimEnd(), table, what);
        if (form === "yaml") assertEquals(typeof parseYaml(stdout), "object", what);
        if (form === "json" && json !== undefined) assertEquals(JSON.parse(stdout), json, what);
      }
    }
    const imported = JSON.parse((await kurma(["image", "import", oci, "-o", "json"])).stdout);
    assertEquals([imported.format, imported.layers, imported.names], ["oci", 2, [name]]);
    const removed = JSON.parse(
      (await kurma(["image", "rm", "two", "busybox", "-o", "json"])).stdout,
    );
    assertEquals(removed, {
      names: [name, "docker.io/library/busybox:latest"],
      images: [imported.id, id],
    });
  },
);

/** All files below a folder, with what is in them; or the file itself. */
async function contents(path: string): Promise<Record<string, string>> {
  const listed = await mustRun(["find", path, "-type", "f", "-exec", "sha256sum", "{}", "+"]);
  const lines = listed.trimEnd().split("\n").map((line) => line.split("  "));
  return Object.fromEntries(lines.map(([digest, name]) => [name.slice(path.length), digest]));
}

/** Output without what differs each time: each is a use, and layers are ready in any order. */
function comparable({ status, stdout, stderr }: Output) {
  const unused = stdout.replaceAll(/(used"?:? +)"?[-0-9T:.]+Z"?/g, "$1");
  return { status, stdout: unused, stderr: stderr.split("\n").sort() };
}

test("a daemon and we say the same of the same store", async ({ dir, kurma }) => {
  await Deno.writeTextFile(
    `${dir}/hosts.yaml`,
    "hosts:\n  localhost:5000: { plainHttp: true }\n",
  );
  await using kurmad = await Kurmad.start(dir, { flags: ["--images-config-directory=DIR"] });
  const own = { KURMA_ROOT: `${dir}/state`, KURMA_CONFIG: dir };
  const daemon = { KURMA_HOST: kurmad.socket };
  const both = async (args: readonly string[], stdin?: string) => {
    const [byDaemon, byUs] = [
      await run(["sh", "-c", stdin ?? 'exec "$0" "$@"', binary, ...args], {
        env: daemon,
        cwd: dir,
      }),
      await run(["sh", "-c", stdin ?? 'exec "$0" "$@"', binary, ...args], { env: own, cwd: dir }),
    ];
    return { byDaemon, byUs };
  };
  const same = async (args: readonly string[], stdin?: string) => {
    const { byDaemon, byUs } = await both(args, stdin);
    assertEquals(comparable(byDaemon), comparable(byUs), args.join(" "));
    return byUs;
  };
  /** What names the file, or goes by what was done before: only its result is the same. */
  const alike = async (args: readonly string[]) => {
    const { byDaemon, byUs } = await both(args);
    assertEquals([byDaemon.status, byDaemon.stdout], [byUs.status, byUs.stdout], byDaemon.stderr);
    return byDaemon;
  };
  await Deno.symlink(oci.slice(0, oci.lastIndexOf(":")), `${dir}/layout`);

  // What is brought in anew is unpacked by the first; then it is there already for both.
  for (const file of [aci, oci, ociTar, docker, "layout:guest"]) {
    await alike(["image", "import", file]);
    await same(["image", "import", file]);
  }
  await same(["image", "import", "-", "--name", "piped"], `exec "$0" "$@" < ${docker}`);
  await same(["image", "import", aci, "--name", "box", "-o", "json"]);
  await same(["image", "pull", "./layout:busybox"]);
  await same(["image", "tag", "box", "team/app:1"]);
  for (const form of ["json", "yaml", "name"]) await same(["image", "list", "-o", form]);
  for (const form of ["json", "yaml", "table"]) await same(["image", "show", "box", "-o", form]);
  await same(["image", "verify", "--check-only"]);
  await same(["complete", "--", "image", "rm", ""]);
  assertEquals((await same(["image", "show", "none"])).status, 3);
  assertEquals((await same(["image", "import", "./none.tar"])).status, 3);
  assertEquals((await alike(["image", "import", "layout:none"])).status, 3);
  assertEquals((await alike(["image", "import", `${dir}/hosts.yaml`])).status, 2);
  assertEquals((await same(["image", "tag", "box", "not a name"])).status, 2);
  assertEquals((await same(["image", "export", "box", "x", "--format", "docker"])).status, 2);
  assertEquals((await same(["image", "pull", "localhost:5000/none"])).status, 7);

  for (
    const args of [["box", "FILE.aci"], ["piped", "FILE.tar"], ["piped", "FILE"], [
      ...["piped", "FILE.docker", "--format", "docker", "--tag", "x"],
    ]]
  ) {
    const forms = [["daemon", daemon], ["us", own]] as const;
    for (const [name, env] of forms) {
      const output = await kurma(
        ["image", "export", ...args.map((arg) => arg.replace("FILE", `${dir}/${name}`))],
        { env },
      );
      assertEquals([output.status, output.stdout.includes(`${dir}/${name}`)], [0, true]);
      assertMatch(output.stderr, /^(sha(256|512):[0-9a-f]{12} {2}written {2}\S+ \S+\n)+$/);
    }
    const [one, other] = forms.map(([name]) => args[1].replace("FILE", `${dir}/${name}`));
    assertEquals(await contents(one), await contents(other), args.join(" "));
    assertEquals((await kurma(["image", "export", args[0], one], { env: daemon })).status, 4);
  }

  await withRegistry(dir, { port: 5000 }, async () => {
    await fill("localhost:5000/busybox", oci);
    await same(["image", "pull", "localhost:5000/busybox"]);
    for (const image of ["localhost:5000/busybox", "piped"]) {
      assertEquals((await alike(["image", "push", image, "localhost:5000/copy"])).status, 0);
      await same(["image", "push", image, "localhost:5000/copy"]);
    }
  });
  assertEquals((await kurma(["image", "rm", "team/app:1", "box"], { env: daemon })).status, 0);
  await same(["image", "rm", "box"]);
  await same(["image", "list", "-o", "json"]);
  const pruned = await kurma(["image", "prune", "--max-size", "0"], { env: daemon });
  assertEquals(pruned.status, 0);
  assertEquals((await same(["image", "list", "-o", "json"])).stdout, "[]\n");
  await kurmad.quit();
});

const mistakes: [args: string[], status: number, stderr: RegExp][] = [
  [
    ["image", "lsit"],
    2,
    /^kurma: Unknown command "image lsit"\. Did you mean kurma image list\?\n$/,
  ],
  [["image", "import"], 2, /^kurma: image import needs a FILE\. Usage: kurma image import /],
  [["image", "import", "/nothing"], 3, /^kurma: .*\/nothing.*\. \S.*\n$/],
  [
    ["image", "prune", "--max-size", "much"],
    2,
    /^kurma: Cannot use "much" for --max-size\. It takes a size/,
  ],
  [["image", "show", "../x"], 3, /^kurma: .*\.\.\/x.*\. \S.*\n$/],
];
for (const [args, status, stderr] of mistakes) {
  test(`kurma ${args.join(" ")} exits ${status} with cause and fix`, async ({ kurma }) => {
    const output = await kurma(args);
    assertEquals([output.status, output.stdout], [status, ""]);
    assertMatch(output.stderr, stderr);
  });
}
