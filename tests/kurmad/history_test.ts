/**
 * Many clients at once: what they were told has to be what could have happened one thing
 * after the other.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { ContainerJson, Event } from "../../stage1/api/kurma.gen.ts";
import { assert, assertEquals, rejection } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { count } from "../harness.ts";
import { type Kurmad, kurmadTest } from "./daemon.ts";
import { type Life, lifeModel, lives, type Names, names, namesModel } from "./history_model.ts";
import { impossiblePiece, type Operation, type Step, written } from "./linearize.ts";

const clients = 32;
const allNames = Array.from({ length: 20 }, (_, n) => `n${n}`);

/** What was seen between two moments at which nobody did anything. */
interface Round {
  /** Names at its beginning. */
  readonly table: ReadonlyMap<string, string>;
  readonly names: Operation<Names>[];
}

/** Clients of one kurmad, and what they saw. */
class History {
  readonly #kurmad: Kurmad;
  readonly #random = new Mutator(20_261_127);
  readonly rounds: Round[] = [];
  readonly lives = new Map<string, Operation<Life>[]>();
  /** Ids that a name was seen to mean; they may be out of date. */
  readonly #known = new Map<string, string>();
  /** Creates whose start was killed, so that they made nothing: their ids were not answered. */
  readonly #undone: (Times & { by: number; name: string; round: Round })[] = [];
  readonly #made = new Set<string>();
  readonly tally = new Map<string, number>();
  #operations = 0;

  constructor(kurmad: Kurmad) {
    this.#kurmad = kurmad;
  }

  /** Lets all clients do so much each, then looks at everything. */
  async round(each: number): Promise<void> {
    await Promise.all(Array.from({ length: clients }, async () => {
      for (let n = 0; n < each; n++) await this.#operate();
    }));
    await this.look();
  }

  /** Everything as it is while nobody does anything: the beginning of the next round. */
  async look(): Promise<void> {
    const called = performance.now();
    const { containers = [] } = await this.#kurmad.api.call("Containers", "List", {});
    const times = { called, returned: performance.now(), looks: true };
    const table = new Map<string, string>();
    for (const { id = "", name = "", ...sight } of containers) {
      table.set(name, id);
      this.#live(id, { ...times, text: `list: ${shown(sight)}`, steps: [lives.seen(seen(sight))] });
    }
    const listed = (operation: { called: number; returned: number }) =>
      allNames.map((name) => {
        const id = table.get(name);
        const steps = [id === undefined ? names.missing(name) : names.means(name, id)];
        const about = id === undefined ? [name] : [name, id];
        return { ...operation, text: `list: ${name} = ${id}`, about, steps };
      });
    this.rounds.at(-1)?.names.push(...listed(times));
    this.rounds.push({
      table,
      names: listed({ called: times.returned, returned: times.returned }),
    });
  }

