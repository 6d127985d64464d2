/**
 * Where images may come from when not the administrator but somebody else asks: names of
 * registries, signatures, and addresses that a server never has by right.
 *
 * @module
 * @see RFC 6890 for the addresses
 */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { KurmaError } from "../../../ffi/errors.ts";
import type { Decision } from "../trust/policy.ts";
import { quote } from "./digest.ts";
import type { AppcReference, HttpReference, RegistryReference } from "./reference.ts";

/** What is asked of an image from elsewhere. Left out: nothing. */
export interface Reach {
  /** Prefixes of names, as in `docker.io/library`; no other image is pulled. */
  readonly registries?: readonly string[];
  /** Only images whose signature was checked. */
  readonly signedImages?: boolean;
  /** No server on this machine or on its link, unless hosts.yaml lists it. */
  readonly remoteRegistries?: boolean;
}

/**
 * Refuses a name that is none of those that may be pulled, before anybody is asked.
 *
 * @throws {KurmaError} `denied`.
 */
export function requireAllowedName(
  reference: RegistryReference | HttpReference | AppcReference,
  shown: string,
  { registries }: Reach,
): void {
  if (registries === undefined) return;
  const name = reference.kind === "registry"
    ? `${reference.registry}/${reference.repository}`
    : reference.kind === "appc"
    ? reference.name
    : hostAndPath(reference.url);
  if (registries.some((prefix) => name === prefix || name.startsWith(`${prefix}/`))) return;
  throw new KurmaError("denied", `Cannot pull ${quote(shown)}: its registry is not allowed`, {
    fix: registries.length === 0
      ? "Ask an administrator to import it"
      : `Use an image of ${registries.join(", ")}`,
  });
}

/**
 * Refuses an image whose signature nobody has checked.
 *
 * @throws {KurmaError} `denied`.
 */
export function requireSigner(decision: Decision, shown: string, { signedImages }: Reach): void {
  if (!signedImages || decision.signer !== undefined) return;
  const rule = quote(decision.rule);
  throw new KurmaError("denied", `Cannot pull ${quote(shown)}: no signature of it was asked for`, {
    fix: `Ask an administrator to make the rule ${rule} of policy.yaml signed-by`,
  });
}

function hostAndPath(url: string): string {
  const { host, pathname } = new URL(url);
  return host + pathname;
}

/**
 * The addresses of a host, none of which is this machine's or its link's. Where there is no
 * TLS the connection has to go to one of these: asked again, the name may be another's (DNS
 * rebinding).
 *
 * @param hostname As a URL has it: a name, an IPv4 address, or an IPv6 address in brackets.
 * @throws {KurmaError} `denied`.
 */
export async function remoteAddresses(hostname: string, task: string): Promise<string[]> {
  const literal = hostname.replace(/^\[(.*)\]$/, "$1");
  const found = isIP(literal) ? [literal] : await lookedUp(hostname, task);
  const own = found.find(isOwnAddress);
  if (own === undefined) return found;
  const is = own === literal ? "" : `, which is ${own},`;
  throw new KurmaError("denied", `Cannot ${task}: ${hostname}${is} is this machine or its link`, {
    fix: `If it serves images, an administrator may list it in hosts.yaml`,
  });
}

async function lookedUp(hostname: string, task: string): Promise<string[]> {
  try {
    return (await lookup(hostname, { all: true })).map(({ address }) => address);
  } catch (cause) {
    throw new KurmaError("unavailable", `Cannot ${task}: ${hostname} is no name that DNS knows`, {
      cause,
      fix: "Check the name and the network, then try again",
    });
  }
}

/** Whether an address is of this machine, of its link, or of nobody. */
export function isOwnAddress(address: string): boolean {
  const four = embeddedIpv4(address);
  if (four !== undefined) {
    const [first, second] = four.split(".").map(Number);
    return first === 0 || first === 127 || first >= 224 || (first === 169 && second === 254);
  }
  const [high] = groupsOf(address);
  const isSmall = groupsOf(address).slice(0, 7).every((group) => group === 0); // :: and ::1
  const metadata = /^fd00:ec2:/i.test(address);
  return isSmall || metadata || (high & 0xffc0) === 0xfe80 || (high & 0xff00) === 0xff00;
}

/** The IPv4 address that an address is or stands for; RFC 4291 2.5.5, RFC 6052, RFC 3056. */
function embeddedIpv4(address: string): string | undefined {
  if (isIP(address) === 4) return address;
  const groups = groupsOf(address);
  const [a, b, , , , f] = groups;
  const zeros = (count: number) => groups.slice(0, count).every((group) => group === 0);
  const dotted = (high: number, low: number) =>
    [high >> 8, high & 255, low >> 8, low & 255].join(".");
  const mapped = zeros(5) && f === 0xffff;
  const compatible = zeros(6) && (groups[6] !== 0 || groups[7] > 1);
  const translated = a === 0x64 && b === 0xff9b;
  if (mapped || compatible || translated) return dotted(groups[6], groups[7]);
  return a === 0x2002 ? dotted(b, groups[2]) : undefined;
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [bare] = address.split("%");
  // The URL parser writes every form of an address in one.
  const normal = new URL(`http://[${bare}]/`).hostname.slice(1, -1);
  const [head, tail] = normal.split("::");
  const numbers = (text: string | undefined) =>
    text ? text.split(":").map((group) => Number.parseInt(group, 16)) : [];
  const [before, after] = [numbers(head), numbers(tail)];
  if (tail === undefined) return before;
  return [...before, ...new Array(8 - before.length - after.length).fill(0), ...after];
}
