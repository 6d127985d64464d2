/**
 * Who is let in: certificates and tokens of every kind, over a network, with curl and
 * openssl as clients beside our own.
 */

import { python } from "../api/served.ts";
import { assert, assertEquals, assertMatch } from "../assert.ts";
import { binary, mustRun, type Output, run, Running, test } from "../harness.ts";
import { Kurmad } from "../kurmad/daemon.ts";
import { Broker, type Files, Papers } from "./broker_process.ts";
import { hostAddress, otherAddress, Wire } from "./wire.ts";

const clientAuth = "extendedKeyUsage=clientAuth";
const leaf = "basicConstraints=critical,CA:FALSE";
const admin = "subjectAltName=URI:kurma:role:admin";

/** What a case has to work with. */
interface World {
  readonly wire: Wire;
  readonly papers: Papers;
  readonly dir: string;
  /** A client with a good certificate, by files and as a bundle. */
  readonly alice: Files;
  readonly bundle: string;
  readonly strict: Broker;
  readonly lenient: Broker;
}

type Case = (world: World) => Promise<void>;

async function text(command: string[], stdin?: string, env?: Record<string, string>) {
  const { stdout, stderr, status } = await run(command, { stdin, env });
  return { all: `${stdout}\n${stderr}`, stdout, stderr, status };
}

/** A call by curl; `more` are its flags. */
function curl({ wire, papers }: World, port: number, more: string[], files?: Files) {
  return text(wire.there(
    ...["curl", "-sS", "-w", " status %{http_code} by %{http_version}"],
    ...["--cacert", papers.ca.certificate, "--resolve", `host.test:${port}:${hostAddress}`],
    ...(files === undefined ? [] : ["--cert", files.certificate, "--key", files.key]),
    ...["-H", "content-type: application/json", "-d", "{}", ...more],
    `https://host.test:${port}/kurma.v1.System/Ping`,
  ));
}

const request = "POST /kurma.v1.System/Ping HTTP/1.1\r\nhost: host.test\r\nconnection: close\r\n" +
  "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/** A call by openssl s_client. */
function sClient({ wire, papers }: World, port: number, more: string[], files?: Files) {
  return text(
    wire.there(
      ...["openssl", "s_client", "-connect", `${hostAddress}:${port}`, "-servername", "host.test"],
      ...["-CAfile", papers.ca.certificate, "-ign_eof", ...more],
      ...(files === undefined ? [] : ["-cert", files.certificate, "-key", files.key]),
    ),
    request,
  );
}

/** A bundle as a file has it, with an address for the name that no resolver knows. */
function addressed(bundle: object): string {
  return JSON.stringify(bundle).replace("tcp://host.test", `tcp://${hostAddress}`);
}

/** A call by grpc, with certificates from files. */
const pythonPing = `
import grpc, sys
target, *files = sys.argv[1:]
texts = [open(path, "rb").read() for path in files]
channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(*texts))
print(channel.unary_unary("/kurma.v1.System/Ping")(b"", timeout=20))
`;

/** A command of ours, with a bundle as its context. */
async function kurma({ wire, dir }: World, bundle: object, ...words: string[]): Promise<Output> {
  const home = await Deno.makeTempDir({ dir });
  await Deno.writeTextFile(`${home}/b.json`, addressed(bundle), { mode: 0o600 });
  const env = { HOME: home, XDG_CONFIG_HOME: home };
  await mustRun([binary, "context", "import", `${home}/b.json`, "--use"], { env });
  return await run(wire.there(binary, ...words), { env });
}

/** curl is refused with an alert. */
function refused(make: (world: World) => Promise<Files | undefined>, alert: RegExp): Case {
  return async (world) => {
    const files = await make(world);
    for (const { port } of [world.strict, world.lenient]) {
      const { all, status } = await curl(world, port, [], files);
      assertMatch(all, alert);
      assert.ok(status !== 0 && !/status 200/.test(all), all);
    }
  };
}

