/**
 * What kurmad promises about containers and their names, small enough to be tried in every
 * order. It is two models, since what happens to a container and what names mean have
 * nothing in common but the containers: {@linkcode namesModel} and {@linkcode lifeModel}.
 *
 * @module
 */

import type { Model, Step } from "./linearize.ts";

/** Names, and the containers that they mean. */
export interface Names {
  readonly table: ReadonlyMap<string, string>;
  /** Names that somebody is about to take, by who. */
  readonly claims: ReadonlyMap<string, number>;
  /** What a name meant to who asked, where only that is known. */
  readonly found: ReadonlyMap<number, string>;
}

export function namesModel(table: ReadonlyMap<string, string>): Model<Names> {
  return {
    initial: { table, claims: new Map(), found: new Map() },
    key: ({ table, claims, found }) =>
      JSON.stringify([[...table].sort(), [...claims].sort(), [...found].sort()]),
  };
}

/** Steps on names. `by` is a number that no other operation has. */
export const names = {
  /** Somebody's reference is that container's name, or id. */
  means: (reference: string, id: string): Step<Names> => (state) =>
    (reference === id ? has(state, id) : state.table.get(reference) === id) ? state : undefined,
  /** There is no container of that name or id. */
  missing: (reference: string): Step<Names> => (state) =>
    state.table.has(reference) || has(state, reference) ? undefined : state,
  finds: (by: number, name: string): Step<Names> => (state) => {
    const id = state.table.get(name);
    return id === undefined ? undefined : { ...state, found: withEntry(state.found, by, id) };
  },
  /** What {@linkcode names.finds} found is no more. */
  lost: (by: number): Step<Names> => (state) => {
    if (has(state, state.found.get(by)!)) return undefined;
    return { ...state, found: without(state.found, by) };
  },
  claim: (by: number, name: string): Step<Names> => (state) =>
    isTaken(state, name) ? undefined : { ...state, claims: withEntry(state.claims, name, by) },
  add: (name: string, id: string): Step<Names> => (state) => ({
    ...state,
    table: withEntry(state.table, name, id),
  }),
  release: (name: string): Step<Names> => (state) => ({
    ...state,
    claims: without(state.claims, name),
  }),
  taken: (name: string): Step<Names> => (state) => isTaken(state, name) ? state : undefined,
  /** Another name, free or its own. */
  renamed: (id: string, name: string): Step<Names> => (state) => {
    if (state.table.get(name) === id) return state;
    if (isTaken(state, name) || !has(state, id)) return undefined;
    return { ...state, table: withEntry(withoutId(state.table, id), name, id) };
  },
  /** It is no more, by this operation or another. */
  removed: (id: string): Step<Names> => (state) => ({
    ...state,
    table: withoutId(state.table, id),
  }),
};

function has({ table }: Names, id: string): boolean {
  return [...table.values()].includes(id);
}

function isTaken({ table, claims }: Names, name: string): boolean {
  return table.has(name) || claims.has(name);
}

/** How far a container is. */
export interface Life {
  readonly phase: "none" | "new" | "starting" | "running" | "stopping" | "stopped" | "exited";
  readonly paused: boolean;
  /** It was killed, and kurmad may not have heard of its end yet. */
  readonly dying: boolean;
  /** Whose turn it is, by number; 0 for nobody's. */
  readonly turn: number;
  /** Of the run, once somebody saw it; 0 if nobody did. */
  readonly pid: number;
}

/** What an answer shows of a container. */
export interface Sight {
  readonly phase: string;
  readonly paused: boolean;
  readonly pid: number;
}

/** The life of one container. */
export const lifeModel: Model<Life> = {
  initial: { phase: "none", paused: false, dying: false, turn: 0, pid: 0 },
  key: ({ phase, paused, dying, turn, pid }) => `${phase} ${paused} ${dying} ${turn} ${pid}`,
  byItself: (life) =>
    life.dying && life.phase === "running" ? { ...ended, turn: life.turn } : undefined,
};

const ended: Life = { phase: "exited", paused: false, dying: false, turn: 0, pid: 0 };

const isUp = ({ phase }: Life) => /^(starting|running|stopping)$/.test(phase);

/** It is there, and nobody's turn. */
const isFree = ({ phase, turn }: Life) => phase !== "none" && turn === 0;

/** A step of whoever has the turn; others, who had nothing to do, pass. */
const inTurn = (by: number, step: Step<Life>): Step<Life> => (life) =>
  life.turn === by ? step(life) : life;

