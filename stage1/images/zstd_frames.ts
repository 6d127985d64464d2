/**
 * Where a zstd frame ends. Layers hold many frames, one behind the other, with others
 * to be skipped between them; what Deno inflates zstd with stops after the first.
 *
 * @module
 * @see RFC 8878, 3.1 "Frames"
 */

/** What the next bytes of a frame are. */
type State =
  | { readonly collect: "magic" | "descriptor" | "block" | "skippable" }
  | { readonly pass: number; readonly then: State | "end" };

const sizes = { magic: 4, descriptor: 1, block: 3, skippable: 4 } as const;

/** Follows one frame through the chunks that it comes in. */
export class FrameScanner {
  #state: State = { collect: "magic" };
  #collected: number[] = [];
  #checksum = 0;
  /** Whether the whole frame has been seen. */
  ended = false;

  /** Whether a frame that starts with these four bytes or more holds nothing to inflate. */
  static isSkippable(head: Uint8Array): boolean {
    const [first, ...others] = head.subarray(0, 4);
    return first >> 4 === 5 && others.join() === "42,77,24";
  }

  /**
   * Looks at the next bytes.
   *
   * @returns How many of them belong to this frame, if it ends among them.
   * @throws {Error} They are no frame.
   */
  scan(chunk: Uint8Array): number | undefined {
    let at = 0;
    while (at < chunk.length) {
      const state = this.#state;
      if ("collect" in state) {
        this.#collected.push(chunk[at++]);
        if (this.#collected.length < sizes[state.collect]) continue;
        const value = this.#collected.reduceRight((all, byte) => all * 256 + byte, 0);
        this.#collected = [];
        this.#state = this.#after(state.collect, value);
      } else {
        const passed = Math.min(state.pass, chunk.length - at);
        at += passed;
        this.#state = { ...state, pass: state.pass - passed };
      }
      while ("pass" in this.#state && this.#state.pass === 0) {
        if (this.#state.then === "end") {
          this.ended = true;
          return at;
        }
        this.#state = this.#state.then;
      }
    }
  }

  #after(what: "magic" | "descriptor" | "block" | "skippable", value: number): State {
    switch (what) {
      case "magic":
        if (value === 0xfd2fb528) return { collect: "descriptor" };
        if (value < 0x184d2a50 || value > 0x184d2a5f) throw new Error("no zstd frame");
        return { collect: "skippable" };
      case "skippable":
        return { pass: value, then: "end" };
      case "descriptor": {
        const single = (value & 0x20) !== 0;
        this.#checksum = (value & 0x04) !== 0 ? 4 : 0;
        const dictionary = [0, 1, 2, 4][value & 0x03];
        const content = [single ? 1 : 0, 2, 4, 8][value >> 6];
        return { pass: (single ? 0 : 1) + dictionary + content, then: { collect: "block" } };
      }
      case "block": {
        const type = (value >> 1) & 0x03;
        if (type === 3) throw new Error("a zstd block of no known type");
        const last = (value & 1) !== 0;
        const stored = type === 1 ? 1 : value >> 3; // A run is stored as one byte.
        return last
          ? { pass: stored + this.#checksum, then: "end" }
          : { pass: stored, then: { collect: "block" } };
      }
    }
  }
}
