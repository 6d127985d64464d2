import { openSsl } from "../../ffi/openssl.ts";
import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import type { Handler } from "../api/http2/exchange.ts";
import { textResponse } from "../api/http2/exchange.ts";
import { Authority } from "./authority.ts";
import type { Bundle } from "./bundle.ts";
import { type Access, type DoorLimits, networkOf, RemoteServer } from "./server.ts";

openSsl(); // Once for all tests: it stays.

/** A server, and an admin's certificate. */
class Door {
  constructor(
    readonly server: RemoteServer,
    readonly authority: Authority,
    readonly admin: Bundle,
    readonly logged: string[],
  ) {}

  connect(shown: Bundle = this.admin, protocol = "http/1.1"): Promise<Deno.TlsConn> {
    const { certificate, key, ca = "" } = shown;
    return Deno.connectTls({
      hostname: "localhost",
      port: this.server.address.port,
      caCerts: [ca],
      alpnProtocols: [protocol],
      ...(certificate === undefined || key === undefined ? {} : { cert: certificate, key }),
    });
  }

  /** Waits until the log has a line that matches. */
  async says(pattern: RegExp): Promise<void> {
    while (!this.logged.some((line) => pattern.test(line))) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** What the server answers to a GET on a connection of its own. */
  async get(path: string, shown?: Bundle, more = ""): Promise<string> {
    using connection = await this.connect(shown);
    await connection.write(
      text(`GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${more}\r\n`),
    );
    return await new Response(connection.readable).text();
  }
}

function text(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

const echo: Handler = async ({ peer, body }) => {
  let size = 0;
  for await (const chunk of body) size += chunk.length;
  return textResponse(200, JSON.stringify({ ...peer, size }));
};

/** A test with a server of its own. */
function doorTest(
  name: string,
  options: { access?: Access; handler?: Handler; limits?: Partial<DoorLimits> },
  body: (door: Door) => Promise<void>,
): void {
  Deno.test(name, async () => {
    const dir = await Deno.makeTempDir();
    const authority = new Authority(`${dir}/api`);
    await authority.create(["localhost"]);
    const admin = await authority.client({ name: "root", role: "admin", days: 1 });
    const logged: string[] = [];
    const server = RemoteServer.start({
      hostname: "127.0.0.1",
      port: 0,
      access: options.access ?? "certificates",
      authority,
      handler: options.handler ?? echo,
      log: (level, message, fields = {}) =>
        logged.push(`${level} ${message} ${fields.cause ?? ""}`),
      limits: options.limits,
    });
    try {
      await body(new Door(server, authority, admin, logged));
    } finally {
      await server.stop(0);
      await Deno.remove(dir, { recursive: true });
    }
  });
}

doorTest("a client with a certificate is who it says", {}, async (door) => {
  const answer = await door.get("/");
  assertMatch(answer, /^HTTP\/1\.1 200 /);
  const peer = JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")));
  assertEquals([peer.kind, peer.name, peer.role, peer.credential], [
    ...["tls", "root", "admin", "certificate"],
  ]);
  assertMatch(peer.fingerprint, /^[0-9a-f]{64}$/);
});

doorTest("a client without a certificate is told so, and the log has it", {}, async (door) => {
  const error = await rejection(door.get("/", { ...door.admin, certificate: undefined }));
  assertMatch(error.message, /received fatal alert: CertificateRequired/);
  await door.says(/^info Refused a caller peer did not return a certificate$/);
});

doorTest("HTTP/2 is spoken where it is asked for, and nothing unknown is", {}, async (door) => {
  using connection = await door.connect(door.admin, "h2");
  assertEquals((await connection.handshake()).alpnProtocol, "h2");
  using other = await door.connect(door.admin, "h3");
  const error = await rejection(other.handshake());
  assertMatch(error.message, /NoApplicationProtocol/);
});

doorTest(
  "a client that sends more than is read gets its answer, however slow it is",
  { handler: () => Promise.resolve(textResponse(413, "too much")) },
  async (door) => {
    using connection = await door.connect();
    await connection.write(text("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4000000\r\n\r\n"));
    const piece = new Uint8Array(400_000);
    for (let n = 0; n < 10; n++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      for (let at = 0; at < piece.length;) at += await connection.write(piece.subarray(at));
    }
    assertMatch(await new Response(connection.readable).text(), /^HTTP\/1\.1 413 [^]*too much/);
  },
);

doorTest("a certificate that is revoked ends its connection", {}, async (door) => {
  using connection = await door.connect();
  await connection.handshake();
  await connection.write(text("GET / HTTP/1.1\r\nhost: a\r\n\r\n"));
  const into = new Uint8Array(4096);
  assert.ok(await connection.read(into) ?? 0 > 0);
  await door.authority.credentials.revoke("certificate", "root");
  while (await connection.read(into) !== null);
  await door.says(/^info Closed a connection revoked$/);
  const error = await rejection(door.get("/"));
  assertMatch(error.message, /received fatal alert: CertificateRevoked/);
});

doorTest("a list that is lost lets nobody in", {}, async (door) => {
  Deno.removeSync(`${door.authority.folder}/credentials.json`);
  const error = await rejection(door.get("/"));
  assertMatch(error.message, /received fatal alert: BadCertificate/);
  await door.says(/^error Cannot read who may come in: nobody may/);
});

doorTest("tokens let in beside certificates", { access: "tokens" }, async (door) => {
  const { token, ca, host } = await door.authority.token({ name: "ci", role: "viewer", days: 1 });
  const bare = { ca, host };
  assertMatch(
    await door.get("/", bare, `authorization: Bearer ${token}\r\n`),
    /"name":"ci","role":"viewer","credential":"token"/,
  );
  assertMatch(await door.get("/"), /"name":"root"/);
  for (const header of ["", "authorization: Bearer x\r\n", `authorization: Basic ${token}\r\n`]) {
    assertMatch(await door.get("/", bare, header), /^HTTP\/1\.1 401 /);
  }
  await door.authority.credentials.revoke("token", "ci");
  assertMatch(
    await door.get("/", bare, `authorization: Bearer ${token}\r\n`),
    /^HTTP\/1\.1 401 [^]*"code":"unauthenticated"/,
  );
});

/** Says a line now and for ever, and tells when the client is gone. */
function endless(gone: () => void): Handler {
  return ({ signal }) =>
    Promise.resolve({
      status: 200,
      body: (async function* () {
        const ended = new Promise<void>((resolve) =>
          signal.addEventListener("abort", () => resolve())
        );
        yield text("here\n");
        await ended;
        gone();
      })(),
    });
}

{
  const gone = Promise.withResolvers<void>();
  const options = { access: "tokens", handler: endless(gone.resolve) } as const;
  doorTest("a token that is revoked ends a call that runs", options, async (door) => {
    const { token, ...bare } = await door.authority.token({ name: "ci", role: "viewer", days: 1 });
    using connection = await door.connect({ ...bare });
    await connection.write(
      text(`GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${token}\r\n\r\n`),
    );
    const into = new Uint8Array(4096);
    while (!new TextDecoder().decode(into).includes("here")) await connection.read(into);
    await door.authority.credentials.revoke("token", "ci");
    while (await connection.read(into) !== null);
    await gone.promise;
  });
}

doorTest("without TLS, tokens alone count", { access: "loopback" }, async (door) => {
  const { token } = await door.authority.token({ name: "ci", role: "viewer", days: 1 });
  const url = `http://127.0.0.1:${door.server.address.port}/`;
  const refused = await fetch(url);
  assertEquals(refused.status, 401);
  await refused.body?.cancel();
  const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  assertMatch(await answer.text(), /"name":"ci"/);
});

for (
  const [address, network] of [
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "::ffff:192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8::6", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["fe80::1:2:3:4", "fe80:0:0:0"],
  ]
) {
  Deno.test(`networkOf() counts ${address} as ${network}`, () => {
    assertEquals(networkOf(address), network);
  });
}

Deno.test("without TLS, only loopback is listened on", async () => {
  for (const hostname of ["0.0.0.0", "192.0.2.1", "::", "127.0.0.1.example"]) {
    const options = {
      hostname,
      port: 0,
      access: "loopback",
      handler: echo,
      log: () => {},
    } as const;
    const authority = new Authority("/nowhere");
    const error = await rejection(() => RemoteServer.start({ ...options, authority }));
    assertEquals(error.message, `Cannot listen on "${hostname}" without TLS`);
  }
});

doorTest("a silent client is sent away", { limits: { handshakeMs: 100 } }, async (door) => {
  using connection = await Deno.connect({ port: door.server.address.port });
  assertEquals(await connection.read(new Uint8Array(1)), null);
  await door.says(/^info Refused a caller no handshake within 0.1 s$/);
});

doorTest(
  "who shakes hands too often at once waits outside",
  { limits: { handshakesPerAddress: 1 } },
  async (door) => {
    using _first = await Deno.connect({ port: door.server.address.port });
    using second = await Deno.connect({ port: door.server.address.port });
    assertEquals(await second.read(new Uint8Array(1)), null);
    await door.says(/^warn Sent a caller away: too many connections/);
  },
);

{
  let made = 0;
  const chunk = new Uint8Array(256 * 1024);
  const handler: Handler = () =>
    Promise.resolve({
      status: 200,
      body: (async function* () {
        for (; made < 400; made++) yield await Promise.resolve(chunk);
      })(),
    });
  doorTest("a client that does not read is not written for", { handler }, async (door) => {
    using connection = await door.connect();
    await connection.write(text("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"));
    await connection.read(new Uint8Array(1));
    // What the kernel holds for both ends is a few megabytes: nothing comes beyond that.
    let before = -1;
    while (before !== made) {
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    assert.ok(made < 200, `${made} of 400 chunks for a client that reads nothing`);
    const rest = await new Response(connection.readable).arrayBuffer();
    assert.ok(rest.byteLength > 400 * chunk.length);
  });
}

doorTest("a megabyte comes as it was sent", {}, async (door) => {
  using connection = await door.connect();
  const size = 1 << 20;
  await connection.write(
    text(`POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: ${size}\r\n\r\n`),
  );
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size;) at += await connection.write(bytes.subarray(at));
  assertMatch(await new Response(connection.readable).text(), new RegExp(`"size":${size}`));
});