/** Steps in the life of a container. */
export const lives = {
  made: (life: Life): Life | undefined =>
    life.phase === "none" ? { ...life, phase: "new" } : undefined,
  seen: ({ phase, paused, pid }: Sight): Step<Life> => (life) => {
    if (life.phase !== phase || life.paused !== paused) return undefined;
    if (phase !== "running") return life;
    return life.pid === 0 || life.pid === pid ? { ...life, pid } : undefined;
  },
  start: (by: number): Step<Life>[] => [
    (life) => {
      if (!isFree(life)) return undefined;
      return life.phase === "running" ? life : { ...begun, turn: by };
    },
    inTurn(by, (life) => ({ ...life, phase: "running", turn: 0 })),
  ],
  /** Somebody killed it meanwhile; `from` is what comes before it begins. */
  startKilled: (by: number, from: Step<Life>[] = []): Step<Life>[] => [
    ...from,
    (life) => {
      if (life.turn === by) return { ...begun, turn: by };
      return isFree(life) && life.phase !== "running" ? { ...begun, turn: by } : undefined;
    },
    (life) => life.turn === by && life.dying ? ended : undefined,
  ],
  stop: (by: number): Step<Life>[] => [
    (life) => {
      if (!isFree(life)) return undefined;
      return isUp(life) ? { ...life, phase: "stopping", turn: by } : life;
    },
    inTurn(by, stopped),
    inTurn(by, (life) => ({ ...life, turn: 0 })),
  ],
  restart: (by: number): Step<Life>[] => [
    (life) => {
      if (!isFree(life)) return undefined;
      return { ...life, turn: by, ...(isUp(life) ? { phase: "stopping" } : {}) };
    },
    inTurn(by, stopped),
    inTurn(by, () => ({ ...begun, turn: by })),
    inTurn(by, (life) => ({ ...life, phase: "running", turn: 0 })),
  ],
  restartKilled: (by: number): Step<Life>[] => lives.startKilled(by, lives.restart(by).slice(0, 2)),
  /** Not in turn; what it is about may end between. */
  kill: (): Step<Life>[] => [
    (life) => isUp(life) ? life : undefined,
    (life) => isUp(life) ? { ...life, dying: true } : life,
  ],
  /** There is no process to get a signal: not yet, or not any more. */
  notUp: (life: Life): Life | undefined => {
    const perhaps = !isUp(life) || life.dying || life.phase !== "running";
    return life.phase !== "none" && perhaps ? life : undefined;
  },
  pause: (paused: boolean): Step<Life> => (life) =>
    isFree(life) && life.phase === "running" ? { ...life, paused } : undefined,
  notRunning: (life: Life): Life | undefined =>
    isFree(life) && (life.phase !== "running" || life.dying) ? life : undefined,
  /** It is there: what needs its turn and no more than that. */
  there: (life: Life): Life | undefined => isFree(life) ? life : undefined,
  runs: (life: Life): Life | undefined => isFree(life) && isUp(life) ? life : undefined,
  remove: (): Step<Life>[] => [
    (life) => {
      if (life.phase === "none") return life;
      return isFree(life) && !isUp(life) ? lifeModel.initial : undefined;
    },
  ],
  /** The kill comes before its turn. */
  forceRemove: (by: number): Step<Life>[] => [
    (life) => isUp(life) ? { ...life, dying: true } : life,
    (life) => {
      if (life.phase === "none") return life;
      if (!isFree(life)) return undefined;
      return { ...life, turn: by, ...(isUp(life) ? { phase: "stopping" } : {}) };
    },
    inTurn(by, stopped),
    inTurn(by, () => lifeModel.initial),
  ],
};

const begun: Life = { phase: "starting", paused: false, dying: false, turn: 0, pid: 0 };

function stopped(life: Life): Life {
  if (life.phase !== "stopping") return life;
  return { ...ended, phase: "stopped", turn: life.turn };
}

function withEntry<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key, value: Value) {
  return new Map(map).set(key, value);
}

function without<Key, Value>(map: ReadonlyMap<Key, Value>, key: Key): ReadonlyMap<Key, Value> {
  const less = new Map(map);
  less.delete(key);
  return less;
}

function withoutId(map: ReadonlyMap<string, string>, id: string): ReadonlyMap<string, string> {
  return new Map([...map].filter(([, value]) => value !== id));
}
