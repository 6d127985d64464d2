import { assertEquals } from "../../tests/assert.ts";
import {
  allCapabilities,
  capabilityName,
  capabilitySet,
  defaultCapabilities,
} from "./capabilities.ts";

const names: [string, string | undefined][] = [
  ["CAP_NET_ADMIN", "CAP_NET_ADMIN"],
  ["net_admin", "CAP_NET_ADMIN"],
  ["all", "ALL"],
  ["CAP_ALL", undefined],
  ["", undefined],
];
for (const [text, name] of names) {
  Deno.test(`capability "${text}" is ${name ?? "none"}`, () => {
    assertEquals(capabilityName(text), name);
  });
}

Deno.test("a container gets the default set, less what is dropped, and what is added", () => {
  assertEquals(new Set(capabilitySet({})), new Set(defaultCapabilities));
  assertEquals(capabilitySet({ drop: ["ALL"] }), []);
  assertEquals(capabilitySet({ drop: ["ALL"], add: ["CAP_KILL"] }), ["CAP_KILL"]);
  assertEquals(capabilitySet({ add: ["ALL"] }), allCapabilities);
  assertEquals(
    capabilitySet({ add: ["ALL"], drop: ["CAP_BPF"] }),
    allCapabilities.filter((name) => name !== "CAP_BPF"),
  );
  assertEquals(capabilitySet({ add: ["CAP_NET_RAW"] }).includes("CAP_NET_RAW"), true);
});
