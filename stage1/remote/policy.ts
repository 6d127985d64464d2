/**
 * What is forbidden to remote callers beyond what their role forbids, and what they may cost:
 * `policy.yaml` in kurma-api's folder.
 *
 * @module
 */

import type { DescMethod } from "@bufbuild/protobuf";
import { KurmaError } from "../../ffi/errors.ts";
import {
  coverOf,
  hostPath,
  hostThing,
  hostThings,
  imagePrefix,
  type Restrictions,
} from "../containers/restrictions.ts";
import { quote } from "../images/sources/digest.ts";
import { readTrusted } from "../images/trust/files.ts";
import {
  absent,
  boolean,
  check,
  integer,
  listOf,
  mapOf,
  number,
  object,
  pattern,
  type Schema,
  where,
} from "../schema.ts";
import { knownMethods, requireRole, restrictionsOf, shownName } from "./rights.ts";
import type { Role } from "./roles.ts";

/** What is forbidden to some callers. */
export interface Rules {
  /** What of the host they may not give to containers. */
  readonly forbid?: Restrictions["forbid"];
  /** Folders of the host that they may mount, with what is below; `[]` for none. */
  readonly hostPaths?: readonly string[];
  /** Registries, or parts of one, that their images have to come from. */
  readonly registries?: readonly string[];
  /** Their images have to be signed. */
  readonly signedImages?: boolean;
  /** Their images may not come from this machine's own addresses. */
  readonly remoteRegistries?: boolean;
  /** Methods that they may not call: `Containers/Exec`, or `Images/*`. */
  readonly methods?: readonly string[];
}

/** What one client may cost. */
export interface ClientLimits {
  /** Calls a second in the long run. */
  readonly callsPerSecond: number;
  /** Calls at once after a pause. */
  readonly burst: number;
  /** Calls that run at the same time, streams included. */
  readonly callsAtOnce: number;
}

/** What the file says. */
export interface Policy {
  readonly everyone: Rules;
  readonly roles: Readonly<Partial<Record<Role, Rules>>>;
  /** By the name of a certificate or a token. */
  readonly clients: Readonly<Record<string, Rules>>;
  /** What callers may call this machine, besides the names that its certificate has. */
  readonly hosts: readonly string[];
  /** Web pages that may call, as in `https://dash.example.com`. */
  readonly origins: readonly string[];
  readonly limits: ClientLimits;
}

export const defaultClientLimits: ClientLimits = {
  callsPerSecond: 50,
  burst: 200,
  callsAtOnce: 256,
};

/** The policy of those who wrote none: the roles alone. */
export const openPolicy: Policy = {
  everyone: {},
  roles: {},
  clients: {},
  hosts: [],
  origins: [],
  limits: defaultClientLimits,
};

const maxBytes = 256 * 1024;

const method: Schema<string> = where(
  pattern(/^[A-Za-z]{1,64}\/(?:\*|[A-Za-z]{1,64})$/, "SERVICE/METHOD or SERVICE/*"),
  (text) => knownMethods.some((name) => fits(text, name)),
  "a method of the API, as in Containers/Exec or Images/*",
);

/** All that holds for a client goes with each call in a header: three of these fit. */
const maxRules = 12_000;

const rules: Schema<Rules> = where(
  object<Rules>({
    forbid: absent(listOf(hostThing, hostThings.length)),
    hostPaths: absent(listOf(hostPath, 64)),
    registries: absent(listOf(imagePrefix, 64)),
    signedImages: absent(boolean),
    remoteRegistries: absent(boolean),
    methods: absent(listOf(method, 128)),
  }),
  (rules) => encodeURIComponent(JSON.stringify(rules)).length <= maxRules,
  `rules of at most ${maxRules} characters as a URL has them`,
);

/** Lower case: host names have no other. */
const host: Schema<string> = pattern(
  /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])$/,
  "a host name or an address, without a port, in lower case",
);

const origin: Schema<string> = where(
  pattern(/^https?:\/\/[^\s/]{1,260}$/, "an origin, as in https://dash.example.com"),
  (text) => URL.canParse(text) && new URL(text).origin === text,
  "an origin as browsers write it, as in https://dash.example.com",
);

const schema = object<Partial<Omit<Policy, "limits">> & { limits?: Partial<ClientLimits> }>({
  everyone: absent(rules),
  roles: absent(
    object<Partial<Record<Role, Rules>>>({
      viewer: absent(rules),
      operator: absent(rules),
      admin: absent(rules),
    }),
  ),
  clients: absent(mapOf(pattern(/^[^\p{Cc}]{1,256}$/u, "the name of a client"), rules, 1_000)),
  hosts: absent(listOf(host, 64)),
  origins: absent(listOf(origin, 64)),
  limits: absent(object<Partial<ClientLimits>>({
    callsPerSecond: absent(number(0.1, 1_000_000)),
    burst: absent(integer(1, 1_000_000)),
    callsAtOnce: absent(integer(1, 100_000)),
  })),
});

/**
 * The policy that a text says.
 *
 * @param path Names it in messages.
 * @throws {KurmaError} `invalid`: the fields that are wrong are named.
 */
export async function checkPolicy(text: string, path = "policy.yaml"): Promise<Policy> {
  if (text.length > maxBytes) throw unreadable(path, `it has more than ${maxBytes} characters`);
  const { parseMapping } = await import("../images/sources/yaml.ts");
  const document = parseMapping(text, (why) => unreadable(path, why));
  const { limits, ...said } = check(schema, document, quote(path));
  const present = Object.fromEntries(
    Object.entries(said).filter(([, value]) => value !== undefined),
  );
  return {
    ...openPolicy,
    ...present,
    limits: {
      callsPerSecond: limits?.callsPerSecond ?? defaultClientLimits.callsPerSecond,
      burst: limits?.burst ?? defaultClientLimits.burst,
      callsAtOnce: limits?.callsAtOnce ?? defaultClientLimits.callsAtOnce,
    },
  };
}

