import { assertEquals, rejection } from "../../tests/assert.ts";
import { RecordingKernel } from "../../tests/recording_kernel.ts";
import { claim } from "./scratch.ts";

/** Runs `test` with a state folder of its own. */
async function withRoot(test: (root: string, kernel: RecordingKernel) => unknown): Promise<void> {
  const root = await Deno.makeTempDir();
  try {
    await test(root, new RecordingKernel());
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

function names(root: string): string[] {
  return [...Deno.readDirSync(`${root}/runs`)].map(({ name }) => name).sort();
}

Deno.test("a claim has a folder and ids of its own, and leaves nothing", () =>
  withRoot((root, kernel) => {
    {
      using one = claim(kernel, root, "one");
      using two = claim(kernel, root);
      assertEquals(one.path, `${root}/runs/one`);
      assertEquals(two.firstId - one.firstId, 65_536);
      assertEquals(/^[0-9a-f]{32}$/.test(two.id), true);
      assertEquals([...Deno.readDirSync(one.path)].map(({ name }) => name).sort(), [
        ...["range", "upper", "work"],
      ]);
      assertEquals(Deno.statSync(one.path).mode! & 0o777, 0o700);
    }
    assertEquals(names(root), []);
  }));

Deno.test("a name in use is refused, and free again afterwards", () =>
  withRoot(async (root, kernel) => {
    {
      using _web = claim(kernel, root, "web");
      const error = await rejection(() => claim(kernel, root, "web"));
      assertEquals(error.message, 'Cannot start "web": a container of that name runs');
    }
    using again = claim(kernel, root, "web");
    assertEquals(again.id, "web");
  }));

Deno.test("what a dead owner left is cleared up, and its ids are given out again", () =>
  withRoot((root, kernel) => {
    Deno.mkdirSync(`${root}/runs/dead/upper/deep`, { recursive: true });
    Deno.writeTextFileSync(`${root}/runs/dead/range`, "3072");
    using scratch = claim(kernel, root, "alive");
    assertEquals(names(root), ["alive"]);
    assertEquals(scratch.firstId, 0x7c00_0000);
  }));

for (const name of ["", ".", "..", "../x", "a/b", "-x", "a b", "x".repeat(129), "\u00e9", "a\0"]) {
  Deno.test(`${JSON.stringify(name).slice(0, 20)} is no name for a container`, () =>
    withRoot(async (root, kernel) => {
      const error = await rejection(() => claim(kernel, root, name));
      assertEquals(error.message, `Cannot name a container ${JSON.stringify(name)}`);
    }));
}
