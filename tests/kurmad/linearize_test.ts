/**
 * The judge of histories: what could have happened passes, what could not is shown.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { type Life, lifeModel, lives, type Names, names, namesModel } from "./history_model.ts";
import { impossiblePiece, isPossible, type Operation, type Step, written } from "./linearize.ts";

/** An operation that took from one time to another. */
function operation<State>(
  [called, returned]: readonly [number, number],
  text: string,
  about: string[],
  ...steps: Step<State>[]
): Operation<State> {
  return { text, called, returned, about, steps, looks: /^get/.test(text) };
}

const make = (times: [number, number]) => operation(times, "create", ["c"], lives.made);
const start = (times: [number, number]) => operation(times, "start", ["c"], ...lives.start(1));
const stop = (times: [number, number], by = 2) =>
  operation(times, "stop", ["c"], ...lives.stop(by));
const kill = (times: [number, number]) => operation(times, "kill", ["c"], ...lives.kill());
const get = (times: [number, number], phase: string, pid = 7) =>
  operation(times, `get: ${phase}`, ["c"], lives.seen({ phase, paused: false, pid }));

const possible: Record<string, Operation<Life>[]> = {
  "one after the other": [
    make([0, 1]),
    start([2, 3]),
    get([4, 5], "running"),
    stop([6, 7]),
    get([8, 9], "stopped"),
  ],
  "a look at what is about to be": [make([0, 1]), start([2, 9]), get([3, 4], "starting")],
  "what was killed ends when it likes": [
    make([0, 1]),
    start([2, 3]),
    kill([4, 5]),
    get([6, 7], "running"),
    get([8, 9], "exited"),
  ],
  "two at once, in either order": [
    make([0, 1]),
    start([2, 9]),
    stop([2, 9]),
    get([10, 11], "running"),
  ],
  "nobody heard what came of it": [make([0, 1]), start([2, Infinity]), get([50, 51], "running")],
};

for (const [what, history] of Object.entries(possible)) {
  Deno.test(`isPossible() believes ${what}`, () => {
    assert(isPossible(lifeModel, history), written(history));
    assertEquals(impossiblePiece(lifeModel, history), undefined);
  });
}

const impossible: Record<string, [history: Operation<Life>[], piece: string[]]> = {
  "a stop that does not last": [
    [
      make([0, 1]),
      start([2, 3]),
      get([3, 4], "running"),
      stop([4, 5]),
      get([6, 7], "running"),
      get([8, 9], "stopped"),
    ],
    ["create", "start", "stop", "get: running"],
  ],
  "an exit that nobody asked for": [
    [make([0, 1]), start([2, 3]), get([4, 5], "exited"), kill([6, 7])],
    ["create", "start", "get: exited"],
  ],
  "a state that comes back": [
    [make([0, 1]), start([2, 9]), get([3, 4], "running"), get([5, 6], "starting")],
    ["create", "start", "get: running", "get: starting"],
  ],
  "another process without another start": [
    [make([0, 1]), start([2, 3]), get([4, 5], "running", 7), get([6, 7], "running", 8)],
    ["create", "start", "get: running", "get: running"],
  ],
  "a container before it is made": [
    [get([0, 1], "new"), make([2, 3])],
    ["get: new"],
  ],
};

for (const [what, [history, piece]] of Object.entries(impossible)) {
  Deno.test(`impossiblePiece() finds ${what}`, () => {
    assert(!isPossible(lifeModel, history));
    assertEquals(impossiblePiece(lifeModel, history)?.map(({ text }) => text), piece);
  });
}

const create = (times: [number, number], by: number, name: string, id: string) =>
  operation<Names>(
    times,
    `create ${name} = ${id}`,
    [name, id],
    names.claim(by, name),
    names.add(name, id),
    names.release(name),
  );
const means = (times: [number, number], reference: string, id: string) =>
  operation(times, `get ${reference} = ${id}`, [reference, id], names.means(reference, id));
const misses = (times: [number, number], reference: string) =>
  operation(times, `get ${reference}: missing`, [reference], names.missing(reference));
const rename = (times: [number, number], id: string, name: string) =>
  operation(times, `rename ${id} to ${name}`, [id, name], names.renamed(id, name));

const nameHistories: Record<string, [history: Operation<Names>[], piece?: string[]]> = {
  "a name that moves": [[
    create([0, 1], 1, "x", "1"),
    rename([2, 6], "1", "y"),
    misses([3, 4], "x"),
    means([4, 5], "y", "1"),
    create([7, 8], 2, "x", "2"),
  ]],
  "a container of two names": [
    [
      create([0, 1], 1, "x", "1"),
      create([0, 1], 2, "z", "2"),
      rename([2, 9], "1", "y"),
      means([3, 4], "y", "1"),
      means([5, 6], "x", "1"),
      means([5, 6], "z", "2"),
    ],
    ["create x = 1", "rename 1 to y", "get y = 1", "get x = 1"],
  ],
  "a container of no name": [
    [
      create([0, 1], 1, "x", "1"),
      rename([2, 9], "1", "y"),
      misses([3, 4], "x"),
      misses([5, 6], "y"),
    ],
    ["create x = 1", "rename 1 to y", "get x: missing", "get y: missing"],
  ],
  "a name that two get": [
    [create([0, 9], 1, "x", "1"), create([1, 9], 2, "x", "2")],
    ["create x = 1", "create x = 2"],
  ],
};

for (const [what, [history, piece]] of Object.entries(nameHistories)) {
  Deno.test(`impossiblePiece() ${piece ? "finds" : "believes"} ${what}`, () => {
    const found = impossiblePiece(namesModel(new Map()), history);
    assertEquals(found?.map(({ text }) => text), piece);
  });
}
