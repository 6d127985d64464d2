/**
 * `kurma cp`: files into containers and out of them, by the rules of docker.
 *
 * @module
 */

import { posix } from "node:path";
import { KurmaError } from "../../ffi/errors.ts";
import type { OnProgress } from "../../stage1/images/mod.ts";
import { pass } from "../print.ts";
import { command } from "./command.ts";
import type { End, Opened, Written } from "./copying.ts";
import { boolean } from "./flags.ts";
import { structured, textOutput } from "./output.ts";
import { UsageError } from "./parse.ts";
import { streaming } from "./streaming.ts";

/** What one of the two arguments names. */
export type Place =
  /** Standard input, or standard output. */
  | { readonly kind: "stream" }
  | ({ readonly kind: "local" } & Path)
  | ({ readonly kind: "container"; readonly container: string } & Path);

interface Path {
  /** Absolute, without `.` and `..`. */
  readonly path: string;
  /** Whether it can only be a folder, as it ends with `/` or `/.`. */
  readonly isFolder: boolean;
  /** Whether what is in the folder is meant, and not the folder. */
  readonly isContents: boolean;
}

/** What `text` names. A path of this machine that has a colon in it begins with `/` or `./`. */
export function placeOf(text: string, cwd: string): Place {
  if (text === "-") return { kind: "stream" };
  const [, container, inside] = /^([^./:][^/:]*):(.*)$/s.exec(text) ?? [];
  if (container === undefined) return { kind: "local", ...pathOf(text, cwd) };
  return { kind: "container", container, ...pathOf(inside, "/") };
}

function pathOf(text: string, base: string): Path {
  const path = posix.resolve(base, text);
  const isContents = /(^|\/)\.$/.test(text) || path === "/";
  return { path, isFolder: isContents || text.endsWith("/"), isContents };
}

const missing = (where: string, fix: string) =>
  new KurmaError("missing", `Cannot find "${where}"`, { fix });

const invalid = (message: string, fix: string) => new KurmaError("invalid", message, { fix });

/**
 * Copies what is at `source` to `target`, as docker does: into a folder that is there, otherwise
 * to that name; of a folder that ends with `/.`, what is in it.
 *
 * @param watch Hears how many bytes of the archive have come.
 */
export async function copy(
  source: { readonly end: End } & Path,
  target: { readonly end: End } & Path,
  { archive, follow, watch }: {
    readonly archive: boolean;
    readonly follow: boolean;
    readonly watch?: (opened: Opened) => AsyncIterable<Uint8Array>;
  },
): Promise<Written> {
  const from = source.end.called(source.path);
  const to = target.end.called(target.path);
  await using opened = await source.end.open(source.path, follow || source.isFolder);
  if (opened === undefined) throw missing(from, "Check the path");
  const isFolder = opened.kind === "folder";
  if (opened.kind === "other") {
    throw invalid(`Cannot copy "${from}": it is no file, folder or link`, "Copy what it holds");
  }
  if (source.isFolder && !isFolder) {
    throw invalid(`Cannot copy "${from}" as a folder: it is none`, "Leave out the / at its end");
  }
  const there = await kindAt(target.end, target.path);
  if (there !== undefined && there !== "folder" && (isFolder || target.isFolder)) {
    throw invalid(`Cannot copy "${from}" to "${to}": it is no folder`, "Name a folder there");
  }
  if (there === undefined && target.isFolder && !isFolder) {
    throw missing(to, "Make the folder first, or leave out the / at the end for a new file");
  }
  const isInto = there === "folder";
  // A folder by its name, or the contents of one.
  const name = isInto ? source.isContents ? "" : opened.name : posix.basename(target.path);
  const folder = isInto ? target.path : posix.dirname(target.path);
  if (!isInto && await kindAt(target.end, folder) !== "folder") {
    throw missing(target.end.called(folder), "Make that folder first");
  }
  const { renamed } = await import("../../stage1/containers/tar_stream.ts");
  const archived = renamed(watch?.(opened) ?? opened.chunks, opened.name, name);
  return await target.end.write(folder, archived, archive);
}

/** What is at a path, links followed; undefined if nothing is. */
async function kindAt(end: End, path: string) {
  await using there = await end.open(path, true);
  return there?.kind;
}

