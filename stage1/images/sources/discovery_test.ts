import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { discover, parsePage } from "./discovery.ts";
import { type AppcReference, parseReference } from "./reference.ts";
import { impatient, TestRegistry } from "./testing.ts";
import { Hosts } from "./hosts.ts";
import { Transport } from "./transport.ts";

const labels = { version: "1.0", os: "linux", arch: "amd64" };
const meta = (content: string) => `<meta name="ac-discovery" content="${content}">`;
const template = "https://cdn.example.com/{name}-{version}-{os}-{arch}.{ext}";
const acis = (html: string, name = "example.com/app") =>
  parsePage(html, name, labels).map(({ aci }) => aci);

Deno.test("parsePage() fills templates in the page's order", () => {
  const page = `<html><head>
    ${meta(`example.com/app ${template}`)}
    <META content='example.com https://b.example.com/{name}.{ext}?a=1&amp;b=2' name='ac-discovery' />
    ${meta(`example.com/app ${template}`)}`;
  assertEquals(parsePage(page, "example.com/app", labels), [
    {
      aci: "https://cdn.example.com/example.com/app-1.0-linux-amd64.aci",
      signature: "https://cdn.example.com/example.com/app-1.0-linux-amd64.aci.asc",
    },
    {
      aci: "https://b.example.com/example.com/app.aci?a=1&b=2",
      signature: "https://b.example.com/example.com/app.aci.asc?a=1&b=2",
    },
  ]);
});

const ignored: Record<string, string> = {
  "another name's template": meta(`example.com/other ${template}`),
  "a prefix that ends within a word": meta(`example.com/ap ${template}`),
  "a label nobody knows": meta("example.com https://cdn.example.com/{name}-{flavour}.{ext}"),
  "a label of Object's": meta("example.com https://cdn.example.com/{constructor}.{ext}"),
  "another scheme": meta("example.com file:///etc/{ext}"),
  "a password": meta("example.com https://a:b@cdn.example.com/{name}"),
  "no URL": meta("example.com {name}.{ext}"),
  "three words": meta("example.com https://a.example.com/ b"),
  "what is in a comment": `<!-- ${meta(`example.com ${template}`)} -->`,
  "what is in a script": `<script>"${meta(`example.com ${template}`)}"</script>`,
  "another meta": `<meta name="ac-discovery-pubkeys" content="example.com ${template}">`,
};
for (const [name, page] of Object.entries(ignored)) {
  Deno.test(`parsePage() ignores ${name}`, () => assertEquals(acis(page), []));
}

Deno.test("parsePage() keeps labels in their place", () => {
  const page = meta("example.com https://cdn.example.com/v/{version}/{ext}");
  const fill = (version: string) =>
    parsePage(page, "example.com/app", { version }).map(({ aci }) => aci);
  assertEquals(fill("../../x"), []);
  assertEquals(fill("1?x#y@z"), ["https://cdn.example.com/v/1%3Fx%23y%40z/aci"]);
});

Deno.test("parsePage() ends in time for whatever a page holds", () => {
  const start = performance.now();
  for (
    const piece of [
      "<",
      "<meta ",
      "<!--",
      "<script",
      "<meta name='ac-discovery' content='a b'",
      "{",
      "a=",
    ]
  ) {
    acis(piece.repeat(1_000_000 / piece.length));
    acis(`<meta name="ac-discovery" content="${piece.repeat(10_000)}">`);
  }
  assert(performance.now() - start < 2000, `${performance.now() - start} ms`);
});

Deno.test("discover() asks for the name, then for its prefixes", async () => {
  await using server = new TestRegistry();
  using transport = new Transport(server.hosts(), impatient);
  const name = `${server.host}/team/app`;
  server.intercept = (request) => {
    assertMatch(request.url, /\?ac-discovery=1$/);
    return new URL(request.url).pathname === "/team"
      ? new Response(meta(`${server.host}/team http://${server.host}/{name}/{version}.{ext}`))
      : undefined;
  };
  const reference: AppcReference = { kind: "appc", name, labels: {} };
  const found = await discover(transport, reference, { insecure: true, labels });
  assertEquals(found.map(({ aci }) => aci), [`http://${server.host}/${encodeURI(name)}/1.0.aci`
    .replace(/(?<=\d\/.*):/, "%3A")]);
  assertEquals(server.log, ["GET /team/app", "GET /team"]);
});

Deno.test("discover() does without TLS only if it is asked to", async () => {
  await using server = new TestRegistry();
  using transport = new Transport(server.hosts(), impatient);
  const reference: AppcReference = { kind: "appc", name: server.host, labels: {} };
  const error = await rejection(discover(transport, reference));
  assertMatch(error.message, /Cannot find ".*" by discovery: Cannot discover "https:/);
  assertEquals(server.log, []);
});

Deno.test("discover() never asks a metadata service", async () => {
  using transport = new Transport(new Hosts(), impatient);
  const reference = parseReference("appc://169.254.169.254/latest") as AppcReference;
  const error = await rejection(discover(transport, reference, { insecure: true }));
  assertMatch(error.message, /link-local address/);
});
