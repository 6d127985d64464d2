/**
 * Whether what clients saw at the same time could have happened one thing after the other
 * (Wing and Gong, "Testing and verifying concurrent objects", 1993; the memory of what was
 * tried is Lowe's, 2017): a search for an order in which each operation took effect between
 * its call and its return.
 *
 * An operation of kurmad is not one moment but several: it finds what a name means, waits
 * for its turn, and may show a state between. So it is a list of steps, in their order.
 *
 * @module
 */

/** What an operation does at one moment: the state behind it; undefined if it cannot be now. */
export type Step<State> = (state: State) => State | undefined;

/** An operation and what came of it. */
export interface Operation<State> {
  /** What it was and what it answered, for people. */
  readonly text: string;
  /** By one clock. */
  readonly called: number;
  /** `Infinity` if nobody heard: then it may have been done, or in part, or not. */
  readonly returned: number;
  readonly steps: readonly Step<State>[];
  /** What it is about: operations that share nothing, over any number of others, are apart. */
  readonly about: readonly string[];
  /** It changes nothing: the rest makes sense without it. */
  readonly looks?: boolean;
}

/** What the operations work on. */
export interface Model<State> {
  readonly initial: State;
  /** The same text for the same state. */
  key(state: State): string;
  /** What may happen by itself, at any moment. */
  byItself?(state: State): State | undefined;
}

/** Steps that are tried before the search gives up. */
const patience = 2_000_000;

/**
 * Whether there is an order that explains all answers.
 *
 * @throws {Error} It was not found out within a sane number of steps.
 */
export function isPossible<State>(
  model: Model<State>,
  operations: readonly Operation<State>[],
): boolean {
  const all = operations.toSorted((a, b) => a.called - b.called);
  const tried = new Set<string>();
  /** How many steps of each are done, and in what state that ends. */
  const pending: { done: Uint8Array; first: number; state: State }[] = [
    { done: new Uint8Array(all.length), first: 0, state: model.initial },
  ];
  for (let steps = 0; pending.length > 0; steps++) {
    if (steps > patience) throw new Error(`${all.length} operations are too many to judge`);
    const { done, first, state } = pending.pop()!;
    const isDone = (at: number) => done[at] === all[at].steps.length;
    let from = first;
    while (from < all.length && isDone(from)) from++;
    const open: number[] = [];
    // Nothing that was called behind the first return among those that are not done.
    let until = Infinity;
    for (let at = from; at < all.length && all[at].called <= until; at++) {
      if (isDone(at)) continue;
      open.push(at);
      until = Math.min(until, all[at].returned);
    }
    if (until === Infinity) return true;
    const mark = `${from} ${open.map((at) => `${at}:${done[at]}`)} ${model.key(state)}`;
    if (tried.has(mark)) continue;
    tried.add(mark);
    const byItself = model.byItself?.(state);
    if (byItself !== undefined) pending.push({ done, first: from, state: byItself });
    // The last that is pushed is tried first: whoever returned first most likely came first.
    open.sort((a, b) => all[b].returned - all[a].returned);
    for (const at of open) {
      if (all[at].called > until) continue;
      const next = all[at].steps[done[at]](state);
      if (next === undefined) continue;
      const more = done.slice();
      more[at]++;
      pending.push({ done: more, first: from, state: next });
    }
  }
  return false;
}

/**
 * The smallest piece of a history that cannot have happened, in the order of calls; undefined
 * if all of it can. It ends with the first return that nothing explains, and has none of what
 * only looked on or was about something else.
 */
export function impossiblePiece<State>(
  model: Model<State>,
  operations: readonly Operation<State>[],
): Operation<State>[] | undefined {
  for (const group of groupsOf(operations)) {
    if (isPossible(model, group)) continue;
    const returns = group.map(({ returned }) => returned).sort((a, b) => a - b);
    let [low, high] = [0, returns.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isPossible(model, until(group, returns[middle]))) low = middle + 1;
      else high = middle;
    }
    let piece = groupsOf(until(group, returns[low])).find((one) => !isPossible(model, one))!;
    for (const one of piece.filter(({ looks }) => looks)) {
      const less = piece.filter((other) => other !== one);
      if (!isPossible(model, less)) piece = less;
    }
    return piece.sort((a, b) => a.called - b.called);
  }
  return undefined;
}

/** A piece as people read it, with times from its first call on. */
export function written<State>(piece: readonly Operation<State>[]): string {
  const begun = piece[0]?.called ?? 0;
  return piece.map(({ called, returned, text }) => {
    const times = [called, returned].map((time) => (time - begun).toFixed(1).padStart(8));
    return `${times.join(" ")}  ${text}`;
  }).join("\n");
}

/** What was known at a time: who had not returned by then may have done anything yet. */
function until<State>(operations: readonly Operation<State>[], time: number): Operation<State>[] {
  return operations.filter(({ called }) => called <= time).map((operation) =>
    operation.returned <= time ? operation : { ...operation, returned: Infinity }
  );
}

/** Operations that have to do with each other. */
function groupsOf<State>(operations: readonly Operation<State>[]): Operation<State>[][] {
  const parents = new Map<string, string>();
  const rootOf = (word: string): string => {
    const parent = parents.get(word) ?? word;
    return parent === word ? word : rootOf(parent);
  };
  for (const { about } of operations) {
    for (const word of about) parents.set(rootOf(word), rootOf(about[0]));
  }
  return [...Map.groupBy(operations, ({ about }) => rootOf(about[0])).values()];
}
