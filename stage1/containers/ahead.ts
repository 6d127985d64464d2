/**
 * Containers to come: stage2 prepares them while nobody waits, so that a start need not. Of
 * some nothing is known but the id and the range of user ids. One is expected to be like those
 * that were started last, and is made but for its command.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Stage2 } from "../../stage2/server.ts";
import type { Plan } from "../../stage2/spec.ts";
import type { Claims } from "./claims.ts";
import { folderOf, type Host, oneLine, runName } from "./host.ts";
import { makeFolders } from "./make_steps.ts";
import { newId } from "./names.ts";
import { type Pattern, planLike } from "./pattern.ts";
import { firstId } from "./ranges.ts";
import { forget, newWorkFolder } from "./runs.ts";

/** What a new container gets; its first run may be prepared. */
export interface Prepared {
  readonly id: string;
  readonly range: number;
  /** The server that has prepared it. */
  readonly by: Stage2;
  /** What those are like that it is made for, in its folder; undefined if it is for any. */
  readonly likeness?: string;
}

/** One that nobody has taken. */
interface Waiting extends Prepared {
  /** Ends the telling of its image's end. */
  hold?: Disposable;
  /** Whether its image may be gone. */
  isStale: boolean;
}

/**
 * How many there are, beside the one that is made: each is two small processes and a network
 * namespace.
 */
const wanted = 2;

/** How long nobody may have started anything: while many are started, the kernel has enough to do. */
const idleMs = 10;

/** The prepared containers of one manager. They are nobody's until they are taken. */
export class Ahead implements AsyncDisposable {
  readonly #host: Host;
  readonly #claims: Claims;
  /** Who prepared them; a server that follows knows nothing of them. */
  #stage2: Stage2 | undefined;
  #ready: Waiting[] = [];
  /** Ids of those that were taken, as long as nothing else tells of them. */
  readonly #taken = new Set<string>();
  /** What the container was like that was started last. */
  #last: string | undefined;
  /** The newest that was like the one before it. */
  #pattern: Pattern | undefined;
  /** Ids that a stage2 before this one may have prepared. */
  #left: string[] = [];
  #timer: number | undefined;
  /** Settles when what is missing is prepared. */
  #filling: Promise<void> | undefined;

  constructor(host: Host, claims: Claims) {
    this.#host = host;
    this.#claims = claims;
  }

