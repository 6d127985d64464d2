import { assert, assertEquals } from "../assert.ts";
import { count, test } from "../harness.ts";
import vectors from "../../stage3/vectors.json" with { type: "json" };
import { ByHand } from "./by_hand.ts";

type Vector = typeof vectors.requests[number];

function bytes({ request, padding = 0 }: Vector): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(request + "x".repeat(padding));
}

test("the program answers every vector with exactly its reply", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  // Those that start something named come last: WAIT would wait for it.
  const order = vectors.requests.filter(({ framing }) => framing !== "partial")
    .toSorted((a, b) => Number(a.needs === "container") - Number(b.needs === "container"));
  let answered = 0;
  for (const vector of order) {
    if (vector.needs === "root" || vector.needs === "pid1") continue;
    assertEquals(await stage3.ask(bytes(vector)), vector.reply, vector.name);
    answered++;
  }
  assert(answered > 70, String(answered));
});

for (const needs of ["root", "pid1"]) {
  test(`the program answers the vectors that need ${needs}`, async (scratch) => {
    const [vector, ...none] = vectors.requests.filter((vector) => vector.needs === needs);
    assertEquals(none, []);
    await using stage3 = await ByHand.start(scratch);
    assertEquals(await stage3.ask(bytes(vector)), vector.reply, vector.name);
  });
}

test("half a request gets no reply, and holds nobody up", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  const partial = vectors.requests.filter(({ framing }) => framing === "partial");
  const replies = await Promise.all(partial.map((vector) => stage3.ask(bytes(vector), 500)));
  assertEquals(replies.filter((reply) => reply !== undefined), []);
  await stage3.client.status();
});

test("random bytes never take the program down", async (scratch) => {
  await using stage3 = await ByHand.start(scratch);
  for (let round = 0; round < count(20, 2000); round++) {
    const random = crypto.getRandomValues(new Uint8Array(32));
    // Half of them get past the first numbers.
    const start = new TextEncoder().encode(round % 2 === 0 ? "" : "1\n1\n1\n40\n");
    await stage3.ask(new Uint8Array([...start, ...random]), 20);
  }
  await stage3.client.status();
});
