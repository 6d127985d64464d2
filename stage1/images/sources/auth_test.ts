import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import { belongsTo } from "./auth.ts";
import { anonymous, type Credential, type Credentials } from "./credentials.ts";
import { parsePlatform } from "./platform.ts";
import { RegistryClient } from "./registry.ts";
import { encode, impatient, TestRegistry } from "./testing.ts";

const platform = parsePlatform("linux/amd64");
const alice: Credential = { kind: "password", username: "alice", password: "s3cret" };
const aliceHeader = `Basic ${btoa("alice:s3cret")}`;

function holding(registry: TestRegistry, credential: Credential): Credentials {
  return { find: (name) => Promise.resolve(name === registry.host ? credential : undefined) };
}

/** Makes a registry ask for `demand` unless `accepted` comes. */
function guard(registry: TestRegistry, demand: string, accepted: string) {
  const before = registry.intercept;
  registry.intercept = (request, path) =>
    path.startsWith("/v2/") && request.headers.get("authorization") !== accepted
      ? new Response(null, { status: 401, headers: { "www-authenticate": demand } })
      : before(request, path);
}

/** Makes a registry a token server as well. */
function issueTokens(
  server: TestRegistry,
  issue: (request: Request) => Response | Promise<Response>,
) {
  const before = server.intercept;
  server.intercept = (request, path) => path === "/token" ? issue(request) : before(request, path);
}

Deno.test("basic: the password is sent once it is asked for", async () => {
  await using registry = new TestRegistry();
  registry.addImage("app:1", encode("x"));
  guard(registry, 'Basic realm="registry"', aliceHeader);
  using client = new RegistryClient({
    hosts: registry.hosts(),
    credentials: holding(registry, alice),
    timing: impatient,
  });
  await client.resolve(registry.reference(), { platform });
  assertEquals(registry.authorizations, ["none", aliceHeader, aliceHeader]);
});

Deno.test("token: asked for once, with service, scope and password, and used for all", async () => {
  await using registry = new TestRegistry();
  registry.addImage("app:1", encode("x"));
  const asked: string[] = [];
  issueTokens(registry, (request) => {
    asked.push(new URL(request.url).search);
    return Response.json({ token: "T0ken", expires_in: 300 });
  });
  const realm = `http://${registry.host}/token`;
  guard(
    registry,
    `Bearer realm="${realm}",service="reg",scope="repository:app:pull"`,
    "Bearer T0ken",
  );
  using client = new RegistryClient({
    hosts: registry.hosts(),
    credentials: holding(registry, alice),
    timing: impatient,
  });
  await client.resolve(registry.reference(), { platform });
  assertEquals(asked, ["?service=reg&scope=repository%3Aapp%3Apull"]);
  assertEquals(registry.authorizations, ["none", aliceHeader, "Bearer T0ken", "Bearer T0ken"]);
});

Deno.test("token: an identity token is traded by OAuth2", async () => {
  await using registry = new TestRegistry();
  registry.addImage("app:1", encode("x"));
  let form = "";
  issueTokens(registry, async (request) => {
    form = `${request.method} ${await request.text()}`;
    return Response.json({ access_token: "T0ken" });
  });
  guard(registry, `Bearer realm="http://${registry.host}/token"`, "Bearer T0ken");
  using client = new RegistryClient({
    hosts: registry.hosts(),
    credentials: holding(registry, { kind: "identity", token: "refresh" }),
    timing: impatient,
  });
  await client.resolve(registry.reference(), { platform });
  assertEquals(
    form,
    "POST grant_type=refresh_token&client_id=kurma&refresh_token=refresh&scope=repository%3Aapp%3Apull",
  );
});

