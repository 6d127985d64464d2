/**
 * kurma-api as its users meet it: set up, used from another machine, and what it says to
 * those who do it wrong.
 */

import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, mustRun, run, Running, test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { until } from "../stage2/served.ts";
import { Broker, Papers } from "./broker_process.ts";
import { hostAddress, Wire } from "./wire.ts";

test("kurma-api: containers of another machine are used as one's own", async ({ dir }) => {
  await using kurmad = await Kurmad.start(dir);
  {
    await using wire = await Wire.lay();
    const papers = await Papers.make(dir);
    await using broker = await Broker.start(papers, kurmad.api.host, 12312);
    const env = { HOME: dir, XDG_CONFIG_HOME: `${dir}/config`, TMPDIR: dir };
    const kurma = (args: string[], stdin?: string) =>
      run(wire.there(binary, ...args), { env, stdin });
    const says = async (args: string[], stdin?: string) => {
      const { status, stdout, stderr } = await kurma(args, stdin);
      assertEquals([status, stderr], [0, ""], args.join(" "));
      return stdout.trimEnd();
    };
    const bundle = JSON.parse(await Deno.readTextFile(`${dir}/admin.json`));
    const host = `tcp://${hostAddress}:12312`;
    await Deno.writeTextFile(`${dir}/lab.json`, JSON.stringify({ ...bundle, host }));

    assertEquals(await says(["context", "import", `${dir}/lab.json`, "--use"]), "lab");
    assertMatch(
      await says(["context", "list"]),
      /\n\* +lab +tcp:\/\/10\.77\.0\.1:12312 +certificate +admin/,
    );
    assertEquals(await says(["complete", "context", "use", "l"]), "none\nlab\tA context");
    assert.doesNotMatch(await says(["context", "show", "-o", "json"]), /PRIVATE KEY/);
    await says([
      ...["create", "--start", "--name", "web", "--stop-timeout", "1s", kurmad.image],
      ...["sh", "-c", "echo begun; sleep 1000"],
    ]);
    assertMatch(await says(["list"]), /\nweb .* running /);
    const large = "0123456789abcde\n".repeat(64 * 1024);
    assertEquals(await says(["exec", "-i", "web", "md5sum"], large), await md5(large));
    assertEquals((await kurma(["exec", "web", "sh", "-c", "exit 7"])).status, 7);
    await until("its first line", async () => await says(["logs", "web"]) === "begun" || undefined);
    assertEquals(await says(["-H", hostAddress, "list", "-o", "name"]), "web");

    // A machine that dies says nothing: while somebody waits, the kernel asks after it.
    const following = new Running(wire.there(binary, "logs", "--follow", "web"), { env });
    await following.says(/begun/);
    const connections = await mustRun(wire.there("ss", "-Htno", "state", "established"));
    assertMatch(connections, /:12312 +timer:\(keepalive,/);
    following.signal("SIGTERM");
    await following.output;

    assertEquals(await says(["stop", "web"]), "web");
    assertMatch(await says(["version"]), /^server-api kurma\.v1$/m);

    await says(["context", "use", "default"]);
    const { status, stderr } = await kurma(["list"]);
    assertEquals(status, 7);
    assertMatch(stderr, /Cannot reach kurmad at "\/run\/kurma\/kurma\.sock"/);
    await says(["context", "use", "lab"]);

    const rule = "everyone: {methods: [Containers/List, Containers/Stop]}\n";
    await Deno.writeTextFile(`${papers.api}/policy.yaml`, rule, { mode: 0o600 });
    const forbidden = await kurma(["list"]);
    assertMatch(forbidden.stderr, /the policy forbids it to "admin"/);
    assertEquals(forbidden.status, 5);
    assertEquals((await kurma(["stop", "web"])).status, 5);
    await broker.says(
      /A call failed certificate=admin address=10\.77\.0\.2:\d+ method=kurma\.v1\.Containers\/Stop .*outcome=permission_denied/,
    );
    await Deno.writeTextFile(`${papers.api}/policy.yaml`, "everyone: [", { mode: 0o600 });
    assertEquals((await kurma(["list"])).status, 5);
    await broker.says(/Cannot use the new policy: the one before holds/);
    assertEquals([...Deno.readDirSync(dir)].filter(({ name }) => /^kurma-/.test(name)), []);
  }
  await kurmad.quit();
});

async function md5(text: string): Promise<string> {
  const said = await mustRun(["md5sum"], { stdin: text });
  return said.trimEnd();
}

test("kurma-api: what is done wrong is told with what to do", async ({ dir, kurma }) => {
  const fails = async (status: number, message: RegExp, ...args: string[]) => {
    const output = await kurma(args, { cwd: dir });
    assertMatch(output.stderr, message);
    assertEquals([output.status, output.stdout], [status, ""], args.join(" "));
  };
  const api = `${dir}/api`;
  await fails(
    3,
    /There is no "server\.pem" in ".*\/api"\. Make certificates with kurma api init/,
    ...[
      ...["api", "serve", "--dir", api],
    ],
  );
  await fails(3, /There are no certificates in/, "api", "list", "--dir", api);
  await fails(2, /Cannot name the server "a b"/, "api", "init", "--name", "a b", "--dir", api);
  assertEquals(
    await mustRun([binary, "api", "init", "--dir", api], { cwd: dir }),
    `${dir}/admin.json\n`,
  );
  assertEquals((await Deno.stat(`${dir}/admin.json`)).mode! & 0o777, 0o600);
  await fails(4, /There is a CA in ".*" already\. Make more clients/, "api", "init", "--dir", api);
  await fails(2, /Cannot use "king" for --role/, ...[
    ...["api", "client", "alice", "--role", "king", "--dir", api],
  ]);
  await fails(2, /Cannot call a client "a\/b"/, "api", "client", "a/b", "--dir", api);
  await fails(4, /Cannot write ".*admin\.json": something is there/, ...[
    ...["api", "client", "admin", "--dir", api],
  ]);
  await fails(3, /There is no certificate "nobody"\. .*kurma api list/, ...[
    ...["api", "revoke", "nobody", "--dir", api],
  ]);
  await fails(2, /Cannot use "here" for --listen\. It takes an address and a port/, ...[
    ...["api", "serve", "--listen", "here", "--dir", api],
  ]);
  await fails(2, /Cannot listen on "0\.0\.0\.0" without TLS/, ...[
    ...["api", "serve", "--insecure-loopback", "--dir", api],
  ]);
  await fails(2, /Unknown flag --port\. Use --listen/, "api", "serve", "--port", "1", "--dir", api);
  await Deno.writeTextFile(`${api}/policy.yaml`, "roles: {king: {}}\n");
  await fails(2, /roles\.king: unknown field/, "api", "policy", "check", "--dir", api);
  await fails(2, /roles\.king: unknown field/, "api", "serve", "--dir", api);
  const { stdout } = await kurma(["api", "policy", "example"]);
  await Deno.writeTextFile(`${api}/policy.yaml`, stdout);
  assertMatch((await kurma(["api", "policy", "check", "--dir", api])).stdout, /is in order/);

  await Deno.symlink(binary, `${dir}/kurma-api`);
  const busy = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const words = ["--listen", `127.0.0.1:${busy.addr.port}`, "--dir", api];
  const taken = await run([`${dir}/kurma-api`, ...words]);
  assertMatch(taken.stderr, /Cannot listen on "127\.0\.0\.1", port \d+: .*Name an address/);
  assertEquals(taken.status, 4);
  busy.close();

  // A machine without OpenSSL 3.
  const library = (await mustRun(["sh", "-c", "ldconfig -p | sed -n 's/.*libssl.so.3 .*=> //p'"]))
    .split("\n")[0];
  const without = await run([
    ...["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$0" && exec "$@"', library],
    ...[binary, "api", "serve", "--dir", api],
  ]);
  assertMatch(
    without.stderr,
    /Cannot use TLS: this machine has no OpenSSL 3: .*\(Debian: apt-get install libssl3\), or come in by ssh/,
  );
  assertEquals(without.status, 3);
});

test("kurma-api: without TLS, a token on loopback", async ({ dir }) => {
  const papers = await Papers.make(dir);
  const bundle = JSON.parse(await papers.kurma("token", "create", "ci", "-f", "-"));
  const socket = `${dir}/none.sock`;
  const flags = ["--insecure-loopback", "--listen", "127.0.0.1:12314"];
  await using _broker = await Broker.start(papers, socket, 12314, ...flags);
  const curl = (...more: string[]) =>
    mustRun([
      ...["curl", "-sS", "-H", "content-type: application/json", "-d", "{}", ...more],
      "http://127.0.0.1:12314/kurma.v1.System/Ping",
    ]);
  assertMatch(await curl(), /"code":"unauthenticated"/);
  assertMatch(await curl("-H", `authorization: Bearer ${bundle.token}`), /"code":"unavailable"/);
  // The broker lets us in; that there is no daemon behind it is what it then says.
  const { token } = bundle;
  const local = JSON.stringify({ host: "http://127.0.0.1:12314", token });
  await Deno.writeTextFile(`${dir}/local.json`, local);
  const env = { HOME: dir, XDG_CONFIG_HOME: `${dir}/config` };
  await mustRun([binary, "context", "import", `${dir}/local.json`, "--use"], { env });
  for (const words of [["list"], ["events"]]) {
    const { status, stderr } = await run([binary, ...words], { env });
    assertMatch(stderr, /Cannot reach kurmad at ".*none\.sock"/);
    assertEquals(status, 7);
  }
});
