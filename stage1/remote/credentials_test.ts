import { makeCertificate } from "../../ffi/certificates.ts";
import { openSsl } from "../../ffi/openssl.ts";
import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { Authority } from "./authority.ts";
import { fingerprintOf } from "./credentials.ts";

openSsl(); // Once for all tests: it stays.

/** Calls `use` with an authority of its own, which is removed afterwards. */
async function withAuthority(use: (authority: Authority) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const authority = new Authority(`${dir}/api`);
    await authority.create(["host.example", "192.0.2.1", "2001:db8::1"]);
    await use(authority);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

function der(pem: string): Uint8Array {
  return Uint8Array.fromBase64(pem.replace(/-----[^-]+-----|\n/g, ""));
}

function mode(path: string): number {
  return (Deno.statSync(path).mode ?? 0) & 0o777;
}

Deno.test("create() makes what only its owner can read, and only once", () =>
  withAuthority(async (authority) => {
    assertEquals(mode(authority.folder), 0o700);
    for (const { name } of Deno.readDirSync(authority.folder)) {
      assertEquals(mode(`${authority.folder}/${name}`), 0o600, name);
    }
    assertEquals(authority.names(), ["host.example", "192.0.2.1", "2001:db8::1"]);
    const before = Deno.readTextFileSync(`${authority.folder}/ca.key`);
    const error = await rejection(authority.create(["other"]));
    assertMatch(error.message, /^There is a CA in ".*\/api" already$/);
    assertEquals(Deno.readTextFileSync(`${authority.folder}/ca.key`), before);
  }));

for (const name of ["", "a b", "host:1", "a,DNS:b", "-a", `${"a".repeat(64)}`, "a..b"]) {
  Deno.test(`create() names no server ${JSON.stringify(name)}`, () =>
    withAuthority(async (authority) => {
      const error = await rejection(authority.renew([name]));
      assertMatch(error.message, /^Cannot name the server/);
    }));
}

for (const name of ["", "a b", "../a", "a/b", "-a", "a".repeat(64), "a\n"]) {
  Deno.test(`client() calls nobody ${JSON.stringify(name)}`, () =>
    withAuthority(async (authority) => {
      const error = await rejection(authority.client({ name, role: "viewer", days: 1 }));
      assertMatch(error.message, /^Cannot call a client/);
      assertEquals(authority.credentials.all().size, 0);
    }));
}

Deno.test("a certificate is good as it was made, and no other way", () =>
  withAuthority(async (authority) => {
    const { credentials, folder } = authority;
    const { certificate = "", credential } = await authority.client({
      name: "alice",
      role: "operator",
      days: 1,
    });
    const shown = { der: der(certificate), isForClients: true };
    assertEquals(credentials.judge(shown), "good");
    assertEquals(credentials.judge({ ...shown, isForClients: false }), "unfit");
    const issuer = {
      certificate: Deno.readTextFileSync(`${folder}/ca.crt`),
      key: Deno.readTextFileSync(`${folder}/ca.key`),
    };
    const others: [commonName: string, altNames: string[]][] = [
      ["alice", ["URI:kurma:role:admin"]],
      ["alice", ["URI:kurma:role:king"]],
      ["alice", ["URI:kurma:role:operator", "URI:kurma:role:admin"]],
      ["alice", []],
      ["mallory", ["URI:kurma:role:operator"]],
    ];
    for (const [commonName, altNames] of others) {
      const use = "client";
      const made = await makeCertificate({ commonName, lifetime: 60, use, altNames, issuer });
      const bytes = der(made.certificate);
      assertEquals(credentials.judge({ der: bytes, isForClients: true }), "unknown");
      await credentials.add({ ...credential, fingerprint: fingerprintOf(bytes) });
      assertEquals(credentials.judge({ der: bytes, isForClients: true }), "unfit");
    }
  }));

Deno.test("what is revoked, has expired, or is of another kind does not count", () =>
  withAuthority(async (authority) => {
    const { credentials } = authority;
    const made = await authority.client({ name: "alice", role: "viewer", days: 1 });
    const { fingerprint, expires } = made.credential;
    const standing = (now?: number) => credentials.standing("certificate", fingerprint, now);
    assertEquals(standing(), "good");
    assertEquals(standing(Date.parse(expires)), "expired");
    assertEquals(credentials.standing("token", fingerprint), "unknown");
    const [ended] = await credentials.revoke("certificate", fingerprint.slice(0, 8).toUpperCase());
    assertEquals([ended.name, standing()], ["alice", "revoked"]);
    const [again] = await credentials.revoke("certificate", "alice");
    assertEquals(again.revoked, ended.revoked);
  }));

Deno.test("revoke() names what it does not find", () =>
  withAuthority(async ({ credentials }) => {
    const error = await rejection(credentials.revoke("certificate", "alise"));
    assertEquals(error.message, 'There is no certificate "alise"');
  }));

Deno.test("only the hash of a token is kept, and the token is whose it is", () =>
  withAuthority(async (authority) => {
    const { credentials, folder } = authority;
    const { token = "" } = await authority.token({ name: "ci", role: "operator", days: 1 });
    await authority.token({ name: "other", role: "viewer", days: 1 });
    assertMatch(token, /^kurma_[\w-]{43}$/);
    assert.ok(!Deno.readTextFileSync(`${folder}/credentials.json`).includes(token.slice(6)));
    assertEquals(credentials.bearer(token)?.name, "ci");
    for (const wrong of ["", token.slice(0, -1), `${token}x`, fingerprintOf(token)]) {
      assertEquals(credentials.bearer(wrong), undefined);
    }
    await credentials.revoke("token", "ci");
    assertEquals(credentials.bearer(token), undefined);
  }));

Deno.test("several processes add to the list at once, and nothing is lost", () =>
  withAuthority(async ({ folder }) => {
    const authorities = Array.from({ length: 8 }, () => new Authority(folder));
    await Promise.all(
      authorities.map((authority, index) =>
        authority.token({ name: `t${index}`, role: "viewer", days: 1 })
      ),
    );
    assertEquals(new Authority(folder).credentials.all().size, 8);
  }));

for (
  const [what, spoil, message] of [
    [
      "that is gone",
      (path: string) => Deno.removeSync(path),
      /^There are no certificates in/,
    ],
    [
      "that others may read",
      (path: string) => Deno.chmodSync(path, 0o644),
      /^Cannot trust ".*": others may read or write it$/,
    ],
    [
      "that is no JSON",
      (path: string) => Deno.writeTextFileSync(path, "{"),
      /^Cannot read ".*": it is not JSON$/,
    ],
    [
      "with a role that there is not",
      (path: string) => {
        const text = Deno.readTextFileSync(path);
        Deno.writeTextFileSync(path, text.replace('"viewer"', '"king"'));
      },
      /^Cannot use ".*": credentials\[0\]\.role: expected "viewer", "operator" or "admin", not "king"$/,
    ],
  ] as const
) {
  Deno.test(`a list ${what} lets nobody in`, () =>
    withAuthority(async (authority) => {
      const { credentials, folder } = authority;
      await authority.token({ name: "ci", role: "viewer", days: 1 });
      spoil(`${folder}/credentials.json`);
      const error = await rejection(() => new Authority(folder).credentials.all());
      assertMatch(error.message, message);
      assertMatch((await rejection(() => credentials.bearer("x"))).message, message);
    }));
}