Deno.test("token: a server elsewhere is asked without the password, unless it is listed", async () => {
  await using elsewhere = new TestRegistry();
  await using registry = new TestRegistry();
  registry.addImage("app:1", encode("x"));
  issueTokens(
    elsewhere,
    (request) =>
      request.headers.has("authorization")
        ? Response.json({ token: "T0ken" })
        : new Response(null, { status: 401 }),
  );
  guard(registry, `Bearer realm="http://${elsewhere.host}/token"`, "Bearer T0ken");
  const credentials = holding(registry, alice);
  {
    const hosts = registry.hosts({}, elsewhere);
    using client = new RegistryClient({ hosts, credentials, timing: impatient });
    const error = await rejection(client.resolve(registry.reference(), { platform }));
    assert(error instanceof KurmaError);
    assertMatch(`${error.fix}`, /was not sent the password .* "tokenHosts" of "127/);
    assertEquals(elsewhere.authorizations, ["none"]);
  }
  const hosts = registry.hosts({ tokenHosts: [elsewhere.host] }, elsewhere);
  using client = new RegistryClient({ hosts, credentials, timing: impatient });
  await client.resolve(registry.reference(), { platform });
  assertEquals(elsewhere.authorizations, ["none", aliceHeader]);
});

const realms: [string, RegExp][] = [
  ["http://attacker.example/token", /sends for a token to attacker\.example without TLS/],
  ["file:///etc/passwd", /without TLS/],
  ["https://user:password@attacker.example/", /as its token server/],
  ["/token", /as its token server/],
  ["", /as its token server/],
];
for (const [realm, message] of realms) {
  Deno.test(`token: realm ${JSON.stringify(realm)} is refused`, async () => {
    await using registry = new TestRegistry();
    guard(registry, `Bearer realm="${realm}"`, "never");
    using client = new RegistryClient({
      hosts: registry.hosts(),
      credentials: holding(registry, alice),
      timing: impatient,
    });
    const error = await rejection(client.resolve(registry.reference(), { platform }));
    assert(error instanceof KurmaError && error.code === "denied");
    assertMatch(error.message, message);
    assertEquals(registry.authorizations, ["none"]);
  });
}

Deno.test("token: one that would break out of its header is refused", async () => {
  await using registry = new TestRegistry();
  issueTokens(registry, () => Response.json({ token: "a\r\nx-evil: 1" }));
  guard(registry, `Bearer realm="http://${registry.host}/token"`, "never");
  using client = new RegistryClient({ hosts: registry.hosts(), timing: impatient });
  const error = await rejection(client.resolve(registry.reference(), { platform }));
  assertMatch(error.message, /the token is empty or not printable/);
});

Deno.test("a redirect to another host takes no password along, and that host cannot ask for it", async () => {
  await using elsewhere = new TestRegistry();
  await using registry = new TestRegistry();
  const { layer } = registry.addImage("app:1", encode("x"));
  elsewhere.blobs.set(layer.digest, encode("x"));
  registry.intercept = (_, path) =>
    path.endsWith(layer.digest)
      ? new Response(null, {
        status: 307,
        headers: { location: `http://${elsewhere.host}${path}` },
      })
      : undefined;
  guard(registry, "Basic", aliceHeader);
  using client = new RegistryClient({
    hosts: registry.hosts({}, elsewhere),
    credentials: holding(registry, alice),
    timing: impatient,
  });
  const image = await client.resolve(registry.reference(), { platform });
  const read = async () => {
    for await (const chunk of image.openBlob(layer)) assertEquals(chunk, encode("x"));
  };
  await read();
  assertEquals(elsewhere.authorizations, ["none"]);

  guard(elsewhere, `Basic realm="please"`, aliceHeader);
  assertMatch((await rejection(read())).message, /answered 401/);
  assertEquals(elsewhere.authorizations, ["none", "none"]);
});

Deno.test("a wrong password, and none at all, say what to do", async () => {
  await using registry = new TestRegistry();
  guard(registry, "Basic", "never");
  const cases = [[anonymous, /wants a password/, /Log in with/], [
    holding(registry, alice),
    /answered 401/,
    /the account used for 127.* may not do this/,
  ]] as const;
  for (const [credentials, message, fix] of cases) {
    const hosts = registry.hosts();
    using client = new RegistryClient({ hosts, credentials, timing: impatient });
    const error = await rejection(client.resolve(registry.reference(), { platform }));
    assert(error instanceof KurmaError && error.code === "denied");
    assertMatch(error.message, message);
    assertMatch(error.fix ?? "", fix);
  }
});

const neighbours: [string, string, boolean][] = [
  ["https://auth.docker.io/token", "https://registry-1.docker.io", true],
  ["https://gitlab.com/jwt/auth", "https://registry.gitlab.com", true],
  ["https://registry.example.com:5000/token", "https://registry.example.com:5000", true],
  ["https://registry.example.com:5001/token", "https://registry.example.com:5000", false],
  ["http://registry.example.com/token", "https://registry.example.com", false],
  ["https://attacker.example/token", "https://registry.example.com", false],
  ["https://notexample.com/token", "https://registry.example.com", false],
  ["https://evil.co.uk/token", "https://registry.good.co.uk", false],
  ["https://127.0.0.2/token", "https://127.0.0.1", false],
  ["https://evil/token", "https://registry", false],
];
for (const [realm, registry, own] of neighbours) {
  Deno.test(`belongsTo(): ${realm} ${own ? "is" : "is not"} of ${registry}`, () => {
    assertEquals(belongsTo(new URL(realm), new URL(registry)), own);
  });
}
