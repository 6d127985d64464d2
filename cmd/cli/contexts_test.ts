import { makeCertificate } from "../../ffi/certificates.ts";
import { openSsl } from "../../ffi/openssl.ts";
import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { Contexts } from "./contexts.ts";
import { endpoint } from "./host.ts";

openSsl(); // Once for all tests: it stays.

const usual = { commonName: "me", lifetime: 60, use: "client", altNames: [] } as const;
const pair = await makeCertificate(usual);
const lab = { host: "tcp://lab.example", ca: "CA", ...pair };

/** Calls `use` with contexts in a folder of their own, which is removed afterwards. */
async function withContexts(
  use: (contexts: Contexts, env: Record<string, string>) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const env = { XDG_CONFIG_HOME: folder };
    await use(new Contexts(env), env);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function mode(path: string): number {
  return (Deno.statSync(path).mode ?? 0) & 0o777;
}

Deno.test("a context is kept for nobody else to read, and found again", () =>
  withContexts(async (contexts, { XDG_CONFIG_HOME }) => {
    assertEquals([contexts.names(), contexts.current()], [[], undefined]);
    await contexts.write("lab", lab, false);
    assertEquals(mode(`${XDG_CONFIG_HOME}/kurma/contexts`), 0o700);
    assertEquals(mode(`${XDG_CONFIG_HOME}/kurma/contexts/lab.json`), 0o600);
    const { ca, certificate, key } = await contexts.read("lab");
    assertEquals({ ca, certificate, key, host: lab.host }, lab);
    await contexts.use("lab");
    assertEquals([contexts.names(), contexts.current()], [["lab"], "lab"]);
    await contexts.remove("lab");
    assertEquals([contexts.names(), contexts.current()], [[], undefined]);
  }));

Deno.test("where nobody can tell whether a context is in use, none is taken", () =>
  withContexts(async (contexts, env) => {
    assertEquals(new Contexts({ HOME: "/nowhere/at/all" }).current(), undefined);
    Deno.writeTextFileSync(`${env.XDG_CONFIG_HOME}/kurma`, "no folder");
    const error = await rejection(() => contexts.current());
    assertEquals(error.message, `Cannot read "${env.XDG_CONFIG_HOME}/kurma/current-context"`);
  }));

Deno.test("where the daemon is: a host, a context, the one in use, this machine", () =>
  withContexts(async (contexts, env) => {
    await contexts.write("lab", lab, false);
    await contexts.write("far", { host: "ssh://me@far.example" }, false);
    const where = (host?: string, context?: string) => endpoint({ host, context, env });
    assertEquals(await where(), undefined);
    await contexts.use("far");
    assertEquals((await where())?.kind, "ssh");
    assertEquals(await where(undefined, "default"), undefined);
    assertEquals((await where(undefined, "lab"))?.kind, "tcp");
    assertEquals(await where("/x.sock"), { kind: "unix", path: "/x.sock" });
    const found = await where("lab.example:12312");
    assert.ok(found?.kind === "tcp");
    assertEquals(
      found.credential.key,
      pair.key,
      "a host that a context names is shown what it has",
    );
    const other = await where("lab.example:99");
    assert.ok(other?.kind === "tcp");
    assertEquals(other.credential, {});
  }));

for (
  const [what, act, message] of [
    ["reads none that is not there", (all: Contexts) => all.read("lad"), /^There is no context/],
    ["uses none that is not there", (all: Contexts) => all.use("nobody"), /^There is no context/],
    ["removes none that is not there", (all: Contexts) => all.remove("x"), /^There is no context/],
    ["follows no path", (all: Contexts) => all.read("../contexts/lab"), /^There is no context/],
    ["replaces none", (all: Contexts) => all.write("lab", lab, false), /^There is a context "lab"/],
    ["calls none default", (all: Contexts) => all.write("default", lab, true), /^Cannot call/],
    ["calls none by a path", (all: Contexts) => all.write("a/b", lab, true), /^Cannot call/],
  ] as const
) {
  Deno.test(`Contexts ${what}`, () =>
    withContexts(async (contexts) => {
      await contexts.write("lab", lab, false);
      const error = await rejection(act(contexts));
      assertMatch(error.message, message);
    }));
}

Deno.test("Contexts names the one that was meant", () =>
  withContexts(async (contexts) => {
    await contexts.write("laboratory", lab, false);
    const { fix } = await rejection(contexts.read("labratory")) as { fix?: string };
    assertEquals(fix, "Did you mean laboratory?");
  }));

for (
  const [what, change, message] of [
    ["of no certificate", { certificate: "x" }, /its certificate is not PEM/],
    [
      "of a certificate that is none",
      { certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" },
      /its certificate or its key cannot be read/,
    ],
    ["of a key that is none", { key: "x" }, /its certificate or its key cannot be read/],
    [
      "of another's key",
      { key: (await makeCertificate(usual)).key },
      /its key is that of another certificate/,
    ],
    ["without a host", { host: undefined }, /host: is missing/],
    ["with more than it may have", { secret: 1 }, /secret: unknown field/],
  ] as const
) {
  Deno.test(`Contexts takes none ${what}`, () =>
    withContexts(async (contexts) => {
      await contexts.write("lab", { ...lab, ...change } as typeof lab, false);
      assertMatch((await rejection(contexts.read("lab"))).message, message);
    }));
}

Deno.test("Contexts takes no key without its certificate, and no file that others may read", () =>
  withContexts(async (contexts, { XDG_CONFIG_HOME }) => {
    await contexts.write("lab", { ...lab, certificate: undefined }, false);
    assertMatch((await rejection(contexts.read("lab"))).message, /a certificate or a key alone/);
    await contexts.write("lab", lab, true);
    Deno.chmodSync(`${XDG_CONFIG_HOME}/kurma/contexts/lab.json`, 0o644);
    assertMatch((await rejection(contexts.read("lab"))).message, /others may read or write it/);
  }));
