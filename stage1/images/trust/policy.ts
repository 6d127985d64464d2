/**
 * Which images may be used, by name: `policy.yaml` in Kurma's configuration folder.
 *
 * ```yaml
 * default: accept                     # what no rule below names; accept if left out
 * rules:                              # the longest prefix of the image's name wins
 *   docker.io/library: accept
 *   untrusted.example: reject
 *   example.com: signed-by            # by a key in the trust folder for this name
 *   registry.example.com/ops:
 *     signed-by: [ops.pub]            # by one of these keys, and no other
 *     identity: build.example.com/ops # the name it was signed under, if it was another
 * ```
 *
 * A prefix ends where a part of the name ends: `example.com/a` covers `example.com/a/b`,
 * not `example.com/ab`. A file goes by host and path of its URL; files of this machine
 * are not asked about.
 *
 * @module
 */

import { dirname, resolve } from "node:path";
import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "../sources/digest.ts";
import { isObject } from "../sources/json.ts";
import { readTrusted } from "./files.ts";

/** What is decided about an image, and why: kept with it and shown to users. */
export interface Decision {
  readonly verdict: "accept" | "reject";
  /** The prefix of the rule that decided, or `default`. */
  readonly rule: string;
  /** Whose signature was good; absent if none was needed. */
  readonly signer?: string;
  /** One line for people. */
  readonly reason: string;
}

/** A rule of the policy. */
export interface Rule {
  /** A prefix of image names, or `default`. */
  readonly prefix: string;
  readonly demand: "accept" | "signed-by" | "reject";
  /** Paths of the keys that count; without it, those of the trust folder do. */
  readonly keys?: readonly string[];
  /** What a signature may call the image instead of its name. */
  readonly identity?: string;
}

/** Rules by prefix, the default one last. */
export type Policy = readonly Rule[];

/** The policy of those who wrote none. */
export const openPolicy: Policy = [{ prefix: "default", demand: "accept" }];

const maxPolicyBytes = 1024 * 1024;
const prefixGrammar = /^[a-z0-9[\]:._~-]+(?:\/[a-z0-9._~-]+)*$/;

/**
 * Reads `policy.yaml`; without a file, everything is accepted.
 *
 * @throws {KurmaError} `invalid`: unknown words, wrong types; `denied`: others may write it.
 */
export async function loadPolicy(path: string): Promise<Policy> {
  const bytes = await readTrusted(path, maxPolicyBytes);
  return bytes ? await parsePolicy(new TextDecoder().decode(bytes), path) : openPolicy;
}

/** @see {@linkcode loadPolicy} */
export async function parsePolicy(text: string, path: string): Promise<Policy> {
  const { parseMapping } = await import("../sources/yaml.ts");
  const document = parseMapping(text, (why) => wrong(path, why));
  const { default: otherwise = "accept", rules = {}, ...rest } = document;
  onlyKeys(rest, path, "default and rules");
  if (!isObject(rules)) throw wrong(path, '"rules" is not a mapping');
  return [
    ...Object.entries(rules).map(([prefix, demand]) => {
      if (!prefixGrammar.test(prefix)) {
        throw wrong(path, `${quote(prefix)} is not a prefix of names`);
      }
      return parseRule(prefix, demand, `${path}: ${prefix}`, dirname(path));
    }),
    parseRule("default", otherwise, `${path}: default`, dirname(path)),
  ];
}

/** The rule for an image: the one with the longest prefix of its name. */
export function ruleFor(policy: Policy, name: string): Rule {
  let best: Rule | undefined;
  for (const rule of policy) {
    const covers = rule.prefix === name || name.startsWith(`${rule.prefix}/`);
    const isDefault = rule === policy.at(-1);
    if (!covers && !isDefault) continue;
    if (best === undefined || (covers && rule.prefix.length > best.prefix.length)) best = rule;
  }
  return best ?? openPolicy[0];
}

/**
 * What is decided already by the name, before anybody is asked for anything.
 *
 * @returns undefined if it takes a signature.
 */
export function decideByName(policy: Policy, name: string): Decision | undefined {
  const { demand, prefix } = ruleFor(policy, name);
  switch (demand) {
    case "accept":
      return { verdict: "accept", rule: prefix, reason: `${quote(prefix)} accepts it` };
    case "reject":
      return { verdict: "reject", rule: prefix, reason: `${quote(prefix)} rejects it` };
    case "signed-by":
      return undefined;
  }
}

/**
 * Stops what the policy rejects.
 *
 * @throws {KurmaError} `denied`, with rule and reason.
 */
export function requireAccepted({ verdict, rule, reason }: Decision, what: string): void {
  if (verdict === "accept") return;
  throw new KurmaError("denied", `Cannot use ${quote(what)}: ${reason}`, {
    fix: `Use another image, or change the rule for ${quote(rule)} in policy.yaml`,
  });
}

function parseRule(prefix: string, value: unknown, where: string, folder: string): Rule {
  if (value === "accept" || value === "reject" || value === "signed-by") {
    return { prefix, demand: value };
  }
  if (!isObject(value)) throw wrong(where, `${quote(String(value))} is not a demand`);
  const { "signed-by": keys, identity, ...rest } = value;
  onlyKeys(rest, where, "signed-by and identity");
  if (
    keys !== undefined && !(Array.isArray(keys) && keys.every((key) => typeof key === "string"))
  ) {
    throw wrong(where, '"signed-by" is not a list of paths');
  }
  if (keys?.length === 0) throw wrong(where, '"signed-by" names no key');
  if (identity !== undefined && typeof identity !== "string") {
    throw wrong(where, '"identity" is not a name');
  }
  return {
    prefix,
    demand: "signed-by",
    ...(keys ? { keys: keys.map((key: string) => resolve(folder, key)) } : {}),
    ...(identity ? { identity } : {}),
  };
}

function onlyKeys(rest: object, where: string, known: string): void {
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw wrong(where, `${quote(unknown)} is not one of ${known}`);
}

function wrong(where: string, why: string): KurmaError {
  return new KurmaError("invalid", `Cannot use policy ${quote(where)}: ${why}`, {
    fix: "A demand is accept, reject, signed-by, or { signed-by: [KEY, ...] }",
  });
}