/** A certificate that openssl makes, which is on the list all the same. */
function listed(name: string, ...extensions: string[]) {
  return async ({ papers }: World) => {
    const files = await papers.foreign({ name, extensions });
    await papers.list(files, "alice", "admin");
    return files;
  };
}

/** A token of that name, and the flags that make curl show it. */
async function tokenOf({ papers }: World, name: string): Promise<string[]> {
  const bundle = await papers.kurma("token", "create", name, "--role", "viewer", "-f", "-");
  return ["-H", `authorization: Bearer ${JSON.parse(bundle).token}`];
}

const cases: Record<string, Case> = {
  async "a good certificate, HTTP/2"(world) {
    const { all } = await curl(world, world.strict.port, [], world.alice);
    assertMatch(all, /^\{\} status 200 by 2/);
  },
  async "a good certificate, HTTP/1.1"(world) {
    const { all } = await curl(world, world.strict.port, ["--http1.1"], world.alice);
    assertMatch(all, /^\{\} status 200 by 1\.1/);
  },
  async "a good certificate, without ALPN"(world) {
    const { all } = await sClient(world, world.strict.port, [], world.alice);
    assertMatch(all, /No ALPN negotiated[^]*HTTP\/1\.1 200 /);
  },
  async "a good certificate, a protocol that nobody speaks"(world) {
    const { all } = await sClient(world, world.strict.port, ["-alpn", "h3"], world.alice);
    assertMatch(all, /alert no application protocol/);
  },
  async "a good certificate, gRPC of Python"(world) {
    const { wire, papers, alice, strict } = world;
    const files = [papers.ca.certificate, alice.key, alice.certificate];
    const target = `${hostAddress}:${strict.port}`;
    const { stdout, stderr } = await text(
      wire.there(python, "-c", pythonPing, target, ...files),
    );
    assertEquals(stdout, "b''\n", stderr);
  },
  async "no certificate, gRPC of Python"(world) {
    const { wire, papers, strict } = world;
    const target = `${hostAddress}:${strict.port}`;
    const { all } = await text(
      wire.there(python, "-c", pythonPing, target, papers.ca.certificate),
    );
    assertMatch(all, /StatusCode\.UNAVAILABLE/);
  },
  async "no certificate"(world) {
    const { all } = await curl(world, world.strict.port, []);
    assertMatch(all, /alert certificate required/);
  },
  "an expired certificate": refused(async ({ papers }) => {
    const files = await papers.foreign({
      name: "alice",
      extensions: [leaf, clientAuth, admin],
      to: "20210101000000Z",
    });
    await papers.list(files, "alice", "admin");
    return files;
  }, /alert certificate expired/),
  "a certificate of the future": refused(async ({ papers }) => {
    const files = await papers.foreign({
      name: "alice",
      extensions: [leaf, clientAuth, admin],
      from: "20980101000000Z",
    });
    await papers.list(files, "alice", "admin");
    return files;
  }, /alert (bad certificate|certificate expired)/),
  "a certificate of another CA": refused(async ({ papers }) => {
    const issuer = await papers.selfSigned("Kurma CA", ["keyUsage=critical,keyCertSign"]);
    const extensions = [leaf, clientAuth, admin];
    return await papers.foreign({ name: "alice", extensions, issuer });
  }, /alert unknown ca/),
  "a certificate that signs itself": refused(
    ({ papers }) => papers.selfSigned("alice", [clientAuth, admin]),
    /alert unknown ca/,
  ),
  "the server's certificate": refused(async ({ papers }) => {
    const both = `${papers.api}/server.pem`;
    return await Promise.resolve({ certificate: both, key: both });
  }, /alert unsupported certificate/),
  "a certificate for no use": refused(
    listed("alice", leaf, admin),
    /alert unsupported certificate/,
  ),
  "a certificate for any use": refused(
    listed("alice", leaf, admin, "extendedKeyUsage=anyExtendedKeyUsage"),
    /alert unsupported certificate/,
  ),
  "a certificate that a client's certificate signs": refused(async ({ papers, alice }) => {
    const extensions = [leaf, clientAuth, admin];
    const files = await papers.foreign({ name: "alice", extensions, issuer: alice });
    const chain = await Deno.readTextFile(alice.certificate);
    await Deno.writeTextFile(files.certificate, chain, { append: true });
    return files;
  }, /alert unknown ca/),
  "a certificate of our CA that is on no list": refused(
    ({ papers }) => papers.foreign({ name: "alice", extensions: [leaf, clientAuth, admin] }),
    /alert bad certificate/,
  ),
  "another role than the list has": refused(
    listed("alice", leaf, clientAuth, "subjectAltName=URI:kurma:role:viewer"),
    /alert unsupported certificate/,
  ),
  "an unknown role": refused(
    listed("alice", leaf, clientAuth, "subjectAltName=URI:kurma:role:king"),
    /alert unsupported certificate/,
  ),
  "two roles": refused(
    listed("alice", leaf, clientAuth, `${admin},URI:kurma:role:viewer`),
    /alert unsupported certificate/,
  ),
  "no role": refused(listed("alice", leaf, clientAuth), /alert unsupported certificate/),
  "another name than the list has": refused(
    listed("mallory", leaf, clientAuth, admin),
    /alert unsupported certificate/,
  ),
  "a certificate that was revoked": refused(async ({ papers }) => {
    const files = await papers.files(await papers.client("gone", "admin"));
    assertMatch(await papers.kurma("revoke", "gone"), /^gone [0-9a-f]{64}$/m);
    return files;
  }, /alert certificate revoked/),
  async "a certificate that is revoked while it is connected"(world) {
    const { wire, papers, dir, strict } = world;
    const bundle = await papers.client("going", "admin");
    await Deno.writeTextFile(bundle, addressed(JSON.parse(await Deno.readTextFile(bundle))));
    const env = { HOME: dir, XDG_CONFIG_HOME: `${dir}/going` };
    await mustRun([binary, "context", "import", bundle, "--use"], { env });
    const events = new Running(wire.there(binary, "events", "--since", "1h"), { env });
    await events.says(/container create/);
    await papers.kurma("revoke", "going");
    const { status, stderr } = await events.output;
    assertMatch(stderr, /^kurma: Cannot (ask|reach) .*: (it went away|our certificate is revoked)/);
    assert.ok(status === 5 || status === 7, String(status));
    await strict.says(/Closed a connection .*name=going cause=revoked/);
  },
  async "TLS 1.2"(world) {
    const { all } = await sClient(world, world.strict.port, ["-tls1_2"], world.alice);
    assertMatch(all, /alert protocol version/);
  },
  async "no TLS at all"({ wire, strict }) {
    const url = `http://${hostAddress}:${strict.port}/kurma.v1.System/Ping`;
    const { status, stdout } = await text(wire.there("curl", "-sS", "-d", "{}", url));
    assert.ok(status !== 0);
    assertEquals(stdout, "");
  },
  async "a session cannot be taken up again"(world) {
    const kept = `${world.dir}/kept-session`;
    const { all } = await sClient(world, world.strict.port, ["-sess_out", kept], world.alice);
    assertMatch(all, /HTTP\/1\.1 200 /);
    assert.doesNotMatch(all, /New Session Ticket/);
    const reused = await sClient(world, world.strict.port, ["-reconnect"], world.alice);
    assert.doesNotMatch(reused.all, /^Reused/m);
  },
  async "a session of before does not help a certificate that is revoked"(world) {
    const { papers, dir, strict } = world;
    const files = await papers.files(await papers.client("late", "admin"));
    const kept = await foreignSession(world);
    const before = await sClient(world, strict.port, ["-sess_in", kept], files);
    assertMatch(before.all, /New, TLSv1\.3[^]*HTTP\/1\.1 200 /);
    await papers.kurma("revoke", "late");
    await Deno.writeTextFile(`${dir}/early`, request);
    const more = ["-sess_in", kept, "-early_data", `${dir}/early`];
    const after = await sClient(world, strict.port, more, files);
    assertMatch(after.all, /Early data was rejected/);
    assertMatch(after.all, /alert certificate revoked/);
    assert.doesNotMatch(after.all, /^Reused|HTTP\/1\.1 200/m);
  },
  async "a token where there are none"(world) {
    const { all } = await curl(world, world.strict.port, await tokenOf(world, "early"));
    assertMatch(all, /alert certificate required/);
  },
  async "a good token"(world) {
    const { all } = await curl(world, world.lenient.port, await tokenOf(world, "ci"));
    assertMatch(all, /^\{\} status 200/);
  },
  async "a certificate where tokens are taken as well"(world) {
    const { all } = await curl(world, world.lenient.port, [], world.alice);
    assertMatch(all, /^\{\} status 200/);
  },
  async "neither certificate nor token"(world) {
    const { all } = await curl(world, world.lenient.port, []);
    assertMatch(all, /"code":"unauthenticated".* status 401/);
  },
  async "a wrong token"(world) {
    const wrong = ["-H", `authorization: Bearer kurma_${"A".repeat(43)}`];
    const { all } = await curl(world, world.lenient.port, wrong);
    assertMatch(all, /"code":"unauthenticated".* status 401/);
  },
  async "the hash of a token"(world) {
    await tokenOf(world, "hashed");
    const rows = JSON.parse(await world.papers.kurma("token", "list", "-o", "json"));
    const { fingerprint } = rows.find(({ name }: { name: string }) => name === "hashed");
    const { all } = await curl(world, world.lenient.port, [
      ...["-H", `authorization: Bearer ${fingerprint}`],
    ]);
    assertMatch(all, / status 401/);
  },
  async "a token that was revoked"(world) {
    const shown = await tokenOf(world, "over");
    assertMatch((await curl(world, world.lenient.port, shown)).all, /status 200/);
    await world.papers.kurma("token", "revoke", "over");
    assertMatch((await curl(world, world.lenient.port, shown)).all, /status 401/);
  },
  async "our own client with its bundle"(world) {
    const bundle = JSON.parse(await Deno.readTextFile(world.bundle));
    const { status, stdout, stderr } = await kurma(world, bundle, "list");
    assertEquals([status, stderr], [0, ""]);
    assertMatch(stdout, /^NAME/);
  },
  async "our own client with a token"(world) {
    const host = `tcp://${hostAddress}:${world.lenient.port}`;
    const bundle = JSON.parse(
      await world.papers.kurma("token", "create", "own", "--role", "viewer", "-f", "-"),
    );
    const { status, stderr } = await kurma(world, { ...bundle, host }, "events", "--until", "0s");
    assertEquals([status, stderr], [0, ""]);
  },
  async "our own client without a certificate"(world) {
    const { host, ca } = JSON.parse(await Deno.readTextFile(world.bundle));
    const { status, stderr } = await kurma(world, { host, ca }, "list");
    assertMatch(
      stderr,
      /Cannot reach "tcp:.*": it wants a certificate.*kurma context import FILE$/m,
    );
    assertEquals(status, 5);
  },
  async "our own client, and a server of another CA"(world) {
    const bundle = JSON.parse(await Deno.readTextFile(world.bundle));
    const other = await world.papers.selfSigned("Kurma CA", ["keyUsage=critical,keyCertSign"]);
    const ca = await Deno.readTextFile(other.certificate);
    const { status, stderr } = await kurma(world, { ...bundle, ca }, "list");
    assertMatch(stderr, /its certificate is not signed by a CA that is trusted here/);
    assertEquals(status, 5);
  },
  async "our own client, and a server by another name"(world) {
    const bundle = JSON.parse(await Deno.readTextFile(world.bundle));
    const host = `tcp://${otherAddress}:${world.strict.port}`;
    const { status, stderr } = await kurma(world, { ...bundle, host }, "list");
    assertMatch(stderr, /its certificate is for other names/);
    assertEquals(status, 5);
  },
  async "our own client, and a server whose certificate has expired"(world) {
    const { papers, dir } = world;
    const old = await papers.foreign({
      name: "kurma-api",
      extensions: [leaf, "extendedKeyUsage=serverAuth", `subjectAltName=IP:${hostAddress}`],
      to: "20210101000000Z",
    });
    const server = new Running([
      ...["openssl", "s_server", "-accept", `${hostAddress}:12320`, "-cert", old.certificate],
      ...["-key", old.key, "-naccept", "1"],
    ], { stdin: "open" });
    await server.says(/ACCEPT/);
    const bundle = JSON.parse(await Deno.readTextFile(world.bundle));
    const host = `tcp://${hostAddress}:12320`;
    const { status, stderr } = await kurma({ ...world, dir }, { ...bundle, host }, "list");
    await server.output;
    assertMatch(stderr, /its certificate is of another time.*run kurma api renew there/);
    assertEquals(status, 5);
  },
  async "our own client, and something else that listens"(world) {
    const listener = Deno.listen({ hostname: hostAddress, port: 12321 });
    const answered = listener.accept().then(async (connection) => {
      await connection.write(new TextEncoder().encode("SSH-2.0-OpenSSH_9.2\r\n"));
      connection.close();
    });
    const bundle = JSON.parse(await Deno.readTextFile(world.bundle));
    const host = `tcp://${hostAddress}:12321`;
    const { status, stderr } = await kurma(world, { ...bundle, host }, "list");
    await answered;
    listener.close();
    assertMatch(stderr, /Cannot reach "tcp:.*12321": what listens there is no kurma-api/);
    assertEquals(status, 7);
  },
  async "our own client with a certificate that was revoked"(world) {
    const path = await world.papers.client("mine", "admin");
    await world.papers.kurma("revoke", "mine");
    const bundle = JSON.parse(await Deno.readTextFile(path));
    const { status, stderr } = await kurma(world, bundle, "list");
    assertMatch(stderr, /our certificate is revoked/);
    assertEquals(status, 5);
  },
};

