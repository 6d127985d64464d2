/**
 * The policy on disk, read again when it has changed.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { quote } from "../images/sources/digest.ts";
import { loadPolicy, type Policy } from "./policy.ts";

/** One file; without it, the roles alone decide. */
export class PolicyFile {
  readonly #path: string;
  readonly #onMistake: (error: unknown) => void;
  #version: string;
  #policy: Policy;
  /** While it is read: all who ask meanwhile wait for the same. */
  #reading: Promise<void> | undefined;

  private constructor(
    path: string,
    version: string,
    policy: Policy,
    onMistake: (error: unknown) => void,
  ) {
    this.#path = path;
    this.#version = version;
    this.#policy = policy;
    this.#onMistake = onMistake;
  }

  /**
   * @param onMistake Told once of each change that cannot be used: what was said before still
   *   holds then.
   * @throws {KurmaError} `invalid`; `denied`: others may write the file.
   */
  static async open(path: string, onMistake: (error: unknown) => void): Promise<PolicyFile> {
    const version = versionOf(path);
    return new PolicyFile(path, version, await loadPolicy(path), onMistake);
  }

  /** What it says now. */
  async current(): Promise<Policy> {
    const version = versionOf(this.#path);
    if (version !== this.#version) {
      this.#reading ??= this.#read(version).finally(() => (this.#reading = undefined));
      await this.#reading;
    }
    return this.#policy;
  }

  async #read(version: string): Promise<void> {
    try {
      // Nobody allows everything by mistake, or between an editor's two steps.
      if (version === "") throw goneError(this.#path);
      this.#policy = await loadPolicy(this.#path);
    } catch (error) {
      this.#onMistake(error);
    }
    // As it was before it was read: a change meanwhile is one more.
    this.#version = version;
  }
}

function goneError(path: string): KurmaError {
  return new KurmaError("missing", `Cannot read policy ${quote(path)}: it is gone`, {
    fix: "What it said holds until kurma-api is started again; an empty file forbids nothing",
  });
}

/** What differs between one content of a file and another; empty if it is not there. */
function versionOf(path: string): string {
  try {
    const { ino, size, mtime, ctime } = Deno.statSync(path);
    return [ino, size, mtime?.getTime(), ctime?.getTime()].join(" ");
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
