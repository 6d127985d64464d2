/**
 * What shows a command to work, and the daemon that it is shown on. The commands are in
 * {@link ./cases_containers.ts}, {@link ./cases_pods.ts}, {@link ./cases_remote.ts} and
 * {@link ./cases_others.ts}.
 *
 * @module
 */

import { assertEquals, assertMatch } from "../assert.ts";
import { images } from "../images_fixture.ts";
import { Line } from "./line.ts";

/** How a command is shown to work. Of its lines, `$IMAGE` and the like are {@linkcode Shop.words}. */
export interface Case {
  /** Does what it is for. */
  main(shop: Shop): Promise<void>;
  /** What is got wrong most, and what is said to that. */
  readonly mistake: readonly [line: string, status: number, message: RegExp];
  /** A call that succeeds, a filter for jq, and what jq says. Wanted where there is `--output json`. */
  readonly json?: readonly [line: string, filter: string, said: string | RegExp];
}

/** A daemon with a few things in it: `web` runs, `job` has ended, `pair` is a pod, `site` a volume. */
export class Shop extends Line {
  words: Record<string, string> = {};

  /** A line as its words. */
  args(line: string): string[] {
    return line.split(" ").map((word) => word.replace(/\$([A-Z]+)/, (_, name) => this.words[name]));
  }

  /** What a line says; it succeeds. */
  async is(line: string, said: string | RegExp): Promise<void> {
    const text = await this.says(this.args(line));
    if (typeof said === "string") assertEquals(text, said, line);
    else assertMatch(text, said);
  }

  /** The state of a container. */
  async state(name: string): Promise<string> {
    return await this.says(["show", name, "--format", "{{.state}}"]);
  }

  async open(): Promise<void> {
    const { aci } = await images();
    const { dir, image } = this.kurmad;
    this.words = { IMAGE: image, ACI: aci, DIR: dir, ROOT: `${dir}/store` };
    await this.started("web", "trap 'exit 0' TERM; while :; do sleep 0.1; done", "-l", "app=shop");
    await Deno.writeTextFile(`${dir}/calm.json`, calm(image));
    await this.is("create --start --name job $IMAGE false", /^\w{32}$/);
    await this.is("wait job", /^\d+$/);
    await this.is("volume create site --label app=shop", "site");
    await this.is(
      "pod create --name pair --app one=$IMAGE --app two=$IMAGE -l app=shop",
      /^\w{32}$/,
    );
    await this.is("image import --quiet --root $ROOT $ACI --name box", /^sha512-/);
  }
}

/** Cases by the words that call their commands. */
export type Cases = Readonly<Record<string, Case>>;

/** The state of a container or a pod that runs. */
export const running = "CONTAINER_STATE_RUNNING";

/** A pod that lets itself be stopped at once. */
function calm(image: string): string {
  const settings = { command: ["sleep", "1000"], stopTimeout: "0s" };
  const apps = ["one", "two"].map((name) => ({ name, image, settings }));
  return JSON.stringify({ name: "calm", apps });
}
