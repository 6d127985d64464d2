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

/** The worked examples of the original, as it had them: what a client sends, and the reply. */
const examples: Record<"here" | "root" | "pid1", readonly (readonly [string, string])[]> = {
  here: [
    ...[
      ...["0\n", "2\n", "A\n", "1\n0\n", "1\n1000000000\n", "1\n1\n1000000000\n"],
      ...["1\n1\n1\n1000000000\n", "1\n1\n0\n", "1\n1\n1\n7\nUNKNOWN"],
    ].map((refused) => [refused, "PROTOCOL ERROR\n"] as const),
    ["1\n1\n1\n4\nWAIT", "REQUEST OK\n"],
    ["1\n1\n1\n6\nSTATUS", "REQUEST OK\nEND\n"],
    [start("one", "/bin/sleep", "60"), "REQUEST OK\n"],
    [start("two", "/bin/sh", "-c", "exit 3"), "REQUEST OK\n"],
    ["1\n1\n1\n6\nSTATUS", "REQUEST OK\ntwo\nexited(3)\none\nrunning\nEND\n"],
    [
      "1\n6\n2\n5\nSTART3\napp2\n10\n/bin/sleep2\n601\n0\n1\n3\nK=V2\n2\n/o2\n/e2\n2\n992\n99",
      "REQUEST OK\n",
    ],
    [
      "1\n6\n1\n5\nSTART1\n9\n/bin/true0\n0\n2\n9\n/dev/null9\n/dev/null2\n1\n01\n0",
      "REQUEST OK\n",
    ],
  ],
  root: [["1\n1\n3\n6\nCHROOT7\n/srv/c14\ntrue", "REQUEST OK\n"]],
  pid1: [["1\n4\n1\n4\nEXEC2\n10\n/sbin/init1\nx1\n3\nA=b2\n2\n/o2\n/e", "REQUEST OK\n"]],
};

/** A START of a named process whose output nobody keeps. */
function start(name: string, ...command: string[]): string {
  const strings = (list: string[]) => list.map((word) => `${word.length}\n${word}`).join("");
  const array = (...list: string[]) => `${list.length}\n${strings(list)}`;
  const arrays = [array("START", name), array(...command), array(), array()];
  return `1\n6\n${arrays.join("")}${array("/dev/null", "/dev/null")}${array("0", "0")}`;
}

test("every worked example of the original is answered with exactly its bytes", async ({ dir }) => {
  let answered = 0;
  for (const [needs, list] of Object.entries(examples)) {
    await Deno.mkdir(`${dir}/${needs}`);
    await using stage3 = await ByHand.start({ dir: `${dir}/${needs}` });
    for (const [request, reply] of list) {
      // That of the two has ended, and is reaped, is what STATUS is to tell.
      if (reply.includes("two")) await stage3.has(1);
      assertEquals(await stage3.ask(new TextEncoder().encode(request)), reply, request);
      answered++;
    }
  }
  console.log(`${answered} worked examples`);
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