/**
 * Reads a policy; without a file, the roles alone decide.
 *
 * @throws {KurmaError} `invalid`; `denied`: others may write the file.
 */
export async function loadPolicy(path: string): Promise<Policy> {
  const bytes = await readTrusted(path, maxBytes);
  return bytes ? await checkPolicy(new TextDecoder().decode(bytes), path) : openPolicy;
}

function unreadable(path: string, why: string): KurmaError {
  return new KurmaError("invalid", `Cannot use policy ${quote(path)}: ${why}`, {
    fix: "kurma-api policy example shows one",
  });
}

/** Whom it is about. */
export interface Client {
  readonly name: string;
  readonly role: Role;
}

/**
 * Lets a call through, or says why not.
 *
 * @throws {KurmaError} `denied`: by the role, or by the policy.
 */
export function requireMethod(policy: Policy, { name, role }: Client, method: DescMethod): void {
  const full = `${method.parent.typeName}/${method.name}`;
  requireRole(role, method, `"${name}" is ${article(role)}`, (least) => {
    return `Use a certificate or a token of the role ${least}`;
  });
  const forbidden = rulesFor(policy, { name, role }).flatMap(({ methods = [] }) => methods)
    .find((text) => fits(text, full));
  if (forbidden === undefined) return;
  throw new KurmaError(
    "denied",
    `Cannot call ${shownName(method)}: the policy forbids it to "${name}"`,
    {
      fix: `Ask an administrator: policy.yaml says ${forbidden}`,
    },
  );
}

function article(role: Role): string {
  return role === "viewer" ? "a viewer" : `an ${role}`;
}

/** All that a client may not do to the machine; undefined: nothing is forbidden. */
export function restrictionsFor(policy: Policy, client: Client): Restrictions | undefined {
  const parts = rulesFor(policy, client).map(({ methods: _, forbid = [], ...rest }) => {
    return { forbid, ...rest };
  });
  return [restrictionsOf(client.role), ...parts].reduce(both);
}

function rulesFor({ everyone, roles, clients }: Policy, { name, role }: Client): Rules[] {
  const own = Object.hasOwn(clients, name) ? clients[name] : undefined;
  return [everyone, roles[role], own].filter((rules) => rules !== undefined)
    .filter((rules) => Object.values(rules).some((value) => value !== undefined));
}

/** What both forbid together. */
export function both(
  one: Restrictions | undefined,
  other: Restrictions | undefined,
): Restrictions | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  const hostPaths = narrower(one.hostPaths, other.hostPaths);
  const registries = narrower(one.registries, other.registries);
  return {
    forbid: hostThings.filter((thing) =>
      one.forbid.includes(thing) || other.forbid.includes(thing)
    ),
    ...(hostPaths ? { hostPaths } : {}),
    ...(registries ? { registries } : {}),
    ...(one.signedImages || other.signedImages ? { signedImages: true } : {}),
    ...(one.remoteRegistries || other.remoteRegistries ? { remoteRegistries: true } : {}),
  };
}

/** What lies within a prefix of both lists, as prefixes; a list left out has everything. */
function narrower(
  one: readonly string[] | undefined,
  other: readonly string[] | undefined,
): readonly string[] | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return [
    ...new Set([
      ...one.filter((prefix) => coverOf(other, prefix) !== undefined),
      ...other.filter((prefix) => coverOf(one, prefix) !== undefined),
    ]),
  ];
}

/** Whether `Images/*` or `Images/Pull` is about `kurma.v1.Images/Pull`. */
function fits(text: string, full: string): boolean {
  const name = full.replace(/^kurma\.v1\./, "");
  return text === name || (text.endsWith("/*") && name.startsWith(text.slice(0, -1)));
}

/** A policy to start from: all of it is commented out. */
export function examplePolicy(): string {
  return `# What remote callers may not do, beyond what their role forbids.
# A line without the # in front takes effect. A change holds at once.
#
# Roles: a viewer sees what there is, without secrets; an operator runs containers that have
# nothing of the host; an admin does everything that is not forbidden here.
# Rules add up: what one of everyone, the role and the client forbids is forbidden.

#everyone:
#  # What containers may not be given: ${hostThings.slice(0, 4).join(", ")},
#  # ${hostThings.slice(4).join(", ")}.
#  forbid: [privileged, api-access]
#  # Images have to be signed, as policy.yaml in /etc/kurma says by whom.
#  signedImages: true
#  # No registry on this machine's own or its link's addresses, unless hosts.yaml lists it.
#  remoteRegistries: true

#roles:
#  admin:
#    # Folders of the host that may be mounted, with what is below; [] for none.
#    hostPaths: [/srv/data]
#  operator:
#    # Registries, or parts of one, that images have to come from.
#    registries: [docker.io/library, registry.example.com]
#    # Methods that may not be called.
#    methods: [Containers/Exec, Containers/Enter, Volumes/*]

#clients:
#  # By the name of the certificate or the token.
#  ci:
#    forbid: [host-namespaces, devices]

# What callers may call this machine, besides the names in its certificate.
#hosts: [kurma.example.com, 192.0.2.7]

# Web pages that may call. Others are refused, whatever certificate the browser has.
#origins: ["https://dash.example.com"]

# What one client may cost.
#limits:
#  callsPerSecond: ${defaultClientLimits.callsPerSecond}
#  burst: ${defaultClientLimits.burst}
#  callsAtOnce: ${defaultClientLimits.callsAtOnce}
`;
}