  /** One operation at random. */
  async #operate(): Promise<void> {
    const by = ++this.#operations;
    const name = this.#name();
    const id = this.#known.get(name);
    const chance = this.#random.below(100);
    if (chance < 28) await this.#create(by, name);
    else if (chance < 42) await this.#told(by, "Get", id && chance % 2 ? id : name, []);
    else if (chance < 50) await this.#told(by, "Stop", name, lives.stop(by));
    else if (id === undefined) await this.#told(by, "Get", name, []);
    else if (chance < 62) await this.#told(by, "Start", id, lives.start(by));
    else if (chance < 70) await this.#told(by, "Restart", id, lives.restart(by));
    else if (chance < 80) await this.#done(by, "Kill", id, lives.kill(), lives.notUp);
    else if (chance < 85) await this.#done(by, "Pause", id, [lives.pause(true)], lives.notRunning);
    else if (chance < 90) {
      await this.#done(by, "Resume", id, [lives.pause(false)], lives.notRunning);
    } else if (chance < 96) await this.#remove(by, id, chance % 2 === 0);
    else await this.#rename(by, id, this.#name());
  }

  async #create(by: number, name: string): Promise<void> {
    const start = this.#random.below(3) > 0;
    const request = {
      name,
      image: this.#kurmad.image,
      start,
      settings: { command: ["sleep", "1000"], stopTimeout: "5s" },
    };
    const { container, refusal, ...times } = await this.#call("Create", request);
    const text = `${by}: create ${name}${start ? " and start" : ""}`;
    if (refusal && wasKilled(refusal)) {
      this.#undone.push({
        ...times,
        text: `${text}: killed`,
        by,
        name,
        round: this.rounds.at(-1)!,
      });
      return;
    }
    if (refusal) {
      assert(/it is taken$/.test(refusal.message), refusal.message);
      this.#note({ ...times, text: `${text}: taken`, about: [name], looks: true }, [
        names.taken(name),
      ]);
      return;
    }
    const { id = "", ...sight } = container;
    this.#made.add(id);
    this.#known.set(name, id);
    this.#note({ ...times, text: `${text}: ${id}`, about: [name, id] }, [
      names.claim(by, name),
      names.add(name, id),
      names.release(name),
    ]);
    const steps = [lives.made, ...start ? lives.start(by) : [], lives.seen(seen(sight))];
    this.#live(id, { ...times, text: `${text}: ${shown(sight)}`, steps });
  }

  /** What is found by a name, or an id, and answers the container as it is. */
  async #told(
    by: number,
    method: "Get" | "Start" | "Stop" | "Restart",
    reference: string,
    steps: Step<Life>[],
  ): Promise<void> {
    const { container, refusal, ...times } = await this.#call(method, { container: reference });
    const text = `${by}: ${method.toLowerCase()} ${reference}`;
    if (refusal && wasKilled(refusal)) {
      this.#note({ ...times, text: `${text}: killed`, about: [reference], looks: true }, [
        names.means(reference, reference),
      ]);
      const steps = method === "Start" ? lives.startKilled(by) : lives.restartKilled(by);
      this.#live(reference, { ...times, text: `${text}: killed`, steps });
      return;
    }
    if (refusal) return this.#missing(by, reference, refusal, { ...times, text });
    const { id = "", ...sight } = container;
    if (allNames.includes(reference)) this.#known.set(reference, id);
    const about = [reference, id];
    this.#note({ ...times, text: `${text}: ${id}`, about, looks: true }, [
      names.means(reference, id),
    ]);
    const looks = method === "Get";
    const all = [...steps, lives.seen(seen(sight))];
    this.#live(id, { ...times, text: `${text}: ${shown(sight)}`, steps: all, looks });
  }

  /** What is asked for by id and answers nothing. */
  async #done(
    by: number,
    method: "Kill" | "Pause" | "Resume",
    id: string,
    steps: Step<Life>[],
    refused: Step<Life>,
  ): Promise<void> {
    const { container: _, refusal, ...times } = await this.#call(method, { container: id });
    const text = `${by}: ${method.toLowerCase()} ${id}`;
    if (refusal?.code === "missing") return this.#missing(by, id, refusal, { ...times, text });
    if (refusal) assert(/it does not run$/.test(refusal.message), refusal.message);
    this.#note({ ...times, text, about: [id], looks: true }, [names.means(id, id)]);
    this.#live(id, {
      ...times,
      text: refusal ? `${text}: it does not run` : text,
      looks: refusal !== undefined,
      steps: refusal ? [refused] : steps,
    });
  }

  async #remove(by: number, id: string, force: boolean): Promise<void> {
    const { container: _, refusal, ...times } = await this.#call("Remove", {
      container: id,
      force,
    });
    const text = `${by}: remove ${id}${force ? " by force" : ""}`;
    if (refusal?.code === "missing") return this.#missing(by, id, refusal, { ...times, text });
    if (refusal) {
      assert(/it runs$/.test(refusal.message) && !force, refusal.message);
      this.#note({ ...times, text, about: [id], looks: true }, [names.means(id, id)]);
      this.#live(id, { ...times, text: `${text}: it runs`, looks: true, steps: [lives.runs] });
      return;
    }
    this.#note({ ...times, text, about: [id] }, [names.means(id, id), names.removed(id)]);
    const steps = force ? lives.forceRemove(by) : lives.remove();
    this.#live(id, { ...times, text, steps });
  }

  async #rename(by: number, id: string, name: string): Promise<void> {
    const { container, refusal, ...times } = await this.#call("Rename", { container: id, name });
    const text = `${by}: rename ${id} to ${name}`;
    if (refusal?.code === "missing") return this.#missing(by, id, refusal, { ...times, text });
    const about = [id, name];
    if (refusal) {
      assert(/it is taken$/.test(refusal.message), refusal.message);
      this.#note({ ...times, text: `${text}: taken`, about, looks: true }, [
        names.means(id, id),
        names.taken(name),
      ]);
      this.#live(id, { ...times, text: `${text}: taken`, looks: true, steps: [lives.there] });
      return;
    }
    const { id: told, ...sight } = container;
    assertEquals(told, id);
    this.#known.set(name, id);
    this.#note({ ...times, text, about }, [names.means(id, id), names.renamed(id, name)]);
    const steps = [lives.there, lives.seen(seen(sight))];
    this.#live(id, { ...times, text: `${text}: ${shown(sight)}`, looks: true, steps });
  }

  /** There was none, or it was removed before its turn came. */
  #missing(by: number, reference: string, refusal: KurmaError, operation: Times): void {
    assertEquals(refusal.code, "missing", `${operation.text}: ${refusal.message}`);
    const isName = allNames.includes(reference);
    const text = `${operation.text}: missing`;
    if (refusal.message === `Cannot find container "${reference}": there is none`) {
      this.#note({ ...operation, text, about: [reference], looks: true }, [
        names.missing(reference),
      ]);
      return;
    }
    assert(/^Cannot go on with ".*": it was removed$/.test(refusal.message), refusal.message);
    this.#note({ ...operation, text, about: [reference], looks: true }, [
      isName ? names.finds(by, reference) : names.means(reference, reference),
      isName ? names.lost(by) : names.missing(reference),
    ]);
  }

  async #call(method: Method, request: object): Promise<Told> {
    const called = performance.now();
    let container: ContainerJson = {};
    let refusal: KurmaError | undefined;
    try {
      // All methods answer the container as this one does, or nothing.
      ({ container = {} } = await this.#kurmad.api.call("Containers", method as "Get", request));
    } catch (error) {
      assert(error instanceof KurmaError && /^(missing|state)$/.test(error.code), error as Error);
      refusal = error;
    }
    const outcome = `${method.toLowerCase()}${refusal ? " refused" : ""}`;
    this.tally.set(outcome, (this.tally.get(outcome) ?? 0) + 1);
    return { container, refusal, called, returned: performance.now() };
  }

  /** Finds out from what was told which containers they were that were not made in the end. */
  learn(told: readonly Event[]): void {
    const others = told.filter(({ id, action }) => action === "create" && !this.#made.has(id));
    for (const { by, name, round, ...times } of this.#undone) {
      const at = others.findIndex((event) => event.name === name);
      assert(at >= 0, `Nobody told of ${times.text}`);
      const [{ id }] = others.splice(at, 1);
      round.names.push({
        ...times,
        about: [name, id],
        steps: [names.claim(by, name), names.add(name, id), names.removed(id), names.release(name)],
      });
      const steps = [lives.made, ...lives.startKilled(by), ...lives.forceRemove(by)];
      this.#live(id, { ...times, steps });
    }
    assertEquals(others, []);
  }

  #name(): string {
    return allNames[this.#random.below(allNames.length)];
  }

  #note(operation: Omit<Operation<Names>, "steps">, steps: Step<Names>[]): void {
    this.rounds.at(-1)?.names.push({ ...operation, steps });
  }

  #live(id: string, operation: Omit<Operation<Life>, "about">): void {
    const all = this.lives.get(id) ?? [];
    this.lives.set(id, all);
    all.push({ ...operation, about: [id] });
  }
}

