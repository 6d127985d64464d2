/**
 * `kurma install`: the names that this executable answers to, as links, and its manual.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { personalities } from "../personalities.ts";
import { version } from "../version.ts";
import { command } from "./command.ts";
import type { Surface } from "./complete.ts";
import { string } from "./flags.ts";
import { manPages, mark, type Page } from "./man.ts";
import { UsageError } from "./parse.ts";
import { unitMark, units } from "./systemd_unit.ts";

/** What stands at a link's path before it is made. */
type Found = "nothing" | "ours" | "other";

/** @param surface Gives the table, for the manual pages. */
export function installer(surface: () => Promise<Surface>) {
  return command({
    summary: "Make links for the names of this program, its manual pages, its service",
    details: [
      "Called by one of its names, the program takes that role: kurmad is the daemon, kurma-cli " +
      "the command line. What is there already stays; nothing of anybody else is replaced.",
    ],
    args: [],
    flags: {
      symlinks: string("Where to make the links", { placeholder: "DIR" }),
      systemd: string("Where systemd reads units, for kurmad's", { placeholder: "DIR" }),
      init: string("Where to write the first process of a machine, a static program", {
        placeholder: "FILE",
      }),
      man: string("Where manual pages are, in whose man1 to write", { placeholder: "DIR" }),
    },
    examples: [
      ["kurma install --symlinks /usr/local/bin", "All names for everybody"],
      ["kurma install --systemd /etc/systemd/system", "A service, and its socket"],
      ["kurma install --init /mnt/init", "What a kernel starts first, for a root or an initramfs"],
      ["kurma install --man /usr/local/share/man", "man kurma-install, and the others"],
    ],
    async run(_context, _args, { symlinks, man, systemd, init }) {
      if ([symlinks, man, systemd, init].every((place) => place === undefined)) {
        throw new UsageError(
          "install needs --symlinks, --systemd, --init or --man",
          "Say where the links go, as in kurma install --symlinks /usr/local/bin",
        );
      }
      return [
        ...(symlinks === undefined ? [] : linkNames(symlinks, Deno.execPath())),
        ...(systemd === undefined ? [] : [writeUnits(systemd, Deno.execPath())]),
        ...(init === undefined ? [] : [await writeInit(init)]),
        ...(man === undefined ? [] : writePages(man, await pagesOf(surface))),
      ].join("\n");
    },
  });
}

async function pagesOf(surface: () => Promise<Surface>): Promise<Page[]> {
  const { top, common } = await surface();
  return manPages(top, common, version().kurma);
}

/**
 * Writes `pages` in the folder man1 of `folder`, over those of an earlier time.
 *
 * @returns The path of each page.
 * @throws {KurmaError} `state` if a file of another origin has one of the names, `missing` if
 * there is no such folder; no page was written then.
 */
export function writePages(folder: string, pages: readonly Page[]): string[] {
  const files = pages.map(({ file, text }) => ({ path: `${trimmed(folder)}/man1/${file}`, text }));
  const taken = files.filter(({ path }) => !isFree(path)).map(({ path }) => path);
  if (taken.length > 0) {
    throw new KurmaError("state", `Cannot write ${quoted(taken)}: not a page of this program`, {
      fix: "Remove what is there, or choose another folder",
    });
  }
  try {
    Deno.statSync(folder);
    Deno.mkdirSync(`${trimmed(folder)}/man1`, { recursive: true });
    for (const { path, text } of files) Deno.writeTextFileSync(path, text);
  } catch (cause) {
    throw unusable(folder, cause);
  }
  return files.map(({ path }) => path);
}

/**
 * Writes the units of kurmad and of kurma-api in `folder`, over those of an earlier time.
 *
 * @returns What to do next.
 * @throws {KurmaError} `state` if a unit of another origin is there, `missing` if there is no
 * such folder; no unit was written then.
 */
