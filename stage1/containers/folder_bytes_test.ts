import { kernel } from "../../ffi/mod.ts";
import { assert, assertEquals } from "../../tests/assert.ts";
import { folderBytes } from "./folder_bytes.ts";

Deno.test("a folder takes what its files take, each once, and nothing behind links", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${dir}/volume/below`, { recursive: true });
    await Deno.mkdir(`${dir}/large`);
    await Deno.writeFile(`${dir}/large/file`, new Uint8Array(1 << 20));
    const empty = await folderBytes(kernel, `${dir}/volume`) ?? NaN;
    await Deno.writeFile(`${dir}/volume/below/file`, new Uint8Array(64 << 10));
    await Deno.link(`${dir}/volume/below/file`, `${dir}/volume/again`);
    await Deno.symlink(`${dir}/large`, `${dir}/volume/out`);
    const full = await folderBytes(kernel, `${dir}/volume`) ?? NaN;
    assert(full - empty >= 64 << 10 && full - empty < 128 << 10, `${empty}, then ${full}`);
    assertEquals(await folderBytes(kernel, `${dir}/volume`, 3), undefined);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
