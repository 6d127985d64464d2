/**
 * Mixed work on many containers by several workers, while whoever does it is killed again and
 * again; and what has to be true of it afterwards.
 *
 * @module
 */

import { assert, assertEquals } from "../assert.ts";
import { Mutator } from "../fuzz.ts";
import { pause } from "../stage2/served.ts";

/** What can be done to a container that is there. */
export type Act = "start" | "stop" | "kill" | "restart" | "remove";

/** Whoever manages containers. */
export interface Subject {
  /** Makes a container of a shell script. */
  create(name: string, script: string): Promise<unknown>;
  act(act: Act, name: string): Promise<unknown>;
  /** Why it failed: `lost`, it was killed meanwhile; undefined, that is not to happen. */
  reason(error: unknown): "lost" | "taken" | "refused" | undefined;
  /** Kills it, and waits for the next one. */
  killed(): Promise<void>;
  /** Names of all that there is. */
  names(): Promise<string[]>;
}

/** Something that happened to a container. */
export interface Told {
  readonly id: string;
  readonly name: string;
  readonly action: string;
  readonly run: string;
  /** How it ended, with `exit`. */
  readonly code: number;
}

const workers = 6;

/** The work, and what came of it so far. */
export class MixedWork {
  readonly #subject: Subject;
  readonly #random = new Mutator(20_261_123);
  readonly #names: readonly string[];
  /** Names whose containers somebody asked to end: their codes say so. */
  readonly #touched = new Set<string>();
  readonly #made = new Set<string>();
  readonly #busy = new Set<string>();
  /** Operations that were cut off. */
  lost = 0;
  done = 0;

  constructor(subject: Subject, containers: number) {
    this.#subject = subject;
    this.#names = Array.from({ length: containers }, (_, n) => `c${n}`);
  }

  /** Works for a while, is cut off by a kill, and sees that all containers are there. */
  async round(): Promise<void> {
    let over = false;
    const working = Array.from({ length: workers }, async () => {
      while (!over) {
        const name = this.#random.pick(this.#names);
        // One at a time on each name, or nobody could say what has to be there.
        if (this.#busy.has(name)) await pause(1);
        else {
          this.#busy.add(name);
          await this.#work(name);
          this.#busy.delete(name);
        }
      }
    });
    // So much, not so long: others may have the machine.
    const enough = this.done + this.#random.below(4 * workers);
    while (this.done < enough) await pause(5);
    await pause(this.#random.below(50));
    over = true;
    await this.#subject.killed();
    await Promise.all(working);
    const there = new Set(await this.#subject.names());
    assertEquals([...this.#made].filter((name) => !there.has(name)), [], "Containers were lost");
  }

  /** One operation; what the kill cuts off may have been done or not. */
  async #work(name: string): Promise<void> {
    const act = this.#random.pick(["start", "start", "stop", "kill", "restart", "remove"] as const);
    try {
      if (!this.#made.has(name)) {
        await this.#subject.create(name, `sleep 0.${this.#random.below(9)}; exit ${codeOf(name)}`);
        this.#made.add(name);
      } else {
        if (act !== "start") this.#touched.add(name);
        if (act === "remove") this.#made.delete(name);
        await this.#subject.act(act, name);
      }
      this.done++;
    } catch (error) {
      const reason = this.#subject.reason(error);
      if (reason === undefined) throw error;
      if (reason === "lost") this.lost++;
      // It was made, although nobody heard of it.
      if (reason === "taken") this.#made.add(name);
    }
  }

  /**
   * Each run that was started ended once, with a code that it can have; how many did.
   *
   * @param told All that happened. Nothing runs any more.
   */
  check(told: readonly Told[]): number {
    const ends = new Set<string>();
    for (const { id, name, action, run, code } of told) {
      if (action !== "exit") continue;
      assert(!ends.has(`${id}.${run}`), `${name}'s run ${run} was told to end twice`);
      ends.add(`${id}.${run}`);
      const codes = this.#touched.has(name) ? [codeOf(name), 137, 143] : [codeOf(name)];
      assert(codes.includes(code), `${name} ended with ${code}`);
    }
    const removed = new Set(told.filter(({ action }) => action === "remove").map(({ id }) => id));
    for (const { id, name, action, run } of told) {
      if (action !== "start" || removed.has(id)) continue;
      assert(ends.has(`${id}.${run}`), `The end of ${name} was lost`);
    }
    return ends.size;
  }
}

function codeOf(name: string): number {
  return 10 + Number(name.slice(1));
}
