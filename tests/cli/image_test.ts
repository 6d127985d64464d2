/** `kurma image`, as a user and a script see it. */

import { parse as parseYaml } from "yaml";
import { assertEquals, assertMatch } from "../assert.ts";
import { type Scratch, test } from "../harness.ts";
import { images } from "../images_fixture.ts";

const { aci, oci } = await images();

/** A test with a store of its own, in which busybox is an ACI. */
function storeTest(name: string, body: (scratch: Scratch, id: string) => Promise<void>): void {
  test(name, async (scratch) => {
    const own: Scratch = {
      ...scratch,
      kurma: (args, options) => scratch.kurma(["--root", `${scratch.dir}/state`, ...args], options),
    };
    const { status, stdout } = await own.kurma(["image", "import", aci, "--name", "busybox"]);
    assertEquals(status, 0);
    await body(own, stdout.trimEnd());
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
  await kurma(["run", oci, "/bin/true"]);
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
