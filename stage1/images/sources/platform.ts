/**
 * Which of an index's manifests runs here.
 *
 * @module
 * @see OCI image-spec 1.1, image-index.md, "platform"
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "./digest.ts";

/** What a manifest runs on, in Go's names. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  /** For example `v7` for arm; absent means the architecture's baseline. */
  readonly variant?: string;
}

/** The platform of this machine. */
export function hostPlatform(): Platform {
  return {
    os: Deno.build.os,
    architecture: Deno.build.arch === "x86_64" ? "amd64" : "arm64",
  };
}

/**
 * Reads `os/architecture[/variant]`.
 *
 * @throws {KurmaError} `invalid`.
 */
export function parsePlatform(text: string): Platform {
  const parts = /^([a-z0-9]{1,32})\/([a-z0-9_]{1,32})(?:\/([a-z0-9_.]{1,32}))?$/.exec(text);
  if (parts === null) {
    throw new KurmaError("invalid", `Cannot read platform ${quote(text)}`, {
      fix: 'Write "os/architecture" or "os/architecture/variant", for example "linux/arm64"',
    });
  }
  const [, os, architecture, variant] = parts;
  return { os, architecture, ...(variant ? { variant } : {}) };
}

/** The platform as `os/architecture[/variant]`. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join("/");
}

/**
 * The entry that runs best on `wanted`: the same operating system and architecture, the
 * variant asked for or the nearest older one; the first of equals.
 *
 * @param what Names the index in messages.
 * @throws {KurmaError} `missing`, listing what there is.
 */
export function selectPlatform<Entry extends { readonly platform?: Platform }>(
  entries: readonly Entry[],
  wanted: Platform,
  what: string,
): Entry {
  let best: Entry | undefined;
  let bestRank = -1;
  for (const entry of entries) {
    const rank = entry.platform ? rankOf(entry.platform, wanted) : -1;
    if (rank > bestRank) [best, bestRank] = [entry, rank];
  }
  if (best) return best;
  const known = entries.flatMap(({ platform }) =>
    platform && platform.os !== "unknown" ? [formatPlatform(platform)] : []
  );
  throw new KurmaError(
    "missing",
    `Cannot find ${formatPlatform(wanted)} in ${what}: it has ${
      known.length === 0 ? "no platform" : [...new Set(known)].slice(0, 20).join(", ")
    }`,
    { fix: "Name one of these platforms, or another image" },
  );
}

/** Whether an image for `offered` may run on `wanted`. */
export function runsOn(offered: Platform, wanted: Platform): boolean {
  return rankOf(offered, wanted) >= 0;
}

/** How well `offered` serves `wanted`; higher is better, -1 not at all. */
function rankOf(offered: Platform, wanted: Platform): number {
  if (offered.os !== wanted.os || offered.architecture !== wanted.architecture) return -1;
  const have = level(offered);
  const want = level(wanted);
  if (have === undefined || want === undefined) {
    return offered.variant === wanted.variant ? 0 : -1;
  }
  return have <= want ? have : -1;
}

/** The variant as a number, each running what the lower ones run; undefined if it is none. */
function level({ architecture, variant }: Platform): number | undefined {
  const baseline: Record<string, number> = { amd64: 1, arm64: 8, arm: 7 };
  if (variant === undefined) {
    return Object.hasOwn(baseline, architecture) ? baseline[architecture] : 0;
  }
  const number = /^v([0-9]{1,2})$/.exec(variant)?.[1];
  return number === undefined ? undefined : Number(number);
}