export const cp = command({
  summary: "Copy files between a container and this machine",
  details: [
    "One of SOURCE and TARGET is CONTAINER:PATH, the other a path of this machine, or - for a tar " +
    "archive on standard input or output. The container may run or not; its paths begin at /.",
    "A file or folder goes into a folder that is there, and otherwise gets the name that TARGET ends " +
    "with. A folder that ends with /. is its contents. What is copied out belongs to whoever copies, " +
    "what is copied in to the container's user, unless --archive keeps owners as they are. A path of " +
    "this machine with a colon in it is written ./a:b.",
  ],
  args: ["source", "target"],
  flags: {
    archive: boolean("Keep users and groups, and the bits that set them", { short: "a" }),
    "follow-link": boolean("Follow a link that SOURCE is", { short: "L" }),
    quiet: boolean("Show no progress", { short: "q" }),
    output: textOutput,
  },
  instead: {
    "--pause": "Files are copied as they are; kurma pause halts the container",
    "--overwrite": "A file takes the place of a file anyway; remove what is in the way",
    "-r": "Folders are copied with all they hold; leave it out",
    "--recursive": "Folders are copied with all they hold; leave it out",
  },
  examples: [
    ["kurma cp web:/etc/passwd .", "Out of a container, into this folder"],
    ["kurma cp ./site/. web:/www", "What is in a folder, into one of the container"],
    ["kurma cp web:/var/log - | tar -t", "As a tar archive, to a pipe"],
  ],
  async run(context, args, flags) {
    const source = placeOf(args.source, Deno.cwd());
    const target = placeOf(args.target, Deno.cwd());
    const inside = source.kind === "container" ? source : target;
    const outside = inside === source ? target : source;
    if (inside.kind !== "container") {
      throw new UsageError(
        "Cannot copy: neither SOURCE nor TARGET is in a container",
        "Write CONTAINER:PATH for the one that is",
      );
    }
    if (outside.kind === "container") {
      throw new UsageError(
        "Cannot copy from container to container",
        `Write kurma cp ${args.source} - | kurma cp - ${args.target}`,
      );
    }
    const isOut = inside === source;
    requirePipe(outside, isOut, flags.output);
    return await streaming(context, async ({ containers }) => {
      const { container } = inside;
      await containers.get({ container });
      const { ContainerEnd, LocalEnd } = await import("./copying.ts");
      const end = new ContainerEnd(containers, container);
      if (outside.kind === "stream") {
        if (isOut) return await writeOut(end, inside.path, flags["follow-link"]);
        const done = await end.write(inside.path, Deno.stdin.readable, flags.archive);
        return await said(done, flags.output);
      }
      const { kernel } = await import("../../ffi/mod.ts");
      using local = new LocalEnd(kernel);
      const here = { ...outside, end: local };
      const there = { ...inside, end };
      const reading = new Reading(flags.quiet ? undefined : await progress());
      const done = await reading.orItsError(copy(isOut ? there : here, isOut ? here : there, {
        archive: flags.archive,
        follow: flags["follow-link"],
        watch: (opened) => reading.of(opened),
      }));
      return await said(done, flags.output);
    });
  },
});

/** A pipe at the other end, where that is a stream. */
function requirePipe(outside: Place, isOut: boolean, output: string): void {
  if (outside.kind !== "stream") return;
  const stream = isOut ? Deno.stdout : Deno.stdin;
  if (stream.isTerminal()) {
    throw new UsageError(
      `Cannot ${isOut ? "write an archive to" : "read an archive from"} a terminal`,
      isOut
        ? "Write | tar -t or > FILE behind it"
        : "Write tar -c FILE | before it, or < FILE behind it",
    );
  }
  if (isOut && output !== "text") {
    throw new UsageError(
      `Cannot write both an archive and ${output} to standard output`,
      "Leave out --output",
    );
  }
}

async function said({ entries, bytes }: Written, output: "text" | "json" | "yaml") {
  return output === "text" ? "" : await structured({ entries, bytes }, output);
}

/** Bars, if there is a terminal for them. */
async function progress(): Promise<OnProgress | undefined> {
  if (!Deno.stderr.isTerminal()) return undefined;
  const [{ progressOnStderr }, { metered }] = await Promise.all([
    import("./progress.ts"),
    import("../../stage1/images/progress.ts"),
  ]);
  return metered({ onProgress: progressOnStderr() }).onProgress;
}

/** What is read at one end while the other writes. */
class Reading {
  #error: unknown;
  /** Of what was read last. */
  #end: Parameters<OnProgress>[0] | undefined;

  constructor(readonly onProgress?: OnProgress) {}

  /** The archive of what is opened, which its reader need not read behind its end marker. */
  async *of({ name: subject, kind, bytes: size, chunks }: Opened): AsyncGenerator<Uint8Array> {
    const total = kind === "file" && size > 0 ? { total: size } : {};
    let length = 0;
    try {
      for await (const chunk of chunks) {
        length += chunk.length;
        // The archive is a little longer than the file.
        const bytes = Math.min(length, total.total ?? Infinity);
        this.#end = { step: "written", subject, bytes };
        this.onProgress?.({ step: "read", subject, bytes, ...total });
        yield chunk;
      }
    } catch (error) {
      this.#error = error;
      throw error;
    }
  }

  /** What `writing` comes to. That it lacked something to write is not worth telling; why is. */
  async orItsError<Value>(writing: Promise<Value>): Promise<Value> {
    try {
      const value = await writing;
      if (this.#end) this.onProgress?.(this.#end);
      return value;
    } catch (error) {
      throw this.#error ?? error;
    }
  }
}

/** Passes an archive on to standard output. */
async function writeOut(end: End, path: string, follow: boolean): Promise<number> {
  await using opened = await end.open(path, follow);
  if (opened === undefined) throw missing(end.called(path), "Check the path");
  for await (const chunk of opened.chunks) {
    const status = pass(chunk, "stdout");
    if (status !== 0) return status;
  }
  return 0;
}
