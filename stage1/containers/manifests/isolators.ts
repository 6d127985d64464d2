/**
 * appc's isolators in the words of a container's specification.
 *
 * Whose isolators they are decides what they may do. Those of a request (a pod manifest,
 * an API call) are its author's will. Those of an image are data from outside: they may
 * take rights away, and whatever would give rights is either refused, where the image
 * is of no use without it, or not done and told.
 *
 * @module
 * @see appc spec 0.8.11, ace.md, "Isolators"; docs/decisions/091-isolators.md
 */

import { KurmaError } from "../../../ffi/errors.ts";
import { quote } from "../../images/sources/digest.ts";
import { capabilityName, defaultCapabilities } from "../capabilities.ts";
import type { CapabilitySpec, NamespaceSpec, ResourceSpec, SecuritySpec } from "../spec.ts";
import { quantity } from "./quantity.ts";
import { removing, retaining } from "./syscalls.ts";

/** One isolator as it was written. */
export interface Isolator {
  readonly name: string;
  readonly value: unknown;
}

/** Who asks for it. */
export type Origin = "image" | "request";

/** What became of an isolator; appc wants users to be told. */
export interface Outcome {
  readonly name: string;
  readonly outcome: "enforced" | "modified" | "ignored";
  /** Why not simply enforced. */
  readonly reason?: string;
}

/** What isolators come to. */
export interface Isolation {
  readonly resources: ResourceSpec;
  readonly capabilities?: CapabilitySpec;
  readonly security: SecuritySpec;
  readonly namespaces: NamespaceSpec;
  readonly sysctls: Readonly<Record<string, string>>;
  /** The host's whole file tree at /host (host/privileged). */
  readonly hostTree: boolean;
  readonly outcomes: readonly Outcome[];
}

/** Names what an image may not take by itself. */
export type Privilege = "host/privileged" | "os/linux/privileged" | "host/api-access";

/**
 * What `isolators` come to. The last of a name counts.
 *
 * @param granted What the request allows the image to have.
 * @param what Names their owner in messages, as in `the image "example.com/app"`.
 * @throws {KurmaError} `invalid`: a known isolator whose value is not one; `denied`: an
 * image wants a privilege that is not granted.
 */
export function isolate(
  isolators: readonly Isolator[],
  origin: Origin,
  what: string,
  granted: readonly Privilege[] = [],
): Isolation {
  const wanted: Wanted = {
    ...{ resources: {}, security: {}, namespaces: {}, sysctls: {}, hostTree: false },
    ...{ capabilities: undefined, origin, granted },
  };
  const last = new Map(isolators.map((isolator) => [isolator.name, isolator]));
  for (const [one, other] of exclusive) {
    if (last.has(one) && last.has(other)) {
      throw new KurmaError("invalid", `Cannot use ${what}: it has both ${one} and ${other}`, {
        fix: "Leave one of them out",
      });
    }
  }
  const outcomes = [...last.values()].map(({ name, value }): Outcome => {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (!rule) return { name, outcome: "ignored", reason: "Kurma knows no isolator of this name" };
    const wrong = (expected: string) => {
      const message = `Cannot use ${what}: isolator ${quote(name)} has the value ` +
        `${quote(JSON.stringify(value) ?? "none")}`;
      return new KurmaError("invalid", message, { fix: `It has to be ${expected}` });
    };
    return { name, ...(rule(wanted, value, wrong, { name, what }) ?? { outcome: "enforced" }) };
  });
  const { resources, capabilities, security, namespaces, sysctls, hostTree } = wanted;
  return {
    ...{ resources, security, namespaces, sysctls, hostTree, outcomes },
    ...(capabilities ? { capabilities } : {}),
  };
}

