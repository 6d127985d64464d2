/**
 * Containers to come, of which nothing is known but the id and the range of user ids: stage2
 * prepares them while nobody waits, so that a start need not.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { KernelError } from "../../ffi/kernel.ts";
import type { Stage2 } from "../../stage2/server.ts";
import type { Claims } from "./claims.ts";
import { type Host, oneLine, runName } from "./host.ts";
import { newId } from "./names.ts";
import { firstId } from "./ranges.ts";
import { forget } from "./runs.ts";

/** What a new container gets; its first run may be prepared. */
export interface Prepared {
  readonly id: string;
  readonly range: number;
  /** The server that has prepared it. */
  readonly by: Stage2;
}

/** How many there are: each is two small processes and a network namespace. */
const wanted = 2;

/** How long nobody may have started anything: while many are started, the kernel has enough to do. */
const idleMs = 10;

/** The prepared containers of one manager. They are nobody's until they are taken. */
export class Ahead implements Disposable {
  readonly #host: Host;
  readonly #claims: Claims;
  /** Who prepared them; a server that follows knows nothing of them. */
  #stage2: Stage2 | undefined;
  #ready: Prepared[] = [];
  /** Ids that a stage2 before this one may have prepared. */
  #left: string[] = [];
  #timer: number | undefined;
  #filling = false;

  constructor(host: Host, claims: Claims) {
    this.#host = host;
    this.#claims = claims;
  }

  /** Begins to prepare, now that all that this server has of its past is known. */
  begin(stage2: Stage2): void {
    this.#drop();
    this.#stage2 = stage2;
    this.#left = [...new Set([...this.#left, ...this.#written()])];
    stage2.closed.then(() => {
      if (this.#stage2 === stage2) this.#drop();
    });
    this.soon();
  }

  /** One that is prepared, if there is one. It is the caller's, to run or to {@linkcode discard}. */
  take(): Prepared | undefined {
    return this.#ready.shift();
  }

  /** Prepares what is missing when nothing is started for a moment. */
  soon(): void {
    clearTimeout(this.#timer);
    if (this.#stage2 === undefined) return;
    this.#timer = setTimeout(() => this.#fill(), idleMs);
    Deno.unrefTimer(this.#timer);
  }

  /** Takes back what is prepared for one that was taken and came to nothing. */
  async discard({ id, by }: Prepared): Promise<void> {
    try {
      if (by === this.#stage2) return await forget(by, firstRun(id));
      this.#left.push(id);
      this.soon();
    } catch (error) {
      this.#host.log("error", "Cannot take back a prepared container", { cause: oneLine(error) });
    }
  }

  /** The end of the connection to stage2 takes back what is prepared. */
  [Symbol.dispose](): void {
    this.#drop();
  }

  async #fill(): Promise<void> {
    const stage2 = this.#stage2;
    if (this.#filling || stage2 === undefined) return;
    this.#filling = true;
    try {
      await this.#clear(stage2);
      while (this.#stage2 === stage2 && this.#ready.length < wanted) {
        this.#ready.push(await this.#prepare(stage2));
      }
    } catch (error) {
      this.#host.log("debug", "Cannot prepare a container", { cause: oneLine(error) });
    } finally {
      this.#filling = false;
    }
  }

  /** A stage2 that is killed leaves the cgroups of what it had prepared, and no word of them. */
  async #clear(stage2: Stage2): Promise<void> {
    for (; this.#left.length > 0; this.#left.shift()) {
      const [id] = this.#left;
      // One that a container is being made of comes back here if it comes to nothing.
      if (this.#host.live.has(id)) continue;
      try {
        await stage2.prepare(firstRun(id), firstId(0));
        await forget(stage2, firstRun(id));
      } catch (error) {
        // It is about to take this one back itself: only we were killed.
        if (!(error instanceof KernelError && error.errno === "EEXIST")) throw error;
      }
    }
  }

  async #prepare(stage2: Stage2): Promise<Prepared> {
    const prepared = { id: newId(), range: this.#claims.range(), by: stage2 };
    try {
      const ids = [...this.#ready, prepared].map(({ id }) => id);
      Deno.writeTextFileSync(this.#file, [...this.#left, ...ids].join("\n"));
      await stage2.prepare(firstRun(prepared.id), firstId(prepared.range));
      if (this.#stage2 === stage2) return prepared;
      throw new KurmaError("unavailable", "Cannot use what stage2 has prepared: it has gone");
    } catch (error) {
      this.#claims.release(prepared.range);
      throw error;
    }
  }

  get #file(): string {
    return `${this.#host.folders.state}/prepared`;
  }

  /** The ids that were written before their containers were prepared. */
  #written(): string[] {
    try {
      return Deno.readTextFileSync(this.#file).match(/^[0-9a-f]{32}$/gm) ?? [];
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#stage2 = undefined;
    for (const { range } of this.#ready.splice(0)) this.#claims.release(range);
  }
}

/** What the run is called that is prepared. */
function firstRun(id: string): string {
  return runName({ id, status: { run: 1 } });
}
