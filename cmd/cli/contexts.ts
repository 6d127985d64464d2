/**
 * The contexts of a user: daemons by name, each with what it takes to be let in. They are
 * files in `$XDG_CONFIG_HOME/kurma/contexts`, for nobody else to read.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import { type Endpoint, endpointName } from "../../stage1/api/endpoint.ts";
import { endpointOf } from "../../stage1/api/hosts.ts";
import type { Bundle } from "../../stage1/remote/bundle.ts";
import { closest } from "./closest.ts";
import { contextsFolder, currentContext, type Environment } from "./current_context.ts";

/** The name that stands for this machine's own daemon. */
export const ownContext = "default";

export class Contexts {
  readonly #folder: string | undefined;

  constructor(env: Environment) {
    this.#folder = contextsFolder(env);
  }

  /** The context in use; undefined for this machine's daemon. */
  current(): string | undefined {
    return currentContext(this.#folder);
  }

  /** From now on, commands go to that one. */
  async use(name: string): Promise<void> {
    const { removeIfThere, writeSecret } = await import("../../stage1/remote/files.ts");
    if (name !== ownContext) await this.read(name);
    const path = `${this.#home()}/current-context`;
    if (name === ownContext) removeIfThere(path);
    else writeSecret(path, `${name}\n`);
  }

  /** The names of all, sorted. */
  names(): string[] {
    if (this.#folder === undefined) return [];
    try {
      return [...Deno.readDirSync(`${this.#folder}/contexts`)]
        .filter(({ name }) => name.endsWith(".json") && !name.startsWith("."))
        .map(({ name }) => name.slice(0, -".json".length)).sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw new KurmaError("denied", `Cannot read "${this.#folder}/contexts"`, { cause: error });
    }
  }

  /** @throws {KurmaError} `missing`: there is none of that name; `denied`; `invalid`. */
  async read(name: string): Promise<Bundle> {
    const [{ readSecret }, { parseBundle }] = await Promise.all([
      import("../../stage1/remote/files.ts"),
      import("../../stage1/remote/bundle.ts"),
    ]);
    const text = isName(name) && this.#folder !== undefined
      ? readSecret(this.#path(name))
      : undefined;
    if (text === undefined) {
      const meant = closest(name, this.names());
      throw new KurmaError("missing", `There is no context "${name}"`, {
        fix: meant ? `Did you mean ${meant}?` : "See kurma context list, or import one",
      });
    }
    return parseBundle(text, `context "${name}"`);
  }

  /** @throws {KurmaError} `state`: there is one of that name, which is not to be replaced. */
  async write(name: string, bundle: Bundle, replace: boolean): Promise<void> {
    const [{ makePrivateFolder, writeSecret }, { bundleText }] = await Promise.all([
      import("../../stage1/remote/files.ts"),
      import("../../stage1/remote/bundle.ts"),
    ]);
    if (!isName(name) || name === ownContext) {
      throw new KurmaError("invalid", `Cannot call a context "${name}"`, {
        fix: `Use letters, digits and any of . _ -, and another word than ${ownContext}`,
      });
    }
    if (!replace && this.names().includes(name)) {
      throw new KurmaError("state", `There is a context "${name}" already`, {
        fix: "Add --force to replace it, or choose another name",
      });
    }
    makePrivateFolder(`${this.#home()}/contexts`);
    writeSecret(this.#path(name), bundleText(bundle));
  }

  /** Removes one; if it was in use, this machine's daemon is from now on. */
  async remove(name: string): Promise<void> {
    const { removeIfThere } = await import("../../stage1/remote/files.ts");
    if (!this.names().includes(name)) await this.read(name); // Which says that there is none.
    removeIfThere(this.#path(name));
    if (this.current() === name) await this.use(ownContext);
  }

  /** The daemon that a context names, with what is shown to it. */
  async endpoint(name: string): Promise<Endpoint | undefined> {
    if (name === ownContext) return undefined;
    const { host, ...credential } = await this.read(name);
    const endpoint = endpointOf(host, "/");
    return endpoint.kind === "tcp" ? { ...endpoint, credential } : endpoint;
  }

  /** The same server, with what the first context shows that names it. */
  async withCredential(endpoint: Endpoint): Promise<Endpoint> {
    const wanted = endpointName(endpoint);
    for (const name of this.names()) {
      const known = await this.endpoint(name);
      if (known !== undefined && endpointName(known) === wanted) return known;
    }
    return endpoint;
  }

  #path(name: string): string {
    return `${this.#home()}/contexts/${name}.json`;
  }

  #home(): string {
    if (this.#folder !== undefined) return this.#folder;
    throw new KurmaError("missing", "Cannot keep contexts: there is no HOME", {
      fix: "Set HOME or XDG_CONFIG_HOME",
    });
  }
}

function isName(name: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9@._-]{0,62}$/.test(name);
}
