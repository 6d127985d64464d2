/**
 * Registries that others name: which machine is asked in the end.
 *
 * @module
 */

import { Hosts } from "../../stage1/images/sources/hosts.ts";
import { Transport } from "../../stage1/images/sources/transport.ts";
import { assertEquals, assertMatch, rejection } from "../assert.ts";
import { mustRun, test } from "../harness.ts";
import { makeCertificates } from "./registry.ts";

/** Not of this machine until a test makes it so. RFC 5737 */
const elsewhere = "192.0.2.7";

test("a registry is asked at the address that was looked at, or with TLS by its name", async ({ dir }) => {
  const { ca, other } = await makeCertificates(dir);
  const cert = await Deno.readTextFile(other.certificate);
  const key = await Deno.readTextFile(other.key);
  const before = Deno.env.get("SSL_CERT_FILE");
  await mustRun(["ip", "address", "add", `${elsewhere}/32`, "dev", "lo"]);
  await Deno.writeTextFile(`${dir}/hosts`, `${elsewhere} elsewhere.example wrong.example\n`);
  await mustRun(["mount", "--bind", `${dir}/hosts`, "/etc/hosts"]);
  try {
    Deno.env.set("SSL_CERT_FILE", ca);
    await using server = Deno.serve(
      { port: 0, hostname: elsewhere, cert, key, onListen() {} },
      (request) => new Response(new URL(request.url).host),
    );
    await using plain = Deno.serve(
      { port: 0, hostname: elsewhere, onListen() {} },
      (request) => new Response(`plain ${request.headers.get("host")}`),
    );
    using transport = new Transport(new Hosts(), {}, { remoteRegistries: true });
    const ask = async (host: string, { port } = server.addr) => {
      const url = new URL(`${port === plain.addr.port ? "http" : "https"}://${host}:${port}/x`);
      await using answer = await transport.send({ task: "fetch", url, allowPlainHttp: true });
      return new TextDecoder().decode(await answer.bytes(1_000));
    };
    assertEquals(await ask("elsewhere.example"), `elsewhere.example:${server.addr.port}`);
    const there = `plain elsewhere.example:${plain.addr.port}`;
    assertEquals(await ask("elsewhere.example", plain.addr), there);
    assertEquals(await ask(elsewhere, plain.addr), there.replace("elsewhere.example", elsewhere));
    // It is the name that the certificate has to be for, not the address.
    assertMatch((await rejection(ask("wrong.example"))).message, /certificate/);
    // The name leads here now: who looks again is told so, whatever it was before.
    await Deno.writeTextFile(`${dir}/hosts`, "127.0.0.1 elsewhere.example\n");
    const rebound = await rejection(ask("elsewhere.example"));
    assertMatch(rebound.message, /elsewhere\.example, which is 127\.0\.0\.1, is this machine/);
  } finally {
    if (before === undefined) Deno.env.delete("SSL_CERT_FILE");
    else Deno.env.set("SSL_CERT_FILE", before);
    await mustRun(["umount", "/etc/hosts"]);
    await mustRun(["ip", "address", "del", `${elsewhere}/32`, "dev", "lo"]);
  }
});
