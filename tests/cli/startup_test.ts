/** What starting costs: the binary beside the smallest program that the same Deno compiles. */

import { assert } from "../assert.ts";
import { binary, mustRun, root, run, test } from "../harness.ts";

const pairs = 20;

/** The wall-clock time of a program from start to end, in milliseconds. */
async function timeMs(...command: string[]): Promise<number> {
  const start = performance.now();
  await mustRun(command);
  return performance.now() - start;
}

test("kurma --version takes at most 1.3 times a compiled console.log", async ({ dir }) => {
  await Deno.writeTextFile(`${dir}/hello.js`, 'console.log("hello");\n');
  await Deno.writeTextFile(`${dir}/deno.json`, "{}");
  const flags = [
    "--quiet",
    "--no-check",
    "--no-code-cache",
    "--unstable-raw-imports",
    "--allow-all",
  ];
  const env = { DENORT_BIN: `${root}/.toolchain/denort` };
  const compile = ["deno", "compile", ...flags, "--output", "hello", "hello.js"];
  await mustRun(compile, { cwd: dir, env });
  await run([`${dir}/hello`]);
  await run([binary, "--version"]);

  const ratios: number[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    const hello = await timeMs(`${dir}/hello`);
    ratios.push(await timeMs(binary, "--version") / hello);
  }
  const median = ratios.sort((a, b) => a - b)[pairs / 2];
  console.log(`median of ${pairs} paired runs: ${median.toFixed(2)}`);
  assert.ok(median <= 1.3, `median ratio ${median.toFixed(2)}`);
});
