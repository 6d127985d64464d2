/**
 * A pod where a container is named: `kurma enter POD APP`, as the first Kurma had it.
 *
 * @module
 */

import { KurmaError } from "../../ffi/errors.ts";
import type { ApiStreams } from "../../stage1/api/client_streams.ts";
import { UsageError } from "./parse.ts";

/**
 * The container that `reference` means, and the words for it. Of a pod, the first word names
 * the app; one that is alone needs no name.
 *
 * @throws {KurmaError} `missing`: there is neither a container nor a pod, or no such app.
 */
export async function appOf(
  { containers, pods }: Pick<ApiStreams, "containers" | "pods">,
  reference: string,
  words: readonly string[],
): Promise<{ container: string; words: readonly string[] }> {
  const { kurmaError } = await import("../../stage1/api/client_streams.ts");
  const ifThere = async <Answer>(call: Promise<Answer>): Promise<Answer | KurmaError> => {
    try {
      return await call;
    } catch (error) {
      const known = kurmaError(error);
      if (known instanceof KurmaError && known.code === "missing") return known;
      throw known;
    }
  };
  const container = await ifThere(containers.get({ container: reference }));
  if (!(container instanceof KurmaError)) return { container: reference, words };
  const found = await ifThere(pods.get({ pod: reference }));
  if (found instanceof KurmaError || found.pod === undefined) throw container;
  const { name, containers: apps } = found.pod;
  const names = apps.map((app) => app.name).join(", ");
  const [first, ...rest] = words;
  if (first === undefined) {
    if (apps.length === 1) return { container: apps[0].id, words };
    throw new UsageError(
      `"${reference}" is a pod`,
      `Name one of its apps, or write one of ${names}`,
    );
  }
  // The containers keep their names when their pod gets another.
  const app = apps.find((app) => app.name === `${name}-${first}`) ??
    apps.find((app) => app.name === first || app.name.endsWith(`-${first}`));
  if (app !== undefined) return { container: app.id, words: rest };
  throw new KurmaError("missing", `Cannot find app "${first}" in pod "${name}"`, {
    fix: `Its containers are ${names}`,
  });
}