interface Wanted {
  resources: Writable<ResourceSpec>;
  capabilities: CapabilitySpec | undefined;
  security: Writable<SecuritySpec>;
  namespaces: Writable<NamespaceSpec>;
  sysctls: Readonly<Record<string, string>>;
  hostTree: boolean;
  readonly origin: Origin;
  readonly granted: readonly Privilege[];
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

/** Writes one isolator down; returns what became of it unless it is simply enforced. */
type Rule = (
  wanted: Wanted,
  value: unknown,
  wrong: (expected: string) => KurmaError,
  about: { readonly name: string; readonly what: string },
) => Omit<Outcome, "name"> | void;

const exclusive: readonly (readonly [string, string])[] = [
  ["os/linux/capabilities-retain-set", "os/linux/capabilities-remove-set"],
  ["os/linux/capabilities-retain-set", "os/linux/capabilities-revoke-set"],
  ["os/linux/seccomp-retain-set", "os/linux/seccomp-remove-set"],
];

/** The shares of one core, where nobody says anything. */
const coreShares = 1_024;

const rules: Readonly<Record<string, Rule>> = {
  "resource/cpu"(wanted, value, wrong) {
    const { request, limit } = amounts(value, wrong, "500m", 0.01);
    if (limit !== undefined) wanted.resources.cpus = limit;
    if (request === undefined) return;
    wanted.resources.cpuShares = Math.min(Math.max(Math.round(request * coreShares), 2), 262_144);
  },

  "resource/memory"(wanted, value, wrong) {
    const { request, limit } = amounts(value, wrong, "64Mi", 4_096);
    if (limit !== undefined) wanted.resources.memory = Math.floor(limit);
    if (request !== undefined) wanted.resources.memoryReservation = Math.floor(request);
  },

  "resource/block-bandwidth": (_wanted, value, wrong) => allDevices(value, wrong),
  "resource/block-iops": (_wanted, value, wrong) => allDevices(value, wrong),

  "resource/network-bandwidth"(_wanted, value, wrong) {
    defaultLimit(value, wrong);
    return { outcome: "ignored", reason: "no network of a container is limited" };
  },

  "os/linux/capabilities-retain-set"(wanted, value, wrong) {
    const set = capabilities(value, wrong);
    if (wanted.origin === "request") {
      wanted.capabilities = { drop: ["ALL"], add: set };
      return;
    }
    const usual = set.filter((name) => defaultCapabilities.includes(name));
    wanted.capabilities = { drop: defaultCapabilities.filter((name) => !set.includes(name)) };
    if (usual.length === set.length) return;
    const missing = set.filter((name) => !usual.includes(name)).join(", ");
    return { outcome: "modified", reason: `an image does not give itself ${missing}` };
  },

  "os/linux/capabilities-remove-set": removeCapabilities,
  "os/linux/capabilities-revoke-set": removeCapabilities, // As appc 0.5 called it.

  "os/linux/no-new-privileges"(wanted, value, wrong) {
    const on = flag(value, wrong);
    if (on || wanted.origin === "request") wanted.security.noNewPrivileges = on;
    else return { outcome: "modified", reason: "an image does not turn it off" };
  },

  "os/linux/seccomp-retain-set"(wanted, value, wrong) {
    const profile = retaining(value);
    if (profile === undefined) throw wrong('{"set": ["read", …], "errno": "EPERM"}');
    return seccomp(wanted, profile);
  },

  "os/linux/seccomp-remove-set"(wanted, value, wrong) {
    const profile = removing(value);
    if (profile === undefined) throw wrong('{"set": ["reboot", …], "errno": "EPERM"}');
    return seccomp(wanted, profile);
  },

  "os/linux/namespaces"(wanted, value, wrong) {
    const hosts = hostNamespaces(value);
    if (hosts === undefined) {
      throw wrong('{"net": "host"} with ipc, net, pid, user, uts, or a list of those of its own');
    }
    if (wanted.origin === "image") {
      if (hosts.length === 0) return;
      const reason = `an image does not enter the host's ${hosts.join(", ")}`;
      return { outcome: "modified", reason };
    }
    for (const kind of hosts) wanted.namespaces[kind] = "host";
  },

  "os/unix/sysctl"(wanted, value, wrong) {
    const texts = isRecord(value) ? Object.values(value) : [0];
    if (!texts.every((text) => typeof text === "string")) {
      throw wrong('texts by name: {"net.core.somaxconn": "1024"}');
    }
    if (wanted.origin === "image") {
      return { outcome: "ignored", reason: "settings of the kernel are not an image's" };
    }
    wanted.sysctls = value as Record<string, string>;
  },

  "os/linux/selinux-context": () => ({
    outcome: "ignored",
    reason: "Kurma does not label for SELinux",
  }),

  "os/linux/privileged"(wanted, value, wrong, about) {
    if (!privilege(wanted, value, wrong, about, "os/linux/privileged")) return;
    wanted.security.privileged = true;
  },

  "host/privileged"(wanted, value, wrong, about) {
    if (!privilege(wanted, value, wrong, about, "host/privileged")) return;
    wanted.hostTree = true; // And with it the host's ids, or its files would belong to nobody.
  },

  "host/api-access"(wanted, value, wrong, about) {
    if (!privilege(wanted, value, wrong, about, "host/api-access")) return;
    wanted.security.apiAccess = true;
  },
};

/** Whether the privilege is wanted, and may be had. */
function privilege(
  { origin, granted }: Wanted,
  value: unknown,
  wrong: (expected: string) => KurmaError,
  { what }: { readonly what: string },
  which: Privilege,
): boolean {
  if (!flag(value, wrong)) return false;
  if (origin === "request" || granted.includes(which)) return true;
  throw new KurmaError("denied", `Cannot run ${what}: it wants ${which}`, {
    fix: "Grant it in the request, if you trust the image with the whole machine",
  });
}

function seccomp(
  { origin, security }: Wanted,
  profile: SecuritySpec["seccomp"],
): ReturnType<Rule> {
  if (origin === "request") {
    security.seccomp = profile;
    return undefined;
  }
  // In its place the image's could be weaker, and two filters at once nobody has asked for.
  return { outcome: "modified", reason: "the default filter holds, which is not an image's" };
}

function removeCapabilities(
  wanted: Wanted,
  value: unknown,
  wrong: (expected: string) => KurmaError,
): void {
  wanted.capabilities = { drop: capabilities(value, wrong) };
}

function capabilities(value: unknown, wrong: (expected: string) => KurmaError): string[] {
  const set = isRecord(value) && Array.isArray(value.set) ? value.set : [];
  const names = set.map((name) => typeof name === "string" ? capabilityName(name) : undefined);
  if (names.length === 0 || names.length > 64 || names.includes(undefined)) {
    throw wrong('{"set": ["CAP_NET_ADMIN", …]} with names that Linux has');
  }
  return [...new Set(names as string[])];
}

function flag(value: unknown, wrong: (expected: string) => KurmaError): boolean {
  if (typeof value !== "boolean") throw wrong("true or false");
  return value;
}

function amounts(
  value: unknown,
  wrong: (expected: string) => KurmaError,
  example: string,
  least: number,
): { request?: number; limit?: number } {
  const expected = `{"request": "${example}", "limit": "${example}"}, or one of them`;
  if (!isRecord(value) || value.default === true) throw wrong(expected);
  const read = (key: string) => {
    if (value[key] === undefined || value[key] === null) return undefined;
    const amount = quantity(value[key]);
    if (amount === undefined || amount < least) throw wrong(`${expected}, ${least} at least`);
    return amount;
  };
  const request = read("request");
  const limit = read("limit");
  if (request === undefined && limit === undefined) throw wrong(expected);
  if (request !== undefined && limit !== undefined && request > limit) {
    throw wrong("a request of no more than the limit");
  }
  return { request, limit };
}

function allDevices(value: unknown, wrong: (expected: string) => KurmaError): ReturnType<Rule> {
  defaultLimit(value, wrong);
  return { outcome: "ignored", reason: "Linux limits disks one by one: name them in the request" };
}

function defaultLimit(value: unknown, wrong: (expected: string) => KurmaError): void {
  const valid = isRecord(value) && value.default === true && value.request === undefined &&
    quantity(value.limit) !== undefined;
  if (!valid) throw wrong('{"default": true, "limit": "2M"}');
}

const namespaceKinds = {
  ipc: "ipc",
  net: "network",
  pid: "pid",
  user: "user",
  uts: "uts",
} as const;

/** The namespaces that are to be the host's; the mount namespace never is. */
function hostNamespaces(
  value: unknown,
): ("ipc" | "network" | "pid" | "user" | "uts")[] | undefined {
  if (Array.isArray(value)) {
    // Kurma 0.1 lists those to be made. A range of ids was not to be had then: nobody asks for
    // the host's by leaving it out.
    const known = [...Object.keys(namespaceKinds), "mount"];
    if (!value.every((kind) => typeof kind === "string" && known.includes(kind))) return undefined;
    return Object.entries(namespaceKinds)
      .filter(([name]) => name !== "user" && !value.includes(name))
      .map(([, kind]) => kind);
  }
  if (!isRecord(value)) return undefined;
  const hosts: (typeof namespaceKinds)[keyof typeof namespaceKinds][] = [];
  for (const [name, whose] of Object.entries(value)) {
    if (!Object.hasOwn(namespaceKinds, name) || (whose !== "host" && whose !== "")) {
      return undefined;
    }
    if (whose === "host") hosts.push(namespaceKinds[name as keyof typeof namespaceKinds]);
  }
  return hosts;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
