/** `kurma config`, as an administrator uses it. */

import { assertEquals, assertMatch } from "../assert.ts";
import { test } from "../harness.ts";

test("kurma config: an example is in order, what is wrong is named, what counts is shown", async ({ dir, kurma }) => {
  const { stdout: example } = await kurma(["config", "example"]);
  await Deno.writeTextFile(`${dir}/a.yml`, example);
  assertEquals(await kurma(["config", "check", `${dir}/a.yml`]), {
    status: 0,
    stdout: `${dir}/a.yml is in order: 0 initial pods\n`,
    stderr: "",
  });
  assertEquals(await kurma(["daemon", "config", "check", `${dir}/a.yml`]), {
    status: 0,
    stdout: `${dir}/a.yml is in order: 0 initial pods\n`,
    stderr: "",
  });

  await Deno.writeTextFile(`${dir}/b.yml`, "log: { level: loud }\n");
  const wrong = await kurma(["config", "check", `${dir}/b.yml`]);
  assertEquals([wrong.status, wrong.stdout], [2, ""]);
  assertMatch(wrong.stderr, /^kurma: .*log\.level/);
  const missing = await kurma(["config", "check", `${dir}/none.yml`]);
  assertEquals(missing.status, 3);
  assertMatch(missing.stderr, /no such file\. Write one/);

  await Deno.writeTextFile(`${dir}/c.yml`, "log: { level: warn, maxSize: 5MiB }\n");
  const env = { KURMAD_SOCKET_PATH: "/run/other.sock" };
  const { stdout } = await kurma(["config", "show", `${dir}/c.yml`, "-o", "json"], { env });
  const { socketPath, log } = JSON.parse(stdout);
  assertEquals([socketPath, log.level, log.maxSize], ["/run/other.sock", "warn", "5MiB"]);
  assertMatch((await kurma(["config", "show"])).stdout, /^stateDirectory: \/var\/lib\/kurma\n/);
});
