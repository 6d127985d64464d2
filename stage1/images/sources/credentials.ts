/**
 * Passwords for registries, from the files that `docker login` and `podman login` write
 * and from the credential helpers that these files name. Read anew for each lookup, so a
 * login counts at once.
 *
 * @module
 * @see containers-auth.json(5); docker login, "Credential helper protocol"
 */

import { join } from "node:path";
import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "./digest.ts";
import { isObject, type JsonObject, optionalText, parseJsonObject, texts } from "./json.ts";

/** What to show a registry or its token server. */
export type Credential =
  | { readonly kind: "password"; readonly username: string; readonly password: string }
  /** An OAuth2 refresh token, to be traded for access tokens. */
  | { readonly kind: "identity"; readonly token: string }
  /** An access token that is used as it is. */
  | { readonly kind: "access"; readonly token: string };

/** Finds credentials. */
export interface Credentials {
  /**
   * @param registry `host[:port]`, or `docker.io`.
   * @returns undefined if there is none; the registry is then asked as anyone would.
   * @throws {KurmaError} A file or a helper is there, but does not work.
   */
  find(
    registry: string,
    repository: string,
    signal?: AbortSignal,
  ): Promise<Credential | undefined>;
}

/** Nobody's credentials. */
export const anonymous: Credentials = { find: () => Promise.resolve(undefined) };

const limits = { fileBytes: 1024 * 1024, helperBytes: 64 * 1024, helperMs: 30_000 } as const;

/**
 * The files to look through, the first that knows the registry wins.
 *
 * @param env The caller's environment: HOME, XDG_*, REGISTRY_AUTH_FILE, DOCKER_CONFIG.
 */
export function authFiles(env: Readonly<Record<string, string>>, uid: number): string[] {
  if (env.REGISTRY_AUTH_FILE) return [env.REGISTRY_AUTH_FILE];
  const home = env.HOME;
  const config = env.XDG_CONFIG_HOME || (home && join(home, ".config"));
  const docker = env.DOCKER_CONFIG || (home && join(home, ".docker"));
  return [
    env.XDG_RUNTIME_DIR && join(env.XDG_RUNTIME_DIR, "containers/auth.json"),
    `/run/containers/${uid}/auth.json`,
    config && join(config, "containers/auth.json"),
    docker && join(docker, "config.json"),
  ].filter((path) => path !== undefined && path !== "");
}

/** Credentials from auth files; see {@linkcode authFiles}. */
export function credentialsFrom(files: readonly string[]): Credentials {
  return {
    async find(registry, repository, signal) {
      for (const file of files) {
        const found = await lookUp(file, registry, repository, signal);
        if (found) return found;
      }
      return undefined;
    },
  };
}

async function lookUp(
  file: string,
  registry: string,
  repository: string,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  const what = `auth file ${quote(file)}`;
  let bytes: Uint8Array;
  try {
    bytes = await Deno.readFile(file);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return undefined;
    throw new KurmaError("denied", `Cannot read ${what}`, { cause });
  }
  const config = parseJsonObject(bytes, what, { bytes: limits.fileBytes, depth: 16 });
  const names = aliases(registry);

  const helpers = texts(config, "credHelpers", what);
  const named = names.find((name) => Object.hasOwn(helpers, name));
  const helper = named === undefined ? optionalText(config, "credsStore", what) : helpers[named];
  if (helper) {
    const found = await askHelper(helper, helperName(registry), signal);
    if (found) return found;
  }
  const auths = config.auths;
  if (!isObject(auths)) return undefined;
  const entries = new Map(Object.entries(auths).map(([key, entry]) => [serverOf(key), entry]));
  const path = repository.split("/");
  for (let parts = path.length; parts >= 0; parts--) { // The longest name is the most specific.
    for (const name of names) {
      const entry = entries.get([name, ...path.slice(0, parts)].join("/"));
      const found = isObject(entry) ? entryCredential(entry, what) : undefined;
      if (found) return found;
    }
  }
  return undefined;
}

function entryCredential(entry: JsonObject, what: string): Credential | undefined {
  const identity = optionalText(entry, "identitytoken", what);
  if (identity) return { kind: "identity", token: identity };
  const access = optionalText(entry, "registrytoken", what);
  if (access) return { kind: "access", token: access };
  const auth = optionalText(entry, "auth", what);
  if (auth) {
    const pair = decodeBasic(auth);
    if (pair === undefined) {
      throw new KurmaError(
        "invalid",
        `Cannot read ${what}: an "auth" is not base64 of user:password`,
      );
    }
    return pair;
  }
  const username = optionalText(entry, "username", what);
  const password = optionalText(entry, "password", what);
  return username && password !== undefined ? { kind: "password", username, password } : undefined;
}

