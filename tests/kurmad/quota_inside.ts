/**
 * What a quota does on a file system that holds to it. quota_test.ts runs it in a kernel of its
 * own; it says `ok NAME` for each thing that it saw.
 *
 *   deno run -A tests/kurmad/quota_inside.ts FOLDER
 *
 * FOLDER is an ext4 with project quotas in force.
 *
 * @module
 */

import { kernel } from "../../ffi/mod.ts";
import { assert, assertEquals } from "../assert.ts";
import { mustRun, run } from "../harness.ts";

const mebibyte = 1024 * 1024;
const folder = `${Deno.args[0]}/volume`;
await Deno.mkdir(folder);
await Deno.chmod(folder, 0o777);

/** Whether somebody without rights over the machine can write so much; root may pass a limit. */
async function fits(megabytes: number, into = folder): Promise<boolean> {
  await mustRun(["rm", "-rf", `${into}/file`]);
  const write = `head -c ${megabytes * mebibyte} /dev/zero >${into}/file`;
  const { status } = await run(["setpriv", "--reuid=1000", "--clear-groups", "sh", "-c", write]);
  return status === 0;
}

kernel.limitFolder(folder, 0x4b00_0007, 4 * mebibyte);
assertEquals([await fits(3), await fits(6)], [true, false]);
console.log("ok a folder takes no more than its limit");

await Deno.mkdir(`${folder}/below`);
await Deno.chmod(`${folder}/below`, 0o777);
await mustRun(["rm", `${folder}/file`]);
assert(!await fits(6, `${folder}/below`));
console.log("ok what is made in it counts");

await mustRun(["rm", "-rf", `${folder}/below`]);
kernel.limitFolder(folder, 0x4b00_0007, 8 * mebibyte);
assert(await fits(6));
kernel.limitFolder(folder, 0x4b00_0007, 0);
assert(await fits(12));
console.log("ok the limit can be changed and lifted");