/** A session that another server has given a ticket for, with leave for early data. */
async function foreignSession({ papers, dir, alice }: World): Promise<string> {
  const kept = `${dir}/session`;
  const both = `${papers.api}/server.pem`;
  const server = new Running([
    ...["openssl", "s_server", "-accept", "127.0.0.1:14433", "-cert", both, "-key", both],
    ...["-max_early_data", "16384", "-naccept", "1", "-www"],
  ]);
  await server.says(/ACCEPT/);
  await mustRun([
    ...["openssl", "s_client", "-connect", "127.0.0.1:14433", "-sess_out", kept, "-ign_eof"],
    ...["-servername", "host.test", "-cert", alice.certificate, "-key", alice.key],
  ], { stdin: "GET / HTTP/1.0\r\n\r\n" });
  await server.output;
  return kept;
}

test("kurma-api: who is let in", async ({ dir }) => {
  await using kurmad = await Kurmad.start(dir);
  const host = kurmad.api.host;
  await mustRun([binary, "-H", host, "create", "--name", "something", kurmad.image, "true"]);
  {
    await using wire = await Wire.lay();
    const papers = await Papers.make(dir);
    const bundle = await papers.client("alice", "admin");
    const alice = await papers.files(bundle);
    const socket = `${dir}/kurma.sock`;
    await using strict = await Broker.start(papers, socket, 12312);
    await using lenient = await Broker.start(papers, socket, 12313, "--allow-tokens");
    const world = { wire, papers, dir, alice, bundle, strict, lenient };
    const wrong: string[] = [];
    for (const [name, tell] of Object.entries(cases)) {
      await tell(world).catch((error) => wrong.push(`${name}: ${error.stack}`));
    }
    const listening = (await mustRun(["ss", "-Hltn"])).trim().split("\n").length;
    assertEquals(listening, 2, "nothing else listens");
    const count = Object.keys(cases).length;
    console.log(`certificates: ${count} tried, ${count - wrong.length} as they should be`);
    assertEquals(wrong, []);
  }
  await kurmad.quit();
});
