/**
 * Images as containers need them: found, held so that nobody removes them, and known
 * without a look at the disk while a container has them.
 *
 * @module
 */

import { storedNameIn } from "../images/find.ts";
import type { HeldImage, OnProgress } from "../images/image.ts";
import { openImage, type OpenOptions } from "../images/open.ts";
import { Store } from "../images/store.ts";
import type { Restrictions } from "./restrictions.ts";

/** When an image is asked for elsewhere: if the store lacks it, in any case, or not at all. */
export type PullPolicy = "missing" | "always" | "never";

/** An image that stays while this is not disposed of. */
export interface Use extends Disposable {
  readonly image: Omit<HeldImage, "hold">;
}

/** How a pull is followed, and broken off. */
export interface Watch {
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
}

interface Held {
  readonly image: HeldImage;
  users: number;
  /** Since when nobody uses it, if nobody does; by the monotonic clock. */
  idleSince: number;
  /** Told when it is let go. */
  readonly told: Set<() => void>;
  /** Looks whether nobody has used it for long enough. */
  timer?: number;
}

/** How long an image is held that nobody uses: opening it again takes longer than a container. */
const idleMs = 10_000;

/** The images that containers of this daemon have. */
export class Images implements Disposable {
  readonly #store: Store;
  readonly #options: OpenOptions & { readonly root: string };
  readonly #held = new Map<string, Held>();
  /** What is being opened, by what was asked for. */
  readonly #opening = new Map<string, Promise<HeldImage>>();

  /** @param options How an image that is not there is pulled, and where the store is. */
  constructor(options: OpenOptions & { readonly root: string }) {
    this.#options = options;
    this.#store = Store.open(options.root);
  }

  /**
   * Finds an image by name, id or path; pulls one that is not in the store.
   *
   * @param restrictions Of whoever asks: where it may be pulled from, and no path where
   *   those of the host are not his.
   * @param watch Whoever watches has a pull of their own.
   * @throws {KurmaError} as `openImage`.
   */
  async use(
    reference: string,
    policy: PullPolicy = "missing",
    restrictions?: Restrictions,
    watch?: Watch,
  ): Promise<Use> {
    const pull = this.#options.pull && { ...this.#options.pull, reach: restrictions, ...watch };
    const paths = restrictions?.hostPaths === undefined;
    if (policy === "always" && pull !== undefined && reference !== "hello") {
      const { pullImage } = await import("../images/pull.ts");
      await pullImage(reference, { ...pull, root: this.#options.root, paths });
    }
    const name = storedNameIn(reference);
    const id = name === undefined ? reference : this.#store.imageOfName(name);
    const known = id === undefined ? undefined : this.#held.get(id);
    if (known) return this.#user(known);
    const own = { ...this.#options, pull: policy === "never" ? undefined : pull, paths };
    const opened = await (watch ? openImage(reference, own) : this.#open(reference, own));
    const held = this.#held.get(opened.id);
    if (held) {
      if (held.image !== opened) opened.hold[Symbol.dispose]();
      return this.#user(held);
    }
    const fresh = { image: opened, users: 0, idleSince: 0, told: new Set<() => void>() };
    this.#held.set(opened.id, fresh);
    return this.#user(fresh);
  }

  /** All who ask for the same at once get the same: one pull, one hold. */
  #open(reference: string, options: OpenOptions): Promise<HeldImage> {
    const { pull, paths } = options;
    const key = JSON.stringify([reference, pull !== undefined, pull?.reach, paths]);
    const running = this.#opening.get(key);
    if (running) return running;
    const opening = openImage(reference, options).finally(() => this.#opening.delete(key));
    this.#opening.set(key, opening);
    return opening;
  }

  /**
   * Tells when an image is let go that is held now: at the end of its last use, or some time
   * after it. To use it is not necessary for that.
   *
   * @param released Called before anybody else can remove the image; not once the result is
   *   disposed of.
   * @returns Undefined if nobody holds it.
   */
  whileHeld(id: string, released: () => void): Disposable | undefined {
    const held = this.#held.get(id);
    held?.told.add(released);
    return held && { [Symbol.dispose]: () => void held.told.delete(released) };
  }

  /** Lets go of images that nobody uses, so that they can be removed. */
  releaseIdle(): void {
    for (const held of this.#held.values()) if (held.users === 0) this.#release(held);
  }

  #release(held: Held): void {
    clearTimeout(held.timer);
    this.#held.delete(held.image.id);
    for (const tell of held.told) tell();
    held.image.hold[Symbol.dispose]();
  }

  #user(held: Held): Use {
    held.users++;
    let used = true;
    return {
      image: held.image,
      [Symbol.dispose]: () => {
        if (!used) return;
        used = false;
        if (--held.users > 0) return;
        held.idleSince = performance.now();
        this.#releaseAfter(held, idleMs);
      },
    };
  }

  /** One timer serves many uses that come and go. */
  #releaseAfter(held: Held, ms: number): void {
    held.timer ??= setTimeout(() => {
      held.timer = undefined;
      if (held.users > 0) return;
      const left = idleMs - (performance.now() - held.idleSince);
      if (left > 0) this.#releaseAfter(held, left);
      else this.#release(held);
    }, ms);
    Deno.unrefTimer(held.timer);
  }

  [Symbol.dispose](): void {
    for (const held of [...this.#held.values()]) this.#release(held);
    this.#store[Symbol.dispose]();
  }
}
