import { assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
import { socketOf } from "./host.ts";

for (
  const [host, path] of [
    ["/run/kurma.sock", "/run/kurma.sock"],
    ["unix:///run/kurma.sock", "/run/kurma.sock"],
    ["./kurma.sock", `${Deno.cwd()}/kurma.sock`],
  ]
) {
  Deno.test(`socketOf() knows ${host}`, () => assertEquals(socketOf(host), path));
}

for (
  const host of ["", "unix://", "10.0.0.1", "host.example", "tcp://10.0.0.1:12312", "ssh://a@b"]
) {
  Deno.test(`socketOf() refuses "${host}"`, async () => {
    const error = await rejection(() => socketOf(host));
    assertMatch(error.message, /only sockets of this machine/);
  });
}
