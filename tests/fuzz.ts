/**
 * Fuzz tests: a parser is given what is almost right, and has to answer with a value or
 * a {@linkcode KurmaError}. The same inputs in each run; `make soak` tries twenty times as
 * many. Each test prints how many inputs it read and refused.
 *
 * @module
 */

import { KurmaError } from "../ffi/errors.ts";
import { assert } from "./assert.ts";

/** Changes inputs at random; by its seed always the same way. */
export class Mutator {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor(this.#state / 2 ** 32 * limit);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)];
  }

  /** `seed` with one to three places overwritten or widened by `pieces`. */
  text(seed: string, pieces: readonly string[]): string {
    let text = seed;
    for (let edit = this.below(3); edit >= 0; edit--) {
      const at = this.below(text.length + 1);
      text = text.slice(0, at) + this.pick(pieces) + text.slice(at + this.below(3));
    }
    return text;
  }

  /** `seed` with up to three bytes changed, now and then cut short. */
  bytes(seed: Uint8Array): Uint8Array<ArrayBuffer> {
    const bytes = seed.slice(0, this.below(5) === 0 ? this.below(seed.length) : undefined);
    for (let edit = 0; edit < 3 && bytes.length > 0; edit++) {
      bytes[this.below(bytes.length)] = this.below(256);
    }
    return bytes as Uint8Array<ArrayBuffer>;
  }

  /** `seed` as JSON with a value somewhere in it replaced, doubled, renamed or taken away. */
  json(seed: unknown): Uint8Array<ArrayBuffer> {
    const value = this.below(20) === 0 ? this.pick(oddities) : this.#changed(seed);
    const bytes = new TextEncoder().encode(JSON.stringify(value) ?? "");
    return this.below(10) === 0 ? this.bytes(bytes) : bytes;
  }

  #changed(value: unknown): unknown {
    if (typeof value !== "object" || value === null || this.below(6) === 0) {
      return this.pick(oddities);
    }
    if (Array.isArray(value)) {
      const at = this.below(value.length + 1);
      const kept = value[at];
      const becomes = at === value.length || this.below(4) === 0
        ? [kept, kept]
        : [this.#changed(kept)];
      return value.toSpliced(at, 1, ...becomes.filter((one) => one !== undefined));
    }
    const entries = Object.entries(value);
    if (entries.length === 0) return { [this.pick(names)]: this.pick(oddities) };
    const at = this.below(entries.length);
    const [name, own] = entries[at];
    const what = this.below(8);
    if (what === 0) entries.splice(at, 1);
    else if (what === 1) entries[at] = [this.pick(names), own];
    else entries[at] = [name, this.#changed(own)];
    return Object.fromEntries(entries);
  }
}

const names = [
  "__proto__",
  "constructor",
  "toString",
  "",
  "a".repeat(300),
  "\0",
  "mediaType",
  "digest",
];

const oddities: readonly unknown[] = [
  ...[null, true, 0, -1, 1.5, 2 ** 53, 1e308, "", "x", "\0", "../../etc", "/", "é".repeat(2000)],
  ...[[], {}, [[]], [null], [{}], { "__proto__": 1 }, "sha256:", `sha256:${"0".repeat(64)}`],
];

/**
 * Gives `attempt` so many inputs to make up and parse.
 *
 * @param attempt Returns for an input that was read, and throws a KurmaError for one that
 *   was refused; anything else fails the test.
 */
export function fuzz(
  parser: string,
  rounds: number,
  attempt: (mutator: Mutator) => void | Promise<void>,
): void {
  const all = Deno.env.has("KURMA_SOAK") ? 20 * rounds : rounds;
  Deno.test(`${parser} reads or refuses ${rounds} mutations`, async () => {
    let refused = 0;
    const mutator = new Mutator(1);
    for (let round = 0; round < all; round++) {
      try {
        await attempt(mutator);
      } catch (error) {
        if (!(error instanceof KurmaError)) throw error;
        assert(
          error.code === "invalid" || error.code === "missing",
          `${error.code}: ${error.message}`,
        );
        refused++;
      }
    }
    const read = all - refused;
    console.log(`${parser}: ${all} inputs, ${read} read, ${refused} refused`);
    assert(read > 0 && refused > 0, "inputs that are all alike test nothing");
  });
}
