/**
 * What one executable can be. The name it is called by decides; so does the first
 * word after `kurma`, for people who made no links.
 *
 * @module
 */

/** One role of the executable. */
export interface Personality {
  /** The word after `kurma` that means the same as the name, where there is one. */
  readonly word?: string;
  /** What it is, in one line. */
  readonly summary: string;
  /** Its code, which nothing else pays for. A role without it is not in this version. */
  readonly load?: () => Promise<{ main(args: readonly string[]): Promise<number> }>;
}

const commandLine: Personality = {
  summary: "The command line",
  load: () => import("./kurma_cli.ts"),
};

/** All roles, by the name that calls them. */
export const personalities: ReadonlyMap<string, Personality> = new Map<string, Personality>([
  ["kurma", commandLine],
  ["kurma-cli", commandLine],
  ["kurmad", {
    word: "daemon",
    summary: "The daemon: images, containers, API",
    load: () => import("./kurmad.ts"),
  }],
  ["kurma-api", {
    word: "api",
    summary: "The broker that lets remote callers in",
    load: () => import("./kurma_api.ts"),
  }],
  ["kurma-init", {
    word: "init",
    summary: "Boots a machine and keeps its daemon alive",
    load: () => import("./kurma_init.ts"),
  }],
]);

/** The personality that `word` calls, with its name. */
export function roleOf(word: string): readonly [name: string, Personality] | undefined {
  return [...personalities].find(([, personality]) => personality.word === word);
}

/** What `--help` says about a personality other than the command line. */
export function roleHelp([name, { word, summary, load }]: readonly [string, Personality]): string {
  const lines = [summary, "", `Usage: ${name}, or kurma ${word}`];
  return [...lines, ...(load ? [] : ["", `This version of Kurma has no ${name}.`])].join("\n");
}
