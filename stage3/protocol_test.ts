import { assert, assertEquals, rejection } from "../tests/assert.ts";
import { encodeRequest, parseStatus, requests, type StartRequest } from "./protocol.ts";
import vectors from "./vectors.json" with { type: "json" };

Deno.test("encodeRequest() has the bytes of every vector", () => {
  let compared = 0;
  for (const { name, arrays, request, canonical } of vectors.requests) {
    if (arrays === undefined || canonical === false || request.includes("\0")) continue;
    assertEquals(new TextDecoder().decode(encodeRequest(arrays)), request, name);
    compared++;
  }
  assert(compared > 40);
});

Deno.test("requests have the bytes of the worked examples", () => {
  const files = { stdout: "/o", stderr: "/e" };
  const examples: Record<string, string[][]> = {
    "WAIT with nothing running": requests.wait(),
    "STATUS with nothing named": requests.status(),
    "START a named process": requests.start({
      name: "app",
      command: ["/bin/sleep", "60"],
      env: { K: "V" },
      ...files,
      user: "99",
      group: "99",
    }),
    "EXEC": requests.exec({ command: ["/sbin/init", "x"], env: { A: "b" }, ...files }),
    "CHROOT, privileged": requests.chroot("/srv/c1", true),
    "SETHOSTNAME": requests.setHostname("box"),
  };
  for (const [name, arrays] of Object.entries(examples)) {
    const vector = vectors.requests.find((vector) => vector.name === name);
    assertEquals(new TextDecoder().decode(encodeRequest(arrays)), vector?.request, name);
  }
});

Deno.test("encodeRequest() takes as much as the server does, and no more", async () => {
  assertEquals(encodeRequest([["x".repeat(1048543)]]).length, 14 + 1048543);
  const error = await rejection(() => encodeRequest([["x".repeat(1048544)]]));
  assertEquals(error.message, "Cannot send a request of 1048577 bytes");
});

const start: StartRequest = {
  command: ["/bin/true"],
  stdout: "/o",
  stderr: "/e",
  user: "0",
  group: "0",
};
const refusals: [string, () => unknown][] = [
  ["Cannot send an empty command", () => requests.start({ ...start, command: [] })],
  [
    'Cannot run "sh": an argument is empty',
    () => requests.start({ ...start, command: ["sh", ""] }),
  ],
  ['Cannot start "a\\nb": bad name', () => requests.start({ ...start, name: "a\nb" })],
  [
    `Cannot start "${"é".repeat(51)}": bad name`,
    () => requests.start({ ...start, name: "é".repeat(51) }),
  ],
  ["Cannot send an empty user", () => requests.start({ ...start, user: "" })],
  ["Cannot send an empty stderr", () => requests.start({ ...start, stderr: "" })],
  ['Cannot set the variable "A=": bad name', () => requests.start({ ...start, env: { "A=": "" } })],
  ['Cannot send "a\\u0000b": it has a NUL', () => encodeRequest([["a\0b"]])],
  ["Cannot send an empty host name", () => requests.setHostname("")],
];
for (const [message, call] of refusals) {
  Deno.test(`a request is refused: ${message}`, async () => {
    assertEquals((await rejection(call)).message, message);
  });
}

Deno.test("parseStatus() reads every vector", () => {
  for (const { name, reply, status } of vectors.statusReplies) {
    const states = parseStatus(reply);
    assertEquals(states && Object.fromEntries(states), status ?? undefined, name);
  }
});
