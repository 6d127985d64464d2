/**
 * The two ends of `kurma cp`: a container and this machine. Each says what is at a path,
 * gives it as a tar archive, and takes one.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { Descriptor, Kernel } from "../../ffi/kernel.ts";
import type { ApiStreams } from "../../stage1/api/client_streams.ts";
import { copyIn, copyOut, type Inside, lookAt } from "../../stage1/containers/copy.ts";

/** What is at a path. */
export interface Found {
  /** The last part of the path, with which the names of the archive begin. */
  readonly name: string;
  readonly kind: "file" | "folder" | "link" | "other";
  /** Of a file. */
  readonly bytes: number;
}

/** What is at a path, opened to be read. */
export interface Opened extends Found, AsyncDisposable {
  /** As a tar archive. */
  readonly chunks: AsyncIterable<Uint8Array>;
}

/** What was written. */
export interface Written {
  readonly entries: number;
  readonly bytes: number;
}

/** Where a copy comes from, or goes to. */
export interface End {
  /** Its name for a path, in messages: `web:/etc/hosts`. */
  called(path: string): string;
  /**
   * Opens what is at `path`, absolute.
   *
   * @param follow Whether a link at its end is followed.
   * @returns Undefined if there is nothing.
   */
  open(path: string, follow: boolean): Promise<Opened | undefined>;
  /**
   * Unpacks an archive in a folder that is there.
   *
   * @param archive Whether owners stay who they are.
   */
  write(folder: string, chunks: AsyncIterable<Uint8Array>, archive: boolean): Promise<Written>;
}

const kinds: Readonly<Record<number, Found["kind"]>> = {
  0o040000: "folder",
  0o100000: "file",
  0o120000: "link",
};

/** stat(2)'s S_IFMT. */
function kindOf(mode: number): Found["kind"] {
  return kinds[mode & 0o170000] ?? "other";
}

/** Small pieces of an archive are sent together, up to this many bytes. */
const batch = 256 * 1024;

/** A container, as the daemon has it. */
export class ContainerEnd implements End {
  /** @param container It is known to be there. */
  constructor(readonly containers: ApiStreams["containers"], readonly container: string) {}

  called(path: string): string {
    return `${this.container}:${path}`;
  }

  async open(path: string, followLink: boolean): Promise<Opened | undefined> {
    const { kurmaError } = await import("../../stage1/api/client_streams.ts");
    const leaving = new AbortController();
    const request = { container: this.container, path, followLink };
    const answers = this.containers.copyOut(request, { signal: leaving.signal })[
      Symbol.asyncIterator
    ]();
    try {
      const { value, done } = await answers.next();
      if (done || value.message.case !== "file") {
        throw new Error("kurmad did not say what it sends");
      }
      const { name, mode, bytes } = value.message.value;
      return {
        name,
        kind: kindOf(mode),
        bytes: Number(bytes),
        chunks: chunks(),
        async [Symbol.asyncDispose]() {
          leaving.abort();
          // It answers that it was left, which is what was asked.
          await answers.return?.().catch(() => undefined);
        },
      };
    } catch (error) {
      const known = kurmaError(error);
      if (known instanceof KurmaError && known.code === "missing") return undefined;
      throw known;
    }

    async function* chunks() {
      for (let next = await answers.next(); !next.done; next = await answers.next()) {
        if (next.value.message.case === "chunk") yield next.value.message.value;
      }
    }
  }

  async write(path: string, chunks: AsyncIterable<Uint8Array>, archive: boolean) {
    const { container } = this;
    const settings = { container, path, keepOwners: archive };
    const { entries, bytes } = await this.containers.copyIn((async function* () {
      yield { message: { case: "start" as const, value: settings } };
      for await (const value of batched(chunks)) {
        yield { message: { case: "chunk" as const, value } };
      }
    })());
    return { entries: Number(entries), bytes: Number(bytes) };
  }
}

/** This machine, as far as the user may read and write it. */
export class LocalEnd implements End, Disposable {
  readonly #all: Inside;

  constructor(readonly kernel: Kernel) {
    const root = kernel.openRoot(Deno.pid);
    this.#all = { kernel, root, firstId: 0, where: "on this machine" };
  }

  called(path: string): string {
    return path;
  }

  open(path: string, follow: boolean): Promise<Opened | undefined> {
    try {
      const { name, mode, bytes } = lookAt(this.#all, path, follow);
      const chunks = copyOut(this.#all, path, follow);
      const close = () => chunks.return(undefined).then(() => undefined);
      const kind = kindOf(mode);
      return Promise.resolve({ name, kind, bytes, chunks, [Symbol.asyncDispose]: close });
    } catch (error) {
      if (error instanceof KurmaError && error.code === "missing") {
        return Promise.resolve(undefined);
      }
      return Promise.reject(error);
    }
  }

  async write(folder: string, chunks: AsyncIterable<Uint8Array>, archive: boolean) {
    const { kernel } = this;
    // What is unpacked sees no other folder: whatever the archive says, it stays in there.
    const root: Descriptor = kernel.openIn(this.#all.root, folder, "place");
    try {
      const inside = { kernel, root, firstId: 0, where: `in ${JSON.stringify(folder)}` };
      const [uid, gid] = [Deno.uid() ?? 0, Deno.gid() ?? 0];
      // Files of others can only be made by root.
      const owner = archive && uid === 0 ? undefined : { uid, gid };
      return await copyIn(inside, "/", chunks, { owner, dropSetId: !archive, noLinks: true });
    } finally {
      kernel.close(root);
    }
  }

  [Symbol.dispose](): void {
    this.kernel.close(this.#all.root);
  }
}

/** The same bytes in pieces of at most {@linkcode batch}, the small ones together. */
export async function* batched(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let gathered = new Uint8Array(batch);
  let length = 0;
  for await (const chunk of chunks) {
    for (let rest = chunk; rest.length > 0;) {
      const piece = rest.subarray(0, batch - length);
      gathered.set(piece, length);
      length += piece.length;
      rest = rest.subarray(piece.length);
      if (length < batch) continue;
      yield gathered;
      gathered = new Uint8Array(batch);
      length = 0;
    }
  }
  if (length > 0) yield gathered.subarray(0, length);
}