function decodeBasic(auth: string): Credential | undefined {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.fromBase64(auth));
    const colon = text.indexOf(":");
    if (colon < 1) return undefined;
    // Docker pads the password with NUL.
    const password = text.slice(colon + 1).replace(/\0+$/, "");
    return { kind: "password", username: text.slice(0, colon), password };
  } catch {
    return undefined; // The caller says which file it is in.
  }
}

/**
 * Asks `docker-credential-NAME`.
 *
 * @returns undefined if it does not know the server.
 * @throws {KurmaError} It is not there, fails, takes more than 30 s or says more than 64 KiB.
 */
async function askHelper(
  name: string,
  server: string,
  signal: AbortSignal | undefined,
): Promise<Credential | undefined> {
  const what = `credential helper "docker-credential-${name}"`;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new KurmaError("invalid", `Cannot run a credential helper named ${quote(name)}`, {
      fix: "A helper's name has letters, digits, . _ and -",
    });
  }
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(`docker-credential-${name}`, {
      args: ["get"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
  } catch (cause) {
    throw new KurmaError("missing", `Cannot run ${what}`, {
      cause,
      fix: "Install it, or remove it from the auth file",
    });
  }
  const deadline = AbortSignal.timeout(limits.helperMs);
  const stop = signal ? AbortSignal.any([signal, deadline]) : deadline;
  const kill = () => {
    try {
      child.kill("SIGKILL");
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // It has ended by itself.
    }
  };
  stop.addEventListener("abort", kill);
  try {
    await writeAll(child.stdin, `${server}\n`);
    const said = await readAll(child.stdout, stop, what);
    const { success } = await child.status;
    signal?.throwIfAborted();
    if (deadline.aborted) {
      throw new KurmaError("unavailable", `Cannot use ${what}: it takes too long`);
    }
    if (!success) {
      const message = new TextDecoder().decode(said).trim();
      if (/credentials not found/i.test(message)) return undefined;
      throw new KurmaError("denied", `Cannot use ${what}: ${quote(message)}`);
    }
    const answer = parseJsonObject(said, `answer of ${what}`);
    const username = optionalText(answer, "Username", what) ?? "";
    const password = optionalText(answer, "Secret", what) ?? "";
    if (username === "" && password === "") return undefined;
    return username === "<token>"
      ? { kind: "identity", token: password }
      : { kind: "password", username, password };
  } finally {
    stop.removeEventListener("abort", kill);
    kill();
    await child.status;
  }
}

async function writeAll(stdin: WritableStream<Uint8Array>, text: string): Promise<void> {
  const writer = stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch {
    writer.releaseLock(); // It answers without reading, or it failed; what it says will tell.
  }
}

async function readAll(
  stdout: ReadableStream<Uint8Array>,
  stop: AbortSignal,
  what: string,
): Promise<Uint8Array> {
  const reader = stdout.getReader();
  // A grandchild may keep the pipe open after the helper is killed.
  const cancel = () => void reader.cancel().catch(() => {}); // The pipe is gone already.
  stop.addEventListener("abort", cancel);
  try {
    const chunks: Uint8Array[] = [];
    let size = 0;
    while (true) {
      const { done, value } = await reader.read();
      if (done) return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
      size += value.length;
      if (size > limits.helperBytes) {
        throw new KurmaError("invalid", `Cannot use ${what}: it says more than 64 KiB`);
      }
      chunks.push(value);
    }
  } finally {
    stop.removeEventListener("abort", cancel);
    cancel();
  }
}

/** The names that a registry goes by in auth files. */
function aliases(registry: string): string[] {
  return registry === "docker.io"
    ? ["docker.io", "index.docker.io", "registry-1.docker.io"]
    : [registry];
}

/** `docker login` has always stored Docker Hub under this URL. */
function helperName(registry: string): string {
  return registry === "docker.io" ? "https://index.docker.io/v1/" : registry;
}

/** An auth file's key without the scheme and the API version that old Docker wrote. */
function serverOf(key: string): string {
  return key.replace(/^https?:\/\//, "").replace(/\/v[12]\/?$/, "").replace(/\/$/, "");
}
