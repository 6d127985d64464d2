import { assert, assertEquals, assertMatch, rejection } from "../../../tests/assert.ts";
import { Mutator } from "../../../tests/fuzz.ts";
import {
  isOwnAddress,
  type Reach,
  remoteAddresses,
  requireAllowedName,
  requireSigner,
} from "./reach.ts";
import { parseReference } from "./reference.ts";
import { Hosts } from "./hosts.ts";
import { impatient } from "./testing.ts";
import { Transport } from "./transport.ts";

Deno.test("addresses of this machine, of its link and of nobody are told from others", () => {
  const own = [
    ...["127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1"],
    ...["255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "febf::", "ff02::1"],
    ...["fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1"],
    ...["64:ff9b::7f00:1", "2002:7f00:1::", "2002:a9fe:a9fe::1"],
  ];
  const others = [
    ...["192.0.2.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.253.0.1", "128.0.0.1"],
    ...["2001:db8::1", "fd00::1", "fec0::1", "::ffff:192.0.2.1", "64:ff9b::c000:201"],
    ...["2002:c000:201::1"],
  ];
  for (const address of own) assert(isOwnAddress(address), address);
  for (const address of others) assert(!isOwnAddress(address), address);
});

Deno.test("a name is looked up, and one that leads here is refused", async () => {
  for (const host of ["localhost", "127.0.0.1", "[::1]", "[::ffff:7f00:1]"]) {
    const { message } = await rejection(remoteAddresses(host, "fetch"));
    assertMatch(message, /^Cannot fetch: .* is this machine or its link$/);
  }
  assertEquals(await remoteAddresses("192.0.2.7", "fetch"), ["192.0.2.7"]);
  assertEquals(await remoteAddresses("[2001:db8::7]", "fetch"), ["2001:db8::7"]);
});

Deno.test("a server that redirects to this machine is not followed", async () => {
  await using inside = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    throw new Error("it was asked");
  });
  await using outside = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => Response.redirect(`http://localhost:${inside.addr.port}/secret`, 302),
  );
  const plain = { mirrors: [], plainHttp: true, tokenHosts: [] };
  // The administrator lists the first one; where that one leads is not his doing.
  const hosts = new Hosts([[`127.0.0.1:${outside.addr.port}`, plain]]);
  using transport = new Transport(hosts, impatient, { remoteRegistries: true });
  const url = new URL(`http://127.0.0.1:${outside.addr.port}/x`);
  const { message } = await rejection(transport.send({ task: "fetch", url, allowPlainHttp: true }));
  assertMatch(message, /localhost, which is (127\.0\.0\.1|::1), is this machine or its link$/);
});

Deno.test("an image is asked for by a name that is allowed", async () => {
  const reach: Reach = { registries: ["docker.io/library", "r.example:5000", "files.example/a"] };
  const check = (text: string) => {
    const reference = parseReference(text);
    if (reference.kind === "file" || reference.kind === "stdin") throw new Error(text);
    requireAllowedName(reference, text, reach);
    requireAllowedName(reference, text, {});
  };
  for (
    const text of [
      ...["busybox", "docker.io/library/busybox:1", "index.docker.io/library/busybox"],
      ...["r.example:5000/a/b", "https://files.example/a/x.aci", "appc://files.example/a"],
    ]
  ) check(text);
  for (
    const text of [
      ...["docker.io/libraryx/busybox", "docker.io/other/busybox", "r.example/a"],
      ...["https://files.example/ab", "https://files.example/b?/a/x", "https://evil.example/a"],
      ...["appc://files.example/ab"],
    ]
  ) {
    const { message } = await rejection(() => check(text));
    assertEquals(message, `Cannot pull "${text}": its registry is not allowed`);
  }
});

Deno.test("an image is signed, if it is to be", async () => {
  const decision = { verdict: "accept" as const, rule: "docker.io", reason: "it is accepted" };
  requireSigner(decision, "web", {});
  requireSigner({ ...decision, signer: "ops.pub" }, "web", { signedImages: true });
  const refused = await rejection(() => requireSigner(decision, "web", { signedImages: true }));
  assertEquals(refused.message, 'Cannot pull "web": no signature of it was asked for');
});

Deno.test("an IPv4 address is judged alike in whatever form of IPv6 it stands", () => {
  const mutator = new Mutator(1);
  for (let round = 0; round < 2_000; round++) {
    const first = mutator.pick([0, 10, 127, 169, 192, 224, 255, mutator.below(256)]);
    const second = mutator.pick([0, 168, 254, mutator.below(256)]);
    const bytes = [first, second, mutator.below(256), 1 + mutator.below(255)];
    const own = isOwnAddress(bytes.join("."));
    const [high, low] = [bytes[0] << 8 | bytes[1], bytes[2] << 8 | bytes[3]];
    const groups = [high, low].map((group) => group.toString(16)).join(":");
    const forms = [
      ...[`::ffff:${bytes.join(".")}`, `::ffff:${groups}`, `0:0:0:0:0:FFFF:${groups}`],
      ...[`64:ff9b::${groups}`, `2002:${groups}::1`, `::${bytes.join(".")}`],
    ];
    // Of the compatible form only those are somebody's that are not IPv6's own.
    for (const form of first === 0 ? forms.slice(0, 5) : forms) {
      assertEquals(isOwnAddress(form), own, form);
    }
  }
});
