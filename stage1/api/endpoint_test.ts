import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { type Endpoint, endpointName } from "./endpoint.ts";
import { endpointOf } from "./hosts.ts";

function tcp(hostname: string, port = 12312, isPlain = false): Endpoint {
  return { kind: "tcp", hostname, port, isPlain, credential: {} };
}

function ssh(destination: string, port?: number, path?: string): Endpoint {
  return { kind: "ssh", destination, port, path };
}

const known: Record<string, Endpoint> = {
  "/run/kurma.sock": { kind: "unix", path: "/run/kurma.sock" },
  "unix:///run/kurma.sock": { kind: "unix", path: "/run/kurma.sock" },
  "unix://kurma.sock": { kind: "unix", path: "/here/kurma.sock" },
  "./kurma.sock": { kind: "unix", path: "/here/./kurma.sock" },
  "10.0.0.1": tcp("10.0.0.1"),
  "host.example": tcp("host.example"),
  "host.example:99": tcp("host.example", 99),
  "tcp://10.0.0.1": tcp("10.0.0.1"),
  "tcp://10.0.0.1:12312/": tcp("10.0.0.1"),
  "tcp://[2001:db8::1]:99": tcp("2001:db8::1", 99),
  "2001:db8::1": tcp("2001:db8::1"),
  "::1": tcp("::1"),
  "[::1]:99": tcp("::1", 99),
  "http://127.0.0.1:8080": tcp("127.0.0.1", 8080, true),
  "ssh://lab": ssh("lab"),
  "ssh://me@lab.example:2222": ssh("me@lab.example", 2222),
  "ssh://me@lab/srv/kurma.sock": ssh("me@lab", undefined, "/srv/kurma.sock"),
  "ssh://me@[2001:db8::1]:22": ssh("me@2001:db8::1", 22),
};

for (const [host, endpoint] of Object.entries(known)) {
  Deno.test(`endpointOf() knows ${host}`, () => {
    assertEquals(endpointOf(host, "/here"), endpoint);
  });
}

for (
  const host of [
    ...["", "unix://", "tcp://", "tcp://a:0", "tcp://a:65536", "tcp://a:b", "a b", "tcp://a/b"],
    ...[
      "ftp://a",
      "https://a",
      "ssh://",
      "ssh://-oProxyCommand=x",
      "ssh://a b",
      "ssh://a:0",
      "[::1",
    ],
    ...["ssh://a;reboot", "http://10.0.0.1", "tcp://u@a", "unix://a\0b"],
  ]
) {
  Deno.test(`endpointOf() refuses ${JSON.stringify(host)}`, async () => {
    const error = await rejection(() => endpointOf(host, "/here"));
    assertMatch(error.message, /^Cannot use ".*"/);
  });
}

for (const host of ["/run/kurma.sock", "tcp://[2001:db8::1]:99", "ssh://me@lab:2222/srv/k.sock"]) {
  Deno.test(`endpointName() calls ${host} so`, () => {
    assertEquals(endpointName(endpointOf(host, "/")), host);
  });
}
