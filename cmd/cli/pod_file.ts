/**
 * The files that pods are made from.
 *
 * @module
 */

import { dirname } from "node:path";
import { parse } from "yaml";
import { KurmaError } from "../../ffi/errors.ts";
import { isPodManifest } from "../../stage1/config/initial_pods.ts";
import { isObject } from "../../stage1/images/sources/json.ts";
import { absolute } from "./create.ts";
import type { PodRequest } from "./pod.ts";

/** The daemon takes no larger message. */
const largestFile = 4 << 20;

/**
 * What the file at `path` asks for; `-` is standard input. Its fields are the daemon's to check.
 *
 * @throws {KurmaError} `missing`, `denied`; `invalid`: it is neither JSON nor YAML, or no object.
 */
export async function podRequest(path: string): Promise<PodRequest> {
  const document = documentOf(await textOf(path), path);
  if (isPodManifest(document)) return { manifest: JSON.stringify(document) };
  const folder = path === "-" ? Deno.cwd() : dirname(path);
  const apps = Array.isArray(document.apps)
    ? {
      apps: document.apps.map((app: unknown) =>
        isObject(app) && typeof app.image === "string"
          ? { ...app, image: absolute(app.image, folder) }
          : app
      ),
    }
    : {};
  return { ...document, ...apps } as PodRequest;
}

function documentOf(text: string, path: string) {
  let document: unknown;
  try {
    document = parsed(text);
  } catch (error) {
    const reason = String(error instanceof Error ? error.message : error).split("\n")[0];
    throw unusable(path, `it is neither JSON nor YAML: ${reason}`);
  }
  if (isObject(document)) return document;
  throw unusable(path, "it is no pod, which has fields");
}

/** JSON may be indented by tabs, which YAML forbids. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return parse(text);
  }
}

async function textOf(path: string): Promise<string> {
  const bytes = await bytesOf(path);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw unusable(path, "it is not UTF-8 text");
  }
}

async function bytesOf(path: string): Promise<Uint8Array> {
  try {
    using file = path === "-" ? undefined : await Deno.open(path);
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of (file ?? Deno.stdin).readable) {
      chunks.push(chunk);
      size += chunk.length;
      if (size > largestFile) throw unusable(path, `it has more than ${largestFile} bytes`);
    }
    return new Uint8Array(await new Blob(chunks as BlobPart[]).arrayBuffer());
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new KurmaError("missing", `Cannot find "${path}"`, { fix: "Check the path" });
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new KurmaError("denied", `Cannot read "${path}"`, { fix: "Make it readable for you" });
    }
    if (error instanceof Deno.errors.IsADirectory || error instanceof Deno.errors.BadResource) {
      throw unusable(path, "it is a folder");
    }
    throw error;
  }
}

function unusable(path: string, why: string): KurmaError {
  return new KurmaError("invalid", `Cannot make a pod from "${path}": ${why}`, {
    fix: "Write an appc pod manifest, or name and apps as kurma pod create --help says",
  });
}