type Method =
  | ("Create" | "Get" | "Start" | "Stop" | "Restart")
  | ("Kill" | "Pause" | "Resume" | "Remove" | "Rename");

interface Told {
  readonly container: ContainerJson;
  readonly refusal: KurmaError | undefined;
  readonly called: number;
  readonly returned: number;
}

interface Times {
  readonly text: string;
  readonly called: number;
  readonly returned: number;
}

interface Sight {
  readonly state?: string;
  readonly paused?: boolean;
  readonly pid?: number;
}

function wasKilled({ cause }: KurmaError): boolean {
  return cause instanceof Error && cause.message === "Somebody killed it meanwhile";
}

function seen({ state = "", paused = false, pid = 0 }: Sight) {
  return { phase: state.replace("CONTAINER_STATE_", "").toLowerCase(), paused, pid };
}

function shown(sight: Sight): string {
  const { phase, paused, pid } = seen(sight);
  return `${phase}${paused ? ", paused" : ""}${phase === "running" ? ` as ${pid}` : ""}`;
}

/** Every run that began has ended once, in the order in which both were told. */
function checkEnds(told: readonly Event[], ids: Iterable<string>): number {
  let ends = 0;
  const byId = Map.groupBy(told, ({ id }) => id);
  for (const id of ids) {
    const actions = (byId.get(id) ?? []).map(({ action }) => action)
      .filter((action) => /^(create|start|exit|remove)$/.test(action));
    assert(/^create( start exit)*( remove)?$/.test(actions.join(" ")), `${id}: ${actions}`);
    ends += actions.filter((action) => action === "exit").length;
  }
  return ends;
}

