import { assert, assertEquals, assertMatch, rejection } from "../../tests/assert.ts";
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

Deno.test("a command that only asks loads no protobuf", () => {
  const top = new URL("../../", import.meta.url);
  const waiting = ["cmd/kurma_cli.ts", "stage1/api/client.ts", "cmd/cli/table.ts"];
  const seen = new Set<string>();
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue;
    seen.add(path);
    const url = new URL(path, top);
    const text = Deno.readTextFileSync(url);
    for (const [, name] of text.matchAll(/^(?:import|export) (?!type\b)[^;]*?"([^"]+)"/gm)) {
      assert.ok(!/protobuf|connect|\.gen\.ts/.test(name), `${path} imports ${name}`);
      if (name.startsWith(".")) waiting.push(new URL(name, url).href.slice(top.href.length));
    }
  }
  assert.ok(seen.size > 20 && seen.has("cmd/cli/list.ts"), `${seen.size} modules`);
});