  /** Begins to prepare, now that all that this server has of its past is known. */
  begin(stage2: Stage2): void {
    this.#drop();
    this.#stage2 = stage2;
    this.#left = [...new Set([...this.#left, ...preparedIds(this.#host.folders.state)])];
    stage2.closed.then(() => {
      if (this.#stage2 === stage2) this.#drop();
    });
    this.soon();
  }

  /**
   * One that is prepared, if there is one: made for those that are like this, rather than for
   * any. It is the caller's, to run or to {@linkcode discard}; disposing of it says that either
   * is done, and a record tells of what runs.
   */
  take(likeness: string | undefined): (Prepared & Disposable) | undefined {
    const taken = this.#ready.find((one) => one.likeness === likeness) ??
      this.#ready.find((one) => one.likeness === undefined);
    if (taken === undefined) return undefined;
    this.#ready.splice(this.#ready.indexOf(taken), 1);
    taken.hold?.[Symbol.dispose]();
    this.#taken.add(taken.id);
    return { ...taken, [Symbol.dispose]: () => this.#taken.delete(taken.id) };
  }

  /** Hears what was started; undefined: something like which none can be made ahead. */
  learn(pattern: Pattern | undefined): void {
    // Where this and that start in turns, each would undo what is prepared for the other.
    if (pattern !== undefined && pattern.likeness === this.#last) this.#pattern = pattern;
    this.#last = pattern?.likeness;
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
      if (!this.#host.state.containers.has(id)) this.#removeFolder(id);
      if (by === this.#stage2) return await forget(by, firstRun(id));
    } catch (error) {
      if (!by.isClosed) {
        this.#host.log("error", "Cannot take back a prepared container; trying again", {
          cause: oneLine(error),
        });
      }
    }
    this.#left.push(id);
    this.soon();
  }

  /**
   * The end of the connection to stage2 takes back what is prepared. What another stage2 had
   * left is gone when this settles.
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const stage2 = this.#stage2;
    this.#drop();
    await this.#filling;
    if (stage2 === undefined) return;
    await this.#clear(stage2).catch((error) => {
      this.#host.log("debug", "The next kurmad clears up", { cause: oneLine(error) });
    });
  }

  #fill(): void {
    const stage2 = this.#stage2;
    if (this.#filling || stage2 === undefined) return;
    this.#filling = this.#prepareMissing(stage2).finally(() => {
      this.#filling = undefined;
      if (this.#stage2 !== stage2) this.soon();
    });
  }

  async #prepareMissing(stage2: Stage2): Promise<void> {
    try {
      await this.#clear(stage2);
      for (const one of [...this.#ready]) {
        const { likeness } = one;
        if (likeness !== undefined && likeness !== this.#pattern?.likeness) await this.#undo(one);
      }
      while (this.#stage2 === stage2) {
        const plain = this.#ready.filter(({ likeness }) => likeness === undefined).length;
        const pattern = plain < this.#ready.length ? undefined : this.#pattern;
        if (pattern === undefined && plain >= wanted) return;
        this.#ready.push(await this.#prepare(stage2, pattern));
      }
    } catch (error) {
      this.#host.log("debug", "Cannot prepare a container", { cause: oneLine(error) });
    }
  }

  /** A stage2 that is killed leaves the cgroups of what it had prepared, and no word of them. */
  async #clear(stage2: Stage2): Promise<void> {
    for (; this.#left.length > 0; this.#left.shift()) {
      const [id] = this.#left;
      // One that a container is being made of comes back here if it comes to nothing.
      if (this.#host.live.has(id) || this.#taken.has(id)) continue;
      await forget(stage2, firstRun(id), true);
    }
  }

  async #prepare(stage2: Stage2, pattern?: Pattern): Promise<Waiting> {
    const one: Waiting = {
      ...{ id: newId(), range: this.#claims.range(), by: stage2, isStale: false },
      likeness: pattern?.likeness,
    };
    try {
      // First: one that is written down is found, whoever dies.
      this.#writeDown(one.id);
      const plan = pattern && this.#makeFolder(one, pattern);
      await stage2.prepare(firstRun(one.id), firstId(one.range), plan);
      if (this.#stage2 !== stage2 || one.isStale) {
        throw new KurmaError("unavailable", "Cannot use what stage2 has prepared: it has gone");
      }
      return one;
    } catch (error) {
      await this.#undo(one);
      if (pattern === undefined || this.#stage2 !== stage2) throw error;
      this.#host.log("debug", "Cannot make a container ahead", { cause: oneLine(error) });
      if (this.#pattern === pattern) this.#pattern = undefined;
      return await this.#prepare(stage2);
    }
  }

  /** Keeps the ids of all that stage2 may have and no record tells of, and this one, in the file. */
  #writeDown(id: string): void {
    const ids = [...this.#left, ...this.#taken, ...this.#ready.map(({ id }) => id), id];
    const file = fileIn(this.#host.folders.state);
    // Whoever is killed meanwhile leaves the ids of before, and not an empty file.
    Deno.writeTextFileSync(`${file}.new`, ids.join("\n"));
    Deno.renameSync(`${file}.new`, file);
  }

  /** Makes the folder for a container that is like `pattern`, and its plan. */
  #makeFolder(one: Waiting, pattern: Pattern): Plan {
    // What is mounted of an image that goes would be a tree without files.
    one.hold = this.#host.images.whileHeld(pattern.container.image.id, () => {
      one.isStale = true;
      if (this.#ready.includes(one)) this.#undo(one).then(() => this.soon());
    });
    if (one.hold === undefined) {
      throw new KurmaError("missing", "Cannot mount an image that nobody holds any more");
    }
    this.#host.live.of(one).madeBy = one.by;
    makeFolders(this.#host, one);
    newWorkFolder(this.#host, one);
    return planLike(this.#host, pattern, one);
  }

  /** Takes back what nobody has taken. */
  async #undo(one: Waiting): Promise<void> {
    this.#ready = this.#ready.filter((other) => other !== one);
    one.hold?.[Symbol.dispose]();
    await this.discard(one);
    this.#claims.release(one.range);
  }

  /** The folder of a container that is none, and what is known of it. */
  #removeFolder(id: string): void {
    this.#host.live.delete({ id });
    this.#host.kernel.remove(folderOf(this.#host, { id }));
  }

  #drop(): void {
    clearTimeout(this.#timer);
    this.#stage2 = undefined;
    for (const { id, range, hold } of this.#ready.splice(0)) {
      hold?.[Symbol.dispose]();
      this.#removeFolder(id);
      this.#claims.release(range);
    }
  }
}

/** The ids of containers that kurmad may have had prepared, by the folder with its state. */
export function preparedIds(root: string): string[] {
  try {
    return Deno.readTextFileSync(fileIn(root)).match(/^[0-9a-f]{32}$/gm) ?? [];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

function fileIn(root: string): string {
  return `${root}/prepared`;
}

/** What the run is called that is prepared. */
function firstRun(id: string): string {
  return runName({ id, status: { run: 1 } });
}
