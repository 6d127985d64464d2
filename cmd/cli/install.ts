/**
 * `kurma install`: the names that this executable answers to, as links.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { personalities } from "../personalities.ts";
import { command } from "./command.ts";
import { string } from "./flags.ts";
import { UsageError } from "./parse.ts";

/** What stands at a link's path before it is made. */
type Found = "nothing" | "ours" | "other";

export const install = command({
  summary: "Make links for the names of this program",
  details: [
    "Called by one of its names, the program takes that role: kurmad is the daemon, kurma-cli " +
    "the command line. Links that are there already stay; nothing else is replaced.",
  ],
  args: [],
  flags: { symlinks: string("Where to make the links", { placeholder: "DIR" }) },
  examples: [
    ["kurma install --symlinks /usr/local/bin", "All names for everybody"],
    ["kurma install --symlinks ~/bin", "The same for yourself"],
  ],
  run(_context, _args, { symlinks }) {
    if (symlinks === undefined) {
      throw new UsageError(
        "install needs --symlinks",
        "Say where the links go, as in kurma install --symlinks /usr/local/bin",
      );
    }
    return linkNames(symlinks, Deno.execPath());
  },
});

/**
 * Makes each name of the program a link in `folder` to `executable`.
 *
 * @returns A line for each name: made, or there already.
 * @throws {KurmaError} `state` if something else has one of the names, `missing` if there is no
 * such folder; no link was made then.
 */
export function linkNames(folder: string, executable: string): string {
  const links = [...personalities.keys()].map((name) => {
    const path = `${folder.replace(/\/+$/, "")}/${name}`;
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
    throw unlinkable(folder, cause);
  }
  return links.map(({ path, found }) => {
    return found === "ours" ? `${path} is there already` : `${path} -> ${executable}`;
  }).join("\n");
}

/** What `path` holds now; the executable itself is as good as a link to it. */
function look(path: string, executable: string): Found {
  try {
    Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "nothing";
    throw unlinkable(path, error);
  }
  try {
    return Deno.realPathSync(path) === executable ? "ours" : "other";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "other"; // A link to nowhere.
    throw unlinkable(path, error);
  }
}

function unlinkable(path: string, cause: unknown): KurmaError {
  if (cause instanceof Deno.errors.NotFound) {
    return new KurmaError("missing", `Cannot make links in "${path}": no such folder`, {
      fix: `Create it first: mkdir -p ${path}`,
    });
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return new KurmaError("denied", `Cannot make links in "${path}": permission denied`, {
      fix: "Run it as root, or choose a folder of yours",
    });
  }
  return new KurmaError("state", `Cannot make links in "${path}"`, {
    cause,
    fix: "Choose another folder",
  });
}

function quoted(paths: readonly string[]): string {
  return paths.map((path) => `"${path}"`).join(", ");
}
