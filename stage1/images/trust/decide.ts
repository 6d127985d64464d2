/**
 * Puts policy, keys and signatures together: may this image be used? Asked before
 * anything of the image is unpacked.
 *
 * @module
 */

import type { Digest } from "../sources/digest.ts";
import { type CosignSignature, verifyCosign } from "./cosign.ts";
import { type KeyFile, type KeyKind, listedKeys, trustedKeys } from "./files.ts";
import { decideByName, type Decision, type Policy, type Rule, ruleFor } from "./policy.ts";

/** What an administrator trusts. */
export interface Trust {
  readonly policy: Policy;
  /** Keys by name prefix; see {@linkcode trustedKeys}. */
  readonly folder: string;
}

/** An image from a registry. */
export interface RegistryCandidate {
  /** `registry/repository` */
  readonly name: string;
  /** Of the index, if there is one, and of the manifest: a signature of either will do. */
  readonly digests: readonly Digest[];
  /** Fetches what signatures there are; called only if one is needed. */
  signatures(digest: Digest): Promise<readonly CosignSignature[]>;
}

/** An appc image: a file. */
export interface AciCandidate {
  /** As it was discovered, or else host and path of its URL. */
  readonly name: string;
  /** The file as it was served. */
  open(): Promise<ReadableStream<Uint8Array>>;
  /** Fetches the `.aci.asc`; called only if it is needed; undefined if there is none. */
  signature(): Promise<Uint8Array | undefined>;
}

/** Decides about an image from a registry. */
export async function decideRegistryImage(
  trust: Trust,
  { name, digests, signatures }: RegistryCandidate,
): Promise<Decision> {
  return await decide(trust, name, "pem", async (keys, rule) => {
    let complaint = "it has no signature";
    for (const digest of digests) {
      const found = verifyCosign(await signatures(digest), digest, rule.identity ?? name, keys);
      if ("signer" in found) return found;
      if (found.complaint !== "it has no signature") complaint = found.complaint;
    }
    return { complaint };
  });
}

/** Decides about an appc image. */
export async function decideAci(trust: Trust, candidate: AciCandidate): Promise<Decision> {
  return await decide(trust, candidate.name, "openpgp", async (keys) => {
    const signature = await candidate.signature();
    if (signature === undefined) return { complaint: "it has no signature" };
    const { verifyOpenpgp } = await import("./openpgp.ts");
    return await verifyOpenpgp(() => candidate.open(), signature, keys);
  });
}

async function decide(
  { policy, folder }: Trust,
  name: string,
  kind: KeyKind,
  verify: (
    keys: readonly KeyFile[],
    rule: Rule,
  ) => Promise<{ signer: string } | { complaint: string }>,
): Promise<Decision> {
  const decided = decideByName(policy, name);
  if (decided) return decided;
  const rule = ruleFor(policy, name);
  const keys = rule.keys
    ? await listedKeys(rule.keys, kind)
    : await trustedKeys(folder, name, kind);
  const result = keys.length === 0
    ? { complaint: "no key is trusted for it" }
    : await verify(keys, rule);
  return "signer" in result
    ? {
      verdict: "accept",
      rule: rule.prefix,
      signer: result.signer,
      reason: `signed by ${result.signer}`,
    }
    : { verdict: "reject", rule: rule.prefix, reason: result.complaint };
}
