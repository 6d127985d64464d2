/** The daemon of another machine by ssh, for which something stands in that has a PATH of its own. */

import { assertEquals, assertMatch } from "../assert.ts";
import { binary, run, test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { standInForSsh } from "./ssh_stand_in.ts";

test("the daemon of another machine by ssh", async ({ dir }) => {
  await Deno.mkdir(`${dir}/bin/there`, { recursive: true });
  await standInForSsh(`${dir}/bin`);
  await Deno.symlink(binary, `${dir}/bin/there/kurma`);
  await using kurmad = await Kurmad.start(dir);
  const PATH = `${dir}/bin:${Deno.env.get("PATH")}`;
  const far = { FAKE_SSH: `${dir}/bin`, FAKE_SSH_PATH: `${dir}/bin/there:/usr/bin:/bin` };
  const env = { PATH, ...far, HOME: dir, TMPDIR: dir };
  const host = `ssh://me@far:2222${dir}/kurma.sock`;
  const kurma = (args: string[]) => run([binary, ...args], { env });
  const says = async (...args: string[]) => {
    const { status, stdout, stderr } = await kurma(args);
    assertEquals([status, stderr], [0, ""], args.join(" "));
    return stdout.trimEnd();
  };

  assertEquals(await says("context", "create", "far", host, "--use"), "far");
  await says("create", "--start", "--name", "web", kurmad.image, "sleep", "1000");
  assertMatch(await says("list"), /\nweb /);
  assertEquals(await says("exec", "web", "echo", "from there"), "from there");
  const { stdout } = await run([binary, "exec", "-i", "web", "cat"], {
    env,
    stdin: "in and out\n",
  });
  assertEquals(stdout, "in and out\n");
  const said = (await Deno.readTextFile(`${dir}/bin/said`)).split("\n");
  assertEquals(said[0], `-T -p 2222 -- me@far kurma dial-stdio -H '${dir}/kurma.sock'`);

  // What ssh runs there goes when its input ends, and with it what was asked for.
  const wait = JSON.stringify({ container: "web" });
  const head = "POST /kurma.v1.Containers/Wait HTTP/1.1\r\nhost: kurma\r\n" +
    `content-type: application/json\r\ncontent-length: ${wait.length}\r\n\r\n`;
  const left = await run([binary, "dial-stdio", "-H", `${dir}/kurma.sock`], {
    env,
    stdin: head + wait,
  });
  assertEquals(left, { status: 0, stdout: "", stderr: "" });

  const refused = await kurma(["-H", "ssh://nobody@far", "list"]);
  assertMatch(
    refused.stderr,
    /Permission denied \(publickey\)\.\nkurma: Cannot reach "ssh:\/\/nobody@far": ssh could not connect/,
  );
  assertEquals(refused.status, 7);
  const stream = await kurma(["-H", "ssh://nobody@far", "exec", "web", "true"]);
  assertMatch(stream.stderr, /Cannot reach "ssh:\/\/nobody@far": ssh could not connect/);
  assertEquals(stream.status, 125);
  const elsewhere = await kurma(["-H", `ssh://me@far${dir}/none.sock`, "list"]);
  assertMatch(elsewhere.stderr, /Cannot reach kurmad at ".*none\.sock"[^]*ended with status 7/);
  // Over there the same context is in use; it would lead away again.
  const usual = await kurma(["-H", "ssh://me@far", "list"]);
  assertMatch(usual.stderr, /Cannot reach kurmad at "\/run\/kurma\/kurma\.sock"/);
  await Deno.remove(`${dir}/bin/there/kurma`);
  const bare = await kurma(["list"]);
  assertMatch(bare.stderr, /Cannot reach "ssh:\/\/me@far:2222.*": there is no kurma there/);
  assertEquals(bare.status, 7);

  // Folders of sockets that led there are gone.
  const folders = [...Deno.readDirSync(dir)].filter(({ name }) => name.startsWith("kurma-"));
  assertEquals(folders, []);
  await kurmad.quit();
});
