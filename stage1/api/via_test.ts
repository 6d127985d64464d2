import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import type { Peer } from "./http2/exchange.ts";
import { readVia, type Via, viaHeader, writeVia } from "./via.ts";

const root: Peer = { kind: "unix", pid: 1, uid: 0, gid: 0 };

const via: Via = {
  name: "jörg\r\nkurma-via: x",
  role: "operator",
  credential: "certificate",
  fingerprint: "ab".repeat(32),
  address: "192.0.2.1:40312",
  restrictions: { forbid: ["privileged"], hostPaths: ["/srv/ä, b"] },
};

Deno.test("what the broker writes, kurmad reads", () => {
  const header = new Headers({ [viaHeader]: writeVia(via) });
  assertEquals(readVia(header, root), via);
  assertEquals(readVia(new Headers(), root), undefined);
  assertEquals(readVia(new Headers(), undefined), undefined);
});

Deno.test("nobody but root on the unix socket speaks for others", async () => {
  const header = new Headers({ [viaHeader]: writeVia(via) });
  const others: (Peer | undefined)[] = [
    undefined,
    { ...root, uid: 1000 },
    { kind: "tcp", address: "127.0.0.1:1" },
    {
      ...{ kind: "tls", address: "192.0.2.1:1", name: "root", role: "admin" },
      ...{ credential: "token", fingerprint: "" },
    },
  ];
  for (const peer of others) {
    const { message } = await rejection(() => readVia(header, peer));
    assertEquals(message, "Cannot call on behalf of another: kurma-via is root's");
  }
});

Deno.test("what is not understood as a whole is refused", async () => {
  const wrong: [string, RegExp][] = [
    ["", /^Cannot read kurma-via: it is no JSON$/],
    ["%zz", /^Cannot read kurma-via/],
    ["null", /^Cannot use kurma-via: expected an object/],
    ["{}", /^Cannot use kurma-via: name: is missing/],
    [writeVia({ ...via, role: "root" as "admin" }), /^Cannot use kurma-via: role: expected/],
    [`${writeVia(via)}, ${writeVia(via)}`, /^Cannot read kurma-via/],
  ];
  for (const [value, message] of wrong) {
    const header = new Headers({ [viaHeader]: value });
    assertMatch((await rejection(() => readVia(header, root))).message, message);
  }
});