export function writeUnits(folder: string, executable: string): string {
  const files = Object.entries(units(executable, groupOfApi()))
    .map(([name, text]) => ({ path: `${trimmed(folder)}/${name}`, text }));
  const taken = files.filter(({ path }) => !isFree(path, unitMark)).map(({ path }) => path);
  if (taken.length > 0) {
    throw new KurmaError("state", `Cannot write ${quoted(taken)}: not a unit of this program`, {
      fix: "Remove what is there, or choose another folder",
    });
  }
  try {
    for (const { path, text } of files) Deno.writeTextFileSync(path, text, { mode: 0o644 });
  } catch (cause) {
    throw unusable(folder, cause);
  }
  return `${files.map(({ path }) => `${path} is written`).join("\n")}
Now: systemctl daemon-reload && systemctl enable --now kurmad.socket kurmad
For other machines, after kurma api init: systemctl enable --now kurma-api`;
}

/** The group that may use the API, if this machine has it: systemd refuses one that is missing. */
function groupOfApi(): string | undefined {
  return /^kurma:/m.test(Deno.readTextFileSync("/etc/group")) ? "kurma" : undefined;
}

/**
 * Writes the program that boots a machine, where nothing is yet.
 *
 * @returns How a kernel is told about it.
 * @throws {KurmaError} `state` if something is there, `missing` if there is no such folder.
 */
async function writeInit(path: string): Promise<string> {
  const { initBytes } = await import("../../stage1/boot/program.ts");
  try {
    Deno.writeFileSync(path, initBytes, { createNew: true, mode: 0o755 });
  } catch (cause) {
    if (!(cause instanceof Deno.errors.AlreadyExists)) throw unusable(parent(path), cause);
    throw new KurmaError("state", `Cannot write "${path}": something is there`, {
      fix: "Remove it, or choose another name",
    });
  }
  return `${path} is written; the kernel starts it by init=${path} -- ${Deno.execPath()}`;
}

function parent(path: string): string {
  return path.includes("/") ? path.replace(/\/+[^/]*$/, "") || "/" : ".";
}

/** Whether `path` may be written: nothing is there, or a file of ours that begins so. */
function isFree(path: string, beginning = mark): boolean {
  try {
    return Deno.lstatSync(path).isFile && Deno.readTextFileSync(path).startsWith(beginning);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return true;
    throw unusable(path, error);
  }
}

/**
 * Makes each name of the program a link in `folder` to `executable`.
 *
 * @returns A line for each name: made, or there already.
 * @throws {KurmaError} `state` if something else has one of the names, `missing` if there is no
 * such folder; no link was made then.
 */
export function linkNames(folder: string, executable: string): string[] {
  const links = [...personalities.keys()].map((name) => {
    const path = `${trimmed(folder)}/${name}`;
    return { path, found: look(path, executable) };
  });
  const taken = links.filter(({ found }) => found === "other").map(({ path }) => path);
  if (taken.length > 0) {
    throw new KurmaError("state", `Cannot link ${quoted(taken)}: not a link to this program`, {
      fix: "Remove what is there, or choose another folder",
    });
  }
  const made: string[] = [];
  try {
    for (const { path, found } of links) {
      if (found === "ours") continue;
      Deno.symlinkSync(executable, path);
      made.push(path);
    }
  } catch (cause) {
    for (const path of made) Deno.removeSync(path);
    throw unusable(folder, cause);
  }
  return links.map(({ path, found }) => {
    return found === "ours" ? `${path} is there already` : `${path} -> ${executable}`;
  });
}

/** What `path` holds now; the executable itself is as good as a link to it. */
function look(path: string, executable: string): Found {
  try {
    Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "nothing";
    throw unusable(path, error);
  }
  try {
    return Deno.realPathSync(path) === executable ? "ours" : "other";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "other"; // A link to nowhere.
    throw unusable(path, error);
  }
}

function unusable(path: string, cause: unknown): KurmaError {
  if (cause instanceof Deno.errors.NotFound) {
    return new KurmaError("missing", `Cannot write in "${path}": no such folder`, {
      fix: `Create it first: mkdir -p ${path}`,
    });
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return new KurmaError("denied", `Cannot write in "${path}": permission denied`, {
      fix: "Run it as root, or choose a folder of yours",
    });
  }
  return new KurmaError("state", `Cannot write in "${path}"`, {
    cause,
    fix: "Choose another folder",
  });
}

function quoted(paths: readonly string[]): string {
  return paths.map((path) => `"${path}"`).join(", ");
}

function trimmed(folder: string): string {
  return folder.replace(/(?<=.)\/+$/, "");
}