kurmadTest(`${clients} clients at once are told what could have happened`, async (kurmad) => {
  const history = new History(kurmad);
  const each = 5;
  const rounds = Math.ceil(count(320, 10_000) / (clients * each));
  const told: Event[] = [];
  const hear = async () => void told.push(...await kurmad.told(told.at(-1)?.sequence));
  await history.look();
  for (let round = 0; round < rounds; round++) {
    await history.round(each);
    await hear();
  }
  console.log(`      ${[...history.tally].sort().map(([what, n]) => `${n} ${what}`).join(", ")}`);
  for (const { id } of await kurmad.list()) {
    await kurmad.api.call("Containers", "Remove", { container: id, force: true });
  }
  await hear();
  history.learn(told);
  for (const { table, names } of history.rounds) {
    const piece = impossiblePiece(namesModel(table), names);
    assert(piece === undefined, `Names cannot have meant this:\n${written(piece ?? [])}`);
  }
  for (const operations of history.lives.values()) {
    const piece = impossiblePiece(lifeModel, operations);
    assert(piece === undefined, `This cannot have happened:\n${written(piece ?? [])}`);
  }
  const ends = checkEnds(told, history.lives.keys());
  console.log(
    `      ${rounds * each * clients} operations on ${history.lives.size} containers, ` +
      `${ends} ends told once: all of it can have happened`,
  );
});

kurmadTest("what is asked for twice is done once", async (kurmad) => {
  const { api, image } = kurmad;
  const settings = { command: ["sleep", "1000"] };
  await api.call("Containers", "Create", { name: "web", image, settings, start: true });
  const web = { container: "web" };
  const states = async (method: "Start" | "Stop") => {
    const both = await Promise.all([1, 2].map(() => api.call("Containers", method, web)));
    return both.map(({ container }) => container?.state);
  };
  assertEquals(await states("Start"), ["CONTAINER_STATE_RUNNING", "CONTAINER_STATE_RUNNING"]);
  assertEquals(await states("Stop"), ["CONTAINER_STATE_STOPPED", "CONTAINER_STATE_STOPPED"]);
  assertEquals(await states("Stop"), ["CONTAINER_STATE_STOPPED", "CONTAINER_STATE_STOPPED"]);
  // Whoever comes while it is being removed is told that it is, whoever comes behind that not.
  const removed = await Promise.allSettled([1, 2].map(() => api.call("Containers", "Remove", web)));
  assert(removed.some(({ status }) => status === "fulfilled"));
  const refused = removed.filter((one) => one.status === "rejected");
  for (const { reason } of refused) assertEquals(reason.code, "missing");
  const again = await rejection(api.call("Containers", "Remove", web));
  assertEquals(again.message, 'Cannot find container "web": there is none');
  const told = (await kurmad.told()).map(({ action }) => action);
  assertEquals(told, ["create", "start", "exit", "remove"]);
});

kurmadTest("what is removed in the moment of its end leaves nothing", async ({ api, image }) => {
  const settings = { command: ["sleep", "1000"] };
  for (let round = 0; round < count(15, 200); round++) {
    await api.call("Containers", "Create", { name: "web", image, settings, start: true });
    // The kill does not wait for its turn; the end is followed behind the removal.
    const paused = api.call("Containers", "Pause", { container: "web" });
    const removed = api.call("Containers", "Remove", { container: "web", force: true });
    await Promise.allSettled([paused]);
    await removed;
  }
});
