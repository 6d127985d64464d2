import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { KurmaError } from "../../../ffi/errors.ts";
import { loadHosts, parseHosts } from "./hosts.ts";

Deno.test("loadHosts() without a file configures nothing", async () => {
  const hosts = await loadHosts("/nowhere/hosts.yaml");
  assertEquals(hosts.of("docker.io"), { mirrors: [], plainHttp: false, tokenHosts: [] });
  assert(!hosts.has("docker.io"));
});

Deno.test("loadHosts() does not believe a file that others may write", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.chmod(path, 0o606);
    assertMatch(
      (await rejection(loadHosts(path))).message,
      /Cannot trust ".*": others may write it/,
    );
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("parseHosts() reads what is documented, paths relative to the file", async () => {
  const hosts = await parseHosts(
    `
hosts:
  docker.io:
    mirrors: [mirror.example.com/hub, "127.0.0.1:5000"]
  Registry.example.com:5000:
    ca: ca.pem
    certificate: /abs/client.pem
    key: client.key
    tokenHosts: [login.example.org]
  127.0.0.1:5000: { plainHttp: true }
`,
    "/etc/kurma/hosts.yaml",
  );
  assertEquals(hosts.of("docker.io").mirrors, ["mirror.example.com/hub", "127.0.0.1:5000"]);
  assertEquals(hosts.of("registry.example.com:5000"), {
    mirrors: [],
    plainHttp: false,
    tokenHosts: ["login.example.org"],
    ca: "/etc/kurma/ca.pem",
    certificate: "/abs/client.pem",
    key: "/etc/kurma/client.key",
  });
  assert(hosts.of("127.0.0.1:5000").plainHttp);
  assert(!hosts.of("127.0.0.1").plainHttp);
});

const refusals: [string, RegExp][] = [
  ["hosts: [", /^Cannot use "\/c\.yaml": /],
  ["- a", /it is not a mapping/],
  ["host: {}", /"host" is not a setting; Use hosts/],
  ["hosts: 5", /"hosts" is not a mapping/],
  ["hosts: { a: 5 }", /"\/c\.yaml: a": it is not a mapping/],
  ["hosts: { a: { insecure: true } }", /"insecure" is not a setting; Use mirrors, plainHttp/],
  ["hosts: { a: { plainHttp: yes please } }", /"plainHttp" is not true or false/],
  ["hosts: { a: { mirrors: b } }", /"mirrors" is not a list/],
  ["hosts: { a: { mirrors: ['https://b'] } }", /is not a host name/],
  ["hosts: { a: { mirrors: ['b/../c'] } }", /"\.\." is not allowed/],
  ["hosts: { a: { certificate: x } }", /go together/],
  ["hosts: { a: { plainHttp: true, ca: x } }", /leaves no use for "ca"/],
  ["hosts: { 'a b': {} }", /is not a host name/],
];
for (const [text, message] of refusals) {
  Deno.test(`parseHosts() refuses ${text}`, async () => {
    const error = await rejection(parseHosts(text, "/c.yaml"));
    assert(error instanceof KurmaError && error.code === "invalid", error.stack);
    assertMatch(`${error.message}; ${error.fix}`, message);
  });
}
